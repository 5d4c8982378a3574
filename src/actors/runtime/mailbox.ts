import type { EventObject } from "xstate";
import type { Letter } from "./letter.ts";

/**
 * The bounded mailbox of an actor, first come first served. A letter counts from `put` until `remove`: while it waits
 * for the machine, and while the machine has it and has neither processed nor answered it.
 */
export class Mailbox {
  readonly limit: number;
  readonly #waiting: Letter[] = [];
  /** Letters that the machine has, by the event it got. */
  readonly #taken = new Map<EventObject, Letter>();
  #idle: (() => void)[] = [];

  constructor(limit: number) {
    this.limit = limit;
  }

  get size(): number {
    return this.#waiting.length + this.#taken.size;
  }

  get full(): boolean {
    return this.size >= this.limit;
  }

  put(letter: Letter): void {
    this.#waiting.push(letter);
  }

  /** The next letter, now in the machine's hands. */
  take(): Letter | undefined {
    const letter = this.#waiting.shift();
    if (letter !== undefined) this.#taken.set(letter.event, letter);
    return letter;
  }

  /** The letter that the machine got as `event`. */
  letterOf(event: EventObject): Letter | undefined {
    return this.#taken.get(event);
  }

  /** Letters in the machine's hands, oldest first. */
  get taken(): readonly Letter[] {
    return [...this.#taken.values()];
  }

  /** Forgets a letter that is settled, wherever it is. */
  remove(letter: Letter): void {
    if (!this.#taken.delete(letter.event)) {
      const index = this.#waiting.indexOf(letter);
      if (index >= 0) this.#waiting.splice(index, 1);
    }
    if (this.size === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** All letters, oldest first. */
  get all(): readonly Letter[] {
    return [...this.#taken.values(), ...this.#waiting];
  }

  /** Resolves when nothing waits and nothing is unanswered. */
  idle(): Promise<void> {
    if (this.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idle.push(resolve);
    });
  }
}
