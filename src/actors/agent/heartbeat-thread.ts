/**
 * The heartbeat thread: says that this host lives, and keeps its running tasks, over a connection of its own, so that a
 * task that blocks the main loop does not look like death (P6). What it says is in beats.ts.
 */
import { parentPort, workerData } from "node:worker_threads";
import type { Bus } from "../../bus/bus.ts";
import { type ConnectOptions, connectBus } from "../../bus/connection.ts";
import { systemClock } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import type { AgentGroup } from "../../protocols/host-messages.ts";
import { toWireError, type WireError } from "../../protocols/wire-error.ts";
import { BEAT_MS, Beats } from "./beats.ts";
import { LoadBoard } from "./load-board.ts";
import { WorkTableReader } from "./work-table.ts";

/** What the thread is started with. */
export interface HeartbeatThreadData {
  readonly connection: Omit<ConnectOptions, "logger">;
  readonly subject: string;
  readonly host: string;
  readonly run: string;
  /** How long the run has lived: a thread that is started again counts on. */
  readonly ageMs: number;
  readonly machine: string;
  readonly roles: readonly string[];
  readonly groups: readonly AgentGroup[];
  readonly board: LoadBoard["memory"];
  readonly segments: readonly SharedArrayBuffer[];
}

/** Main thread to heartbeat thread. */
export type ToHeartbeatThread =
  | { readonly segment: SharedArrayBuffer }
  | { readonly beatNow: true }
  | { readonly servers: readonly string[] }
  | { readonly stop: true };

/** Heartbeat thread to main thread: its first message. */
export type FromHeartbeatThread = "ready" | { readonly failed: WireError };

const CONNECT_ATTEMPTS = 3;

async function main(data: HeartbeatThreadData): Promise<void> {
  const port = parentPort;
  if (!port) throw new Error("the heartbeat thread was started outside a worker");
  const board = new LoadBoard(data.board);
  const work = new WorkTableReader();
  for (const segment of data.segments) work.addSegment(segment);
  const bornAt = systemClock.monotonic() - data.ageMs;
  const bus = await connectSurely(data.connection);
  const { host, run, machine, roles, groups, subject } = data;
  const about = { host, run, pid: process.pid, machine, roles: [...roles], groups: [...groups] };
  const beats = new Beats({ bus, clock: systemClock, subject, host: about, bornAt, board, work });
  beats.beat();
  const timer = setInterval(() => beats.beat(), BEAT_MS);
  // Whoever heard nothing meanwhile is to know at once that it lives.
  bus.onStatus(({ type }) => {
    if (type === "reconnected") beats.beat();
  });

  port.on("message", (message: ToHeartbeatThread) => {
    if ("segment" in message) work.addSegment(message.segment);
    else if ("beatNow" in message) beats.beat();
    else if ("servers" in message) bus.setServers(message.servers);
    else {
      clearInterval(timer);
      void bus.close().finally(() => port.close());
    }
  });
  port.postMessage("ready" satisfies FromHeartbeatThread);
}

/** The node itself is connected: a broker that does not answer the thread is busy, or was started again just now. */
async function connectSurely(connection: HeartbeatThreadData["connection"]): Promise<Bus> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await connectBus(connection);
    } catch (error) {
      if (attempt === CONNECT_ATTEMPTS || !(error instanceof VgasError) || error.code !== "NO_SWARM") throw error;
    }
  }
}

await main(workerData as HeartbeatThreadData).catch((error: unknown) => {
  // As an error of a worker it would lose its code.
  parentPort?.postMessage({ failed: toWireError(error) } satisfies FromHeartbeatThread);
  throw error;
});
