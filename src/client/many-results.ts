import type { PendingResult } from "./pending-result.ts";

/**
 * The results of the tasks of one call of `submitMany`. For a task there is nothing in here before somebody asks for its result, or it has
 * come: most are submitted by the thousand and asked for one by one, or never.
 *
 * Lives as long as anybody has a handle of one of these tasks, or waits for one: what comes after that is for nobody.
 */
export class ManyResults {
  readonly pool: string;
  /** When to look up what is asked for, by the monotonic clock, ms. */
  lookUpAt: number;
  readonly #replyPrefix: string;
  #tasks = 0;
  /** By the tasks' places: asked for and not come, or come and not asked for. */
  readonly #results = new Map<number, PendingResult>();

  constructor(pool: string, replyPrefix: string, lookUpAt: number) {
    this.pool = pool;
    this.#replyPrefix = replyPrefix;
    this.lookUpAt = lookUpAt;
  }

  /** `replyTo` of the next task. */
  next(): string {
    return this.#replyPrefix + this.#tasks++;
  }

  has(place: number): boolean {
    return place >= 0 && place < this.#tasks;
  }

  get(place: number): PendingResult | undefined {
    return this.#results.get(place);
  }

  /** Has come, and nobody has asked for it yet. */
  keep(place: number, result: PendingResult): void {
    this.#results.set(place, result);
  }

  /** It belongs to its handle alone from now on, or would be kept as long as any other of them. */
  take(place: number): void {
    this.#results.delete(place);
  }
}
