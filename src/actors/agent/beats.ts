/**
 * What the heartbeat thread says, once a second: the heartbeat of its host, and `+WPI` for the tasks that are to be kept.
 *
 * 1. `seq` grows with each heartbeat, and keeps up with the seconds that the run has lived through a pause of the process, a cut
 *    and a restart of the thread: it tells which of two runs of one id is older.
 * 2. A task is kept (`+WPI`) from a third of `ack_wait` on, until two seconds after its deadline.
 * 3. `stalled` when the main loop has not turned for a while and a task is past its deadline by more than those two seconds.
 */
import { workingOnTask } from "../../bus/acks.ts";
import type { Bus } from "../../bus/bus.ts";
import { encode } from "../../bus/codec/codec.ts";
import { failpoint } from "../../failpoints/failpoints.ts";
import type { Clock } from "../../protocols/clock.ts";
import type { Heartbeat } from "../../protocols/host-messages.ts";
import { DEADLINE_GRACE_MS } from "../../protocols/limits.ts";
import { LANE_CONSUMER } from "../../protocols/streams.ts";
import type { LoadBoard } from "./load-board.ts";
import type { WorkTableReader } from "./work-table.ts";

/** Between two heartbeats, ms. */
export const BEAT_MS = 1_000;
const KEEP_FROM_MS = LANE_CONSUMER.ackWaitMs / 3;
/** The main loop turns four times a second at least; silent for this long it counts as blocked. */
const BLOCKED_MS = 2_000;

export interface BeatsOptions {
  readonly bus: Pick<Bus, "state" | "publish">;
  readonly clock: Pick<Clock, "now" | "monotonic">;
  readonly subject: string;
  /** What is the same in each of them. */
  readonly host: Pick<Heartbeat, "host" | "run" | "pid" | "machine" | "roles" | "groups">;
  /** When the run began, on the clock's monotonic time: before it, if the thread was started again. */
  readonly bornAt: number;
  readonly board: LoadBoard;
  readonly work: WorkTableReader;
}

export class Beats {
  readonly #options: BeatsOptions;
  #pulse = -1;
  #pulseAt: number;
  #seq = -1;

  constructor(options: BeatsOptions) {
    this.#options = options;
    this.#pulseAt = options.clock.monotonic();
  }

  /** Says it now. While there is no connection nothing is said, and what runs is watched all the same. */
  beat(): void {
    const { bus, board, work, clock, bornAt } = this.#options;
    const now = clock.monotonic();
    const { pulse } = board;
    if (pulse !== this.#pulse) {
      this.#pulse = pulse;
      this.#pulseAt = now;
    }
    const lagMs = Math.round(now - this.#pulseAt);
    const { alive, overdue } = work.look(now, KEEP_FROM_MS, DEADLINE_GRACE_MS);
    if (bus.state !== "connected") return;
    for (const ack of alive) {
      workingOnTask(bus as Bus, ack);
      failpoint("task.kept");
    }
    this.#seq = Math.max(this.#seq + 1, Math.floor((now - bornAt) / BEAT_MS));
    const stalled = overdue && lagMs > BLOCKED_MS;
    if (stalled) failpoint("host.stalled");
    this.#publish({ seq: this.#seq, lagMs, stalled });
  }

  #publish(state: Pick<Heartbeat, "seq" | "lagMs" | "stalled">): void {
    const { bus, clock, subject, host, board } = this.#options;
    const heartbeat: Heartbeat = {
      v: 1,
      ...host,
      ...state,
      at: clock.now(),
      draining: board.draining,
      running: board.running(),
      ...board.totals(),
    };
    bus.publish(subject, encode(heartbeat));
  }
}
