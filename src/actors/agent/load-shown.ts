import type { Agent } from "./agent.ts";

/**
 * Tells the charts of agents whether they work, once for each turn of the event loop. What begins and ends within one turn is never
 * told: a transition costs as much as all the rest that a host does for a short task, and would come before the task begins.
 */
export class LoadShown {
  readonly #changed = new Set<Agent>();
  #immediate: NodeJS.Immediate | undefined;

  /** `agent` began to work, or has nothing left to do. */
  changed(agent: Agent): void {
    this.#changed.add(agent);
    this.#immediate ??= setImmediate(() => this.#show());
  }

  #show(): void {
    this.#immediate = undefined;
    for (const agent of this.#changed) agent.showLoad();
    this.#changed.clear();
  }
}
