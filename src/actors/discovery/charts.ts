import type { DiscoveryEvent } from "./machine.ts";

/** What is true of discovery, as far as its chart knows. */
export interface Facts {
  readonly on: boolean;
  /** Why it is off. */
  readonly why: string;
  readonly announced: boolean;
  readonly contested: boolean;
  readonly found: boolean;
}

type Tell = (event: DiscoveryEvent) => void;

/** Keeps charts up to date: discovery's own, which runs without a bus, and the one that the node hosts as an actor. */
export class Charts {
  readonly #tells = new Set<Tell>();
  #told: Facts = { on: false, why: "", announced: false, contested: false, found: false };

  /** Nobody looks. */
  get none(): boolean {
    return this.#tells.size === 0;
  }

  /** A chart at its initial state; it is told what is true now. */
  add(tell: Tell): void {
    this.#tells.add(tell);
    for (const event of difference(
      { on: false, why: "", announced: false, contested: false, found: false },
      this.#told,
    ))
      tell(event);
  }

  delete(tell: Tell): void {
    this.#tells.delete(tell);
  }

  update(facts: Facts): void {
    const events = difference(this.#told, facts);
    this.#told = facts;
    for (const event of events) for (const tell of this.#tells) tell(event);
  }
}

/** The events that lead from one to the other. A chart that comes to `on` is silent, and searching. */
function difference(before: Facts, after: Facts): readonly DiscoveryEvent[] {
  if (!after.on) return before.on || before.why !== after.why ? [{ type: "CLOSED", why: after.why }] : [];
  const events: DiscoveryEvent[] = [];
  const from = before.on ? before : { announced: false, contested: false, found: false };
  if (!before.on) events.push({ type: "OPENED" });
  if (from.announced && !after.announced) events.push({ type: "WITHDRAWN" });
  if (!from.announced && after.announced) events.push({ type: "ANNOUNCED" });
  const contested = after.announced && after.contested;
  if (after.announced && (from.announced && from.contested) !== contested)
    events.push({ type: contested ? "CONTESTED" : "SETTLED" });
  if (from.found !== after.found) events.push({ type: after.found ? "FOUND" : "ALONE" });
  return events;
}
