/**
 * Which lives of hosts a dispatcher has evicted: a roster may name one for a moment longer. The last of them are remembered, so that
 * what is kept does not grow with the time that the dispatcher runs.
 */
import type { HostView } from "./fleet.ts";

/** Far more than can stand in a roster at once. */
const MOST = 1_024;

export class EvictedLives {
  /** By host and run; the oldest come first. */
  readonly #lives = new Set<string>();

  add({ id, run }: Pick<HostView, "id" | "run">): void {
    this.#lives.add(keyOf(id, run));
    if (this.#lives.size > MOST) this.#lives.delete(this.#lives.values().next().value as string);
  }

  has(host: string, run: string): boolean {
    return this.#lives.has(keyOf(host, run));
  }
}

/** No token holds a blank. */
function keyOf(host: string, run: string): string {
  return `${host} ${run}`;
}
