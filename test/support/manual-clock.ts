import type { Clock, Timer } from "../../src/protocols/clock.ts";

interface Pending {
  readonly callback: () => void;
  readonly periodMs: number | undefined;
  at: number;
}

/** A clock that stands still until it is advanced. Timers fire in the order of their times. */
export class ManualClock implements Clock {
  readonly #pending = new Set<Pending>();
  #monotonic = 0;
  /** Wall clock minus monotonic clock; change it to let the wall clock jump. */
  wallOffset = 1_700_000_000_000;

  now(): number {
    return this.#monotonic + this.wallOffset;
  }

  monotonic(): number {
    return this.#monotonic;
  }

  setTimeout(callback: () => void, delayMs: number): Timer {
    return this.#add({ callback, periodMs: undefined, at: this.#monotonic + Math.max(0, delayMs) });
  }

  setInterval(callback: () => void, periodMs: number): Timer {
    return this.#add({ callback, periodMs, at: this.#monotonic + periodMs });
  }

  clear(timer: Timer | undefined): void {
    this.#pending.delete(timer as Pending);
  }

  /** Timers that are armed. */
  get armed(): number {
    return this.#pending.size;
  }

  /** Moves on and fires what is due. Between two timers everything that promises wait for inside the process goes on. */
  async advance(ms: number): Promise<void> {
    const until = this.#monotonic + ms;
    await turns();
    for (let next = this.#due(until); next !== undefined; next = this.#due(until)) {
      this.#monotonic = Math.max(this.#monotonic, next.at);
      if (next.periodMs === undefined) this.#pending.delete(next);
      else next.at += next.periodMs;
      next.callback();
      await turns();
    }
    this.#monotonic = until;
  }

  /** Moves on without firing anything, as when the event loop was blocked. */
  jump(ms: number): void {
    this.#monotonic += ms;
  }

  #due(until: number): Pending | undefined {
    let first: Pending | undefined;
    for (const pending of this.#pending) {
      if (pending.at <= until && (first === undefined || pending.at < first.at)) first = pending;
    }
    return first;
  }

  #add(pending: Pending): Timer {
    this.#pending.add(pending);
    return pending;
  }
}

/** Lets chains of promises inside the process run to where they wait for something outside. */
export async function turns(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) {
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
  }
}
