/**
 * Keeps one lane to its rate limit. What began lately stands in the rotation record, and is advanced by the same swap as the
 * tickets; so the limit holds over all dispatchers, as far as their clocks agree. Lanes without a limit pay nothing.
 *
 * The time that the limit is counted in is the lane's own: it begins with the wall clock, never goes back, is never behind what
 * is recorded, and runs on by the monotonic clock. So a clock that was ahead, here or at another dispatcher, and was set right
 * puts the lane's time ahead for good, and holds nobody up; one that jumps ahead empties one window.
 */
import type { Clock, Timer } from "../../protocols/clock.ts";
import { allowance, begin, type RateLimit, type RateRecord, recordedAt } from "../../protocols/rate.ts";

/** Looks again at least so often: a machine that slept has a wall clock that went on, and a monotonic one that did not. */
const MAX_WAIT_MS = 60_000;

export class Pace {
  readonly #clock: Clock;
  readonly #onAllowed: () => void;
  #limit: RateLimit | undefined;
  #timer: Timer | undefined;
  /** The lane's time when it was last asked for, and the monotonic clock then. */
  #time = 0;
  #timeAt = 0;

  /** `onAllowed` is called when more may begin after `allowed` said 0. */
  constructor(clock: Clock, onAllowed: () => void) {
    this.#clock = clock;
    this.#onAllowed = onAllowed;
  }

  set limit(limit: RateLimit | undefined) {
    this.#limit = limit;
  }

  /** Most tasks that are worth having in hand. */
  get most(): number {
    return this.#limit?.tasks ?? Number.POSITIVE_INFINITY;
  }

  /** Tasks that may begin now. */
  allowed(record: RateRecord | undefined): number {
    if (this.#limit === undefined) return Number.POSITIVE_INFINITY;
    const now = this.#now(record);
    const { tasks, at } = allowance(this.#limit, record, now);
    const waitMs = Math.min(MAX_WAIT_MS, Math.max(1, Math.ceil(at - now)));
    if (tasks === 0) this.#timer ??= this.#clock.setTimeout(() => this.#again(), waitMs);
    return tasks;
  }

  /** What to record when `tasks` begin; undefined without a limit. */
  after(record: RateRecord | undefined, tasks: number): RateRecord | undefined {
    return this.#limit && begin(this.#limit, record, tasks, this.#now(record));
  }

  stop(): void {
    this.#clock.clear(this.#timer);
  }

  /** The lane's time, ms since the epoch or ahead of that. */
  #now(record: RateRecord | undefined): number {
    const at = this.#clock.monotonic();
    this.#time = Math.max(this.#clock.now(), this.#time + at - this.#timeAt, recordedAt(record) ?? 0);
    this.#timeAt = at;
    return this.#time;
  }

  #again(): void {
    this.#timer = undefined;
    this.#onAllowed();
  }
}
