import type { Logger } from "../../protocols/logger.ts";

/** Listeners to one kind of event. One that throws is logged and never reaches who emitted. */
export class Listeners<Event extends { readonly type: string }> {
  readonly #logger: Logger;
  readonly #listeners = new Set<(event: Event) => void>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** False when an event need not even be built. */
  get any(): boolean {
    return this.#listeners.size > 0;
  }

  /** Returns how to stop listening; calling that again does nothing. */
  add(listener: (event: Event) => void): () => void {
    // Wrapped, so that the same function added twice is two listeners.
    const own = (event: Event): void => listener(event);
    this.#listeners.add(own);
    return () => {
      this.#listeners.delete(own);
    };
  }

  emit(event: Event): void {
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch (error) {
        this.#logger.error({ error, event: event.type }, "A listener threw; the actor runtime goes on without it.");
      }
    }
  }
}
