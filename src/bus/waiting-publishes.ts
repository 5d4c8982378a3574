/** Publishes that wait, in order. One that was given up is skipped when its turn comes. */
import type { PendingPublish } from "./publish-queue.ts";

/** Entries are taken from the front; the array is cut only now and then, since `shift` would move all the rest. */
const COMPACT_AFTER = 4_096;

export class WaitingPublishes {
  /** Undefined where it was taken. */
  #entries: (PendingPublish | undefined)[] = [];
  #head = 0;

  add(pending: PendingPublish): void {
    this.#entries.push(pending);
  }

  /** The first one, which stays; undefined if none waits. */
  first(): PendingPublish | undefined {
    while (this.#head < this.#entries.length) {
      const pending = this.#entries[this.#head];
      if (pending !== undefined && !pending.settled) return pending;
      this.#advance();
    }
    return undefined;
  }

  /** Takes the one that `first` found. */
  drop(): void {
    this.#advance();
  }

  *[Symbol.iterator](): Iterator<PendingPublish> {
    for (let i = this.#head; i < this.#entries.length; i++) {
      const pending = this.#entries[i];
      if (pending !== undefined && !pending.settled) yield pending;
    }
  }

  #advance(): void {
    this.#entries[this.#head++] = undefined;
    if (this.#head < COMPACT_AFTER && this.#head < this.#entries.length) return;
    this.#entries = this.#entries.slice(this.#head);
    this.#head = 0;
  }
}
