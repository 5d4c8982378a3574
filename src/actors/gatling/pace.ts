/**
 * Keeps one lane to its rate limit. What began lately stands in the rotation record, and is advanced by the same swap as the
 * tickets; so the limit holds over all dispatchers, as far as their clocks agree. Lanes without a limit pay nothing.
 */
import type { Clock, Timer } from "../../protocols/clock.ts";
import { allowance, begin, type RateLimit, type RateRecord } from "../../protocols/rate.ts";

/** Looks again at least so often: the clock of whoever wrote the record may have been far ahead, and is set right by then. */
const MAX_WAIT_MS = 60_000;

export class Pace {
  readonly #clock: Clock;
  readonly #onAllowed: () => void;
  #limit: RateLimit | undefined;
  #timer: Timer | undefined;

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
    const now = this.#clock.now();
    const { tasks, at } = allowance(this.#limit, record, now);
    const waitMs = Math.min(MAX_WAIT_MS, Math.max(1, Math.ceil(at - now)));
    if (tasks === 0) this.#timer ??= this.#clock.setTimeout(() => this.#again(), waitMs);
    return tasks;
  }

  /** What to record when `tasks` begin; undefined without a limit. */
  after(record: RateRecord | undefined, tasks: number): RateRecord | undefined {
    return this.#limit && begin(this.#limit, record, tasks, this.#clock.now());
  }

  stop(): void {
    this.#clock.clear(this.#timer);
  }

  #again(): void {
    this.#timer = undefined;
    this.#onAllowed();
  }
}
