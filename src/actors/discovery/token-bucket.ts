import type { Clock } from "../../protocols/clock.ts";

export interface BucketSize {
  readonly perSecond: number;
  readonly burst: number;
}

/** Lets through so many a second on average, and so many at once. */
export class TokenBucket {
  readonly #size: BucketSize;
  readonly #clock: Clock;
  #tokens: number;
  #at: number;

  constructor(size: BucketSize, clock: Clock) {
    this.#size = size;
    this.#clock = clock;
    this.#tokens = size.burst;
    this.#at = clock.monotonic();
  }

  take(): boolean {
    this.#refill();
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }

  /** Nothing was taken for so long that it could as well be new. */
  get full(): boolean {
    this.#refill();
    return this.#tokens >= this.#size.burst;
  }

  #refill(): void {
    const { perSecond, burst } = this.#size;
    const now = this.#clock.monotonic();
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#at) * perSecond) / 1_000);
    this.#at = now;
  }
}
