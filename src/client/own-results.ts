/**
 * Tells a guest when a result of its own passes by.
 *
 * One subscription serves all that is waited for, and is there as long as something is: nothing but the guest's own results
 * comes into its account, and the server limits how many subscriptions a guest may have.
 */
import type { Bus, Subscription } from "../bus/bus.ts";
import type { Names } from "../protocols/subjects.ts";
import type { Announcements } from "./waiting-results.ts";

export class OwnResults implements Announcements {
  readonly #bus: Bus;
  readonly #names: Names;
  readonly #listeners = new Map<string, Set<() => void>>();
  #subscription: Subscription | undefined;

  constructor(bus: Bus, names: Names) {
    this.#bus = bus;
    this.#names = names;
  }

  listen(pool: string, id: string, onResult: () => void): { unsubscribe(): void } {
    this.#subscription ??= this.#bus.subscribeNow(this.#names.result("*", "*"), ({ subject }) => {
      for (const listener of [...(this.#listeners.get(subject) ?? [])]) listener();
    });
    const subject = this.#names.result(pool, id);
    const listeners = this.#listeners.get(subject) ?? new Set();
    this.#listeners.set(subject, listeners);
    // Of its own, so that the same callback given twice is two.
    const listener = (): void => onResult();
    listeners.add(listener);
    return { unsubscribe: () => this.#forget(subject, listener) };
  }

  #forget(subject: string, listener: () => void): void {
    const listeners = this.#listeners.get(subject);
    listeners?.delete(listener);
    if (listeners?.size === 0) this.#listeners.delete(subject);
    if (this.#listeners.size > 0) return;
    this.#subscription?.unsubscribe();
    this.#subscription = undefined;
  }
}
