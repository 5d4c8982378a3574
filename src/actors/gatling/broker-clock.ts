/**
 * The broker's time. It stamps when a task was submitted, so by it a task expires or may begin, whatever the wall clocks of
 * dispatchers say, which may differ and jump: one that was an hour behind would give a delayed task back to the broker for an hour.
 *
 * It runs on by the monotonic clock between two answers of the broker that tell its time. Before the first it is the wall clock.
 */
import type { Clock, Timer } from "../../protocols/clock.ts";

/** An answer that was longer on its way tells too little, ms. */
const MAX_WAY_MS = 500;
/** Unless nothing better came for so long, ms. */
const STALE_MS = 30_000;

export class BrokerClock implements Clock {
  readonly #own: Clock;
  /** The broker's time less the monotonic clock. */
  #ahead: number | undefined;
  #learnedAt = 0;

  constructor(own: Clock) {
    this.#own = own;
  }

  now(): number {
    return this.#ahead === undefined ? this.#own.now() : Math.round(this.#own.monotonic() + this.#ahead);
  }

  /** It said that it is `brokerMs` in an answer that was asked for at `askedAt` of the monotonic clock and has just come. */
  learn(brokerMs: number, askedAt: number): void {
    const at = this.#own.monotonic();
    if (at - askedAt > MAX_WAY_MS && this.#ahead !== undefined && at - this.#learnedAt < STALE_MS) return;
    this.#ahead = brokerMs - (askedAt + at) / 2;
    this.#learnedAt = at;
  }

  monotonic(): number {
    return this.#own.monotonic();
  }

  setTimeout(callback: () => void, delayMs: number): Timer {
    return this.#own.setTimeout(callback, delayMs);
  }

  setInterval(callback: () => void, periodMs: number): Timer {
    return this.#own.setInterval(callback, periodMs);
  }

  clear(timer: Timer | undefined): void {
    this.#own.clear(timer);
  }
}
