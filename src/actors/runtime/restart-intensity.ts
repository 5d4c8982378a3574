import type { Clock } from "../../protocols/clock.ts";

/** At most `limit` restarts within any `windowMs`. */
export interface IntensityLimit {
  readonly limit: number;
  readonly windowMs: number;
}

/** How a supervisor starts a failed actor again: not too often, and each time a little later. */
export interface RestartPolicy extends IntensityLimit {
  /** Delay before the first restart within the window, ms; it doubles with each further one. */
  readonly backoffMs: number;
  readonly maxBackoffMs: number;
}

/** After the sixth failure within 30 s an actor's supervisor gives up and escalates to the host. */
export const RESTART_POLICY: RestartPolicy = { limit: 5, windowMs: 30_000, backoffMs: 100, maxBackoffMs: 5_000 };

/** The host's own: at the fourth escalation within 60 s the process ends with exit code 70. */
export const HOST_INTENSITY: IntensityLimit = { limit: 3, windowMs: 60_000 };

const NONE: readonly number[] = Object.freeze([]);

/** Counts restarts over a sliding window of the monotonic clock. */
export class RestartIntensity {
  readonly #clock: Pick<Clock, "monotonic">;
  readonly #bounds: IntensityLimit;
  /** Times of the restarts within the window, oldest first; never longer than the limit. */
  #times: readonly number[] = NONE;

  constructor(clock: Pick<Clock, "monotonic">, bounds: IntensityLimit) {
    this.#clock = clock;
    this.#bounds = bounds;
  }

  /** Counts one restart and returns true; returns false where it would be one too many. */
  allow(): boolean {
    const now = this.#clock.monotonic();
    const recent = this.#times.filter((time) => now - time < this.#bounds.windowMs);
    const allowed = recent.length < this.#bounds.limit;
    this.#times = allowed ? [...recent, now] : recent;
    return allowed;
  }

  /** Restarts counted within the window, as of the last `allow`. */
  get recent(): number {
    return this.#times.length;
  }

  reset(): void {
    this.#times = NONE;
  }
}
