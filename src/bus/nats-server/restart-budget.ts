/** How often a process may end unexpectedly: `limit` times within `windowMs`, each restart later than the last. */
export class RestartBudget {
  readonly limit: number;
  readonly windowMs: number;
  #ends: number[] = [];

  constructor(limit = 5, windowMs = 60_000) {
    this.limit = limit;
    this.windowMs = windowMs;
  }

  /**
   * Records an unexpected end at `nowMs` (monotonic). Returns how long to wait before the restart, in ms: 0 for the first,
   * since clients are waiting, then 100, 200, 400, … up to 2 000. Undefined when the limit is passed.
   */
  next(nowMs: number): number | undefined {
    this.#ends = this.#ends.filter((endedAt) => nowMs - endedAt < this.windowMs);
    this.#ends.push(nowMs);
    const before = this.#ends.length - 1;
    if (before >= this.limit) return undefined;
    return before === 0 ? 0 : Math.min(2_000, 50 * 2 ** before);
  }
}
