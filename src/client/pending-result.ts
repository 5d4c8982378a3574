import type { VgasError } from "../protocols/errors.ts";
import type { TaskResult } from "../protocols/result.ts";

/** A result that is waited for: settles at most once, and tells whoever listens then. */
export class PendingResult {
  /** Names it among those that are waited for. */
  readonly token: string;
  readonly pool: string;
  /** Undefined until the submission is acknowledged, if the id is automatic. */
  id: string | undefined;
  /** When to look it up next, by the monotonic clock, ms. */
  lookUpAt = 0;
  /** Look-ups that found nothing. */
  misses = 0;
  /** A result passed by on its subject since the last look-up. */
  announced = false;
  #outcome: TaskResult | VgasError | undefined;
  readonly #listeners = new Set<() => void>();

  constructor(token: string, pool: string, id: string | undefined) {
    this.token = token;
    this.pool = pool;
    this.id = id;
  }

  /** The result, or why it will not be known. */
  get outcome(): TaskResult | VgasError | undefined {
    return this.#outcome;
  }

  /** Somebody waits now. */
  get wanted(): boolean {
    return this.#listeners.size > 0;
  }

  settle(outcome: TaskResult | VgasError): void {
    if (this.#outcome !== undefined) return;
    this.#outcome = outcome;
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    for (const listener of listeners) listener();
  }

  /** Calls `listener` once when it settles; returns how to stop that. Not for one that is settled. */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }
}
