/**
 * The heartbeat thread: says that this host lives, and keeps its running tasks, over a connection of its own, so that a
 * task that blocks the main loop does not look like death (P6).
 *
 * 1. A heartbeat a second, with what the load board says. `seq` grows with each, and keeps up with the seconds that the run has
 *    lived through a pause of the process, a cut and a restart of this thread: it tells which of two runs of one id is older.
 * 2. `+WPI` for each task that has run for a third of `ack_wait`, until two seconds after its deadline.
 * 3. `stalled` when the main loop has not turned for a while and a task is past its deadline.
 */
import { parentPort, workerData } from "node:worker_threads";
import { workingOnTask } from "../../bus/acks.ts";
import type { Bus } from "../../bus/bus.ts";
import { encode } from "../../bus/codec/codec.ts";
import { type ConnectOptions, connectBus } from "../../bus/connection.ts";
import { failpoint } from "../../failpoints/failpoints.ts";
import { toWireError, VgasError, type WireError } from "../../protocols/errors.ts";
import type { AgentGroup, Heartbeat } from "../../protocols/host-messages.ts";
import { DEADLINE_GRACE_MS } from "../../protocols/limits.ts";
import { LANE_CONSUMER } from "../../protocols/streams.ts";
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

const PERIOD_MS = 1_000;
const KEEP_FROM_MS = LANE_CONSUMER.ackWaitMs / 3;
/** The main loop turns four times a second at least; silent for this long it counts as blocked. */
const BLOCKED_MS = 2_000;
const CONNECT_ATTEMPTS = 3;

async function main(data: HeartbeatThreadData): Promise<void> {
  const port = parentPort;
  if (!port) throw new Error("the heartbeat thread was started outside a worker");
  const board = new LoadBoard(data.board);
  const work = new WorkTableReader();
  for (const segment of data.segments) work.addSegment(segment);
  let pulse = -1;
  let pulseAt = performance.now();
  const bornAt = performance.now() - data.ageMs;
  let seq = -1;

  const bus = await connectSurely(data.connection);
  const beat = (): void => {
    const now = performance.now();
    if (board.pulse !== pulse) {
      pulse = board.pulse;
      pulseAt = now;
    }
    const lagMs = Math.round(now - pulseAt);
    const { alive, overdue } = work.look(now, KEEP_FROM_MS, DEADLINE_GRACE_MS);
    if (bus.state !== "connected") return;
    for (const ack of alive) {
      workingOnTask(bus, ack);
      failpoint("task.kept");
    }
    seq = Math.max(seq + 1, Math.floor((now - bornAt) / PERIOD_MS));
    const stalled = overdue && lagMs > BLOCKED_MS;
    if (stalled) failpoint("host.stalled");
    publish(bus, data, board, { seq, lagMs, stalled });
  };
  beat();
  const timer = setInterval(beat, PERIOD_MS);

  port.on("message", (message: ToHeartbeatThread) => {
    if ("segment" in message) work.addSegment(message.segment);
    else if ("beatNow" in message) beat();
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

function publish(
  bus: Bus,
  data: HeartbeatThreadData,
  board: LoadBoard,
  state: Pick<Heartbeat, "seq" | "lagMs" | "stalled">,
): void {
  const heartbeat: Heartbeat = {
    v: 1,
    host: data.host,
    run: data.run,
    ...state,
    at: Date.now(),
    pid: process.pid,
    machine: data.machine,
    roles: [...data.roles],
    draining: board.draining,
    groups: [...data.groups],
    running: board.running(),
    ...board.totals(),
  };
  bus.publish(data.subject, encode(heartbeat));
}

await main(workerData as HeartbeatThreadData).catch((error: unknown) => {
  // As an error of a worker it would lose its code.
  parentPort?.postMessage({ failed: toWireError(error) } satisfies FromHeartbeatThread);
  throw error;
});
