/** The main thread's side of the heartbeat: starts the thread, restarts it if it ends, feeds it. */
import { hostname } from "node:os";
import { Worker } from "node:worker_threads";
import type { ConnectOptions } from "../../bus/connection.ts";
import type { Clock, Timer } from "../../protocols/clock.ts";
import type { AgentGroup } from "../../protocols/host-messages.ts";
import type { Logger } from "../../protocols/logger.ts";
import type { Names } from "../../protocols/subjects.ts";
import { fromWireError } from "../../protocols/wire-error.ts";
import type { FromHeartbeatThread, HeartbeatThreadData, ToHeartbeatThread } from "./heartbeat-thread.ts";
import { LoadBoard } from "./load-board.ts";
import { WorkTable } from "./work-table.ts";

/** The main loop shows that it turns this often, ms. */
const PULSE_MS = 250;
/** Pause before an ended thread is started again, ms: well within the three seconds after which a host is evicted. */
const RESTART_MS = 250;

export interface HeartbeatOptions {
  readonly connection: Omit<ConnectOptions, "logger">;
  readonly names: Names;
  readonly hostId: string;
  readonly run: string;
  readonly roles: readonly string[];
  readonly groups: readonly AgentGroup[];
  readonly agents: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class Heartbeat {
  readonly board: LoadBoard;
  readonly work: WorkTable;
  readonly #options: HeartbeatOptions;
  readonly #segments: SharedArrayBuffer[] = [];
  #url: string;
  #worker: Worker | undefined;
  #pulse: Timer | undefined;
  #restart: Timer | undefined;
  #stopped = false;
  /** On the monotonic clock. */
  readonly #bornAt: number;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
    this.#url = options.connection.url;
    this.#bornAt = options.clock.monotonic();
    this.board = new LoadBoard(options.agents);
    this.work = new WorkTable((memory) => {
      this.#segments.push(memory);
      this.#send({ segment: memory });
    });
  }

  /** Resolves when the first heartbeat is out. */
  async start(): Promise<void> {
    const { clock } = this.#options;
    this.#pulse = clock.setInterval(() => this.board.beat(), PULSE_MS);
    await this.#startThread();
  }

  /** Tells the swarm now what has changed. */
  beatNow(): void {
    this.#send({ beatNow: true });
  }

  /** The servers are to be found there from now on. */
  setServers(urls: readonly string[]): void {
    this.#url = urls.join(",");
    this.#send({ servers: urls });
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#options.clock.clear(this.#pulse);
    this.#options.clock.clear(this.#restart);
    const worker = this.#worker;
    if (!worker) return;
    const ended = new Promise<void>((resolve) => worker.once("exit", () => resolve()));
    this.#send({ stop: true });
    await ended;
  }

  #send(message: ToHeartbeatThread): void {
    this.#worker?.postMessage(message);
  }

  async #startThread(): Promise<void> {
    const { connection, names, hostId, run, roles, groups, clock, logger } = this.#options;
    const workerData: HeartbeatThreadData = {
      connection: { ...connection, url: this.#url },
      subject: names.heartbeat(hostId),
      host: hostId,
      run,
      ageMs: clock.monotonic() - this.#bornAt,
      machine: hostname(),
      roles,
      groups,
      board: this.board.memory,
      segments: [...this.#segments],
    };
    const worker = new Worker(new URL("./heartbeat-thread.js", import.meta.url), { workerData, name: "heartbeat" });
    this.#worker = worker;
    await new Promise<void>((resolve, reject) => {
      worker.once("message", (message: FromHeartbeatThread) => {
        if (message === "ready") resolve();
        else reject(fromWireError(message.failed));
      });
      worker.once("error", reject);
      worker.once("exit", () => {
        if (this.#stopped) return;
        logger.error({ host: hostId }, "the heartbeat thread ended, it is started again");
        this.#restart = clock.setTimeout(() => void this.#startThread().catch(() => undefined), RESTART_MS);
      });
    });
    worker.on("error", (error) => logger.error({ error: String(error) }, "the heartbeat thread failed"));
  }
}
