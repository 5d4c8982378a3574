import type { VgasError } from "../protocols/errors.ts";
import type { TaskResult } from "../protocols/result.ts";

/** A result that is waited for: settles at most once, and tells whoever listens then. */
export class PendingResult {
  /** Names it among those that are waited for. */
  readonly token: number;
  readonly pool: string;
  /** Undefined until the submission is acknowledged, if the id is automatic. */
  id: string | undefined;
  /** When to look it up next, by the monotonic clock, ms. */
  lookUpAt = 0;
  /** Look-ups that found nothing. */
  misses = 0;
  /** A result passed by on its subject since the last look-up. */
  announced = false;
  /** What listens for it, where no answer was asked for. */
  subscription: { unsubscribe(): void } | undefined;
  #outcome: TaskResult | VgasError | undefined;
  /** Made for the first one: most are submitted by the thousand, and listened to one by one or never. */
  #listeners: Set<() => void> | undefined;

  constructor(token: number, pool: string, id: string | undefined) {
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
    return this.#listeners !== undefined && this.#listeners.size > 0;
  }

  settle(outcome: TaskResult | VgasError): void {
    if (this.#outcome !== undefined) return;
    this.#outcome = outcome;
    const listeners = this.#listeners;
    this.#listeners = undefined;
    if (listeners !== undefined) for (const listener of [...listeners]) listener();
  }

  /** Calls `listener` once when it settles; returns how to stop that. Not for one that is settled. */
  listen(listener: () => void): () => void {
    this.#listeners ??= new Set();
    this.#listeners.add(listener);
    return () => {
      this.#listeners?.delete(listener);
    };
  }
}
