/** One thing that happens unless it is put off or called off in time. */
import type { Clock, Timer } from "../../../protocols/clock.ts";

/** Longest delay that Node's timers take, ms: they fire a longer one at once. */
const MAX_DELAY_MS = 2 ** 31 - 1;

export class Deadline {
  readonly #clock: Clock;
  #timer: Timer | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Replaces what was armed before. */
  arm(delayMs: number, fire: () => void): void {
    this.disarm();
    this.#timer = this.#clock.setTimeout(
      () => {
        this.#timer = undefined;
        fire();
      },
      Math.min(Math.max(0, delayMs), MAX_DELAY_MS),
    );
  }

  disarm(): void {
    this.#clock.clear(this.#timer);
    this.#timer = undefined;
  }
}
