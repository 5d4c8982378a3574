import type { LaneName } from "../../protocols/subjects.ts";
import type { LocalActor } from "../runtime/refs.ts";
import type { agentLogic } from "./machine.ts";
import type { ResolvedAgent } from "./resolve.ts";

interface LaneTickets extends LaneName {
  base: number;
  tickets: number;
}

/** Place of each kind among those of a behaviour; its agents share it. */
export type KindIndex = ReadonlyMap<string, number>;

export function kindIndex({ kinds }: Pick<ResolvedAgent, "kinds">): KindIndex {
  return new Map(kinds.map((kind, i) => [kind, i]));
}

/** One agent: its slots, and the tickets that brought it a task. The actor shows its life. There are thousands, so it is small. */
export class Agent {
  readonly number: number;
  readonly behaviour: ResolvedAgent;
  readonly #actor: LocalActor<typeof agentLogic>;
  readonly #kinds: KindIndex;
  /** In the order of the kinds. */
  readonly #lanes: readonly LaneTickets[];
  #running = 0;
  #shownBusy = false;

  constructor(
    number: number,
    behaviour: ResolvedAgent,
    actor: LocalActor<typeof agentLogic>,
    kinds = kindIndex(behaviour),
  ) {
    this.number = number;
    this.behaviour = behaviour;
    this.#kinds = kinds;
    this.#actor = actor;
    this.#lanes = behaviour.kinds.map((kind) => ({ pool: behaviour.pool, kind, base: -1, tickets: 0 }));
  }

  get running(): number {
    return this.#running;
  }

  get free(): number {
    return this.behaviour.slots - this.#running;
  }

  offers({ pool, kind }: LaneName): boolean {
    return pool === this.behaviour.pool && this.#kinds.has(kind);
  }

  /** Takes a slot for a ticket of the roster that began at `base`. */
  take({ kind }: LaneName, base: number): void {
    this.#running++;
    const lane = this.#lanes[this.#kinds.get(kind) as number] as LaneTickets;
    if (base > lane.base) {
      lane.base = base;
      lane.tickets = 0;
    }
    // A ticket of an older roster is not counted: the turns of that roster are over.
    if (base === lane.base) lane.tickets++;
  }

  release(): void {
    this.#running--;
  }

  /** Tells the chart, if what it shows has changed. */
  showLoad(): void {
    const busy = this.#running > 0;
    if (busy === this.#shownBusy) return;
    this.#shownBusy = busy;
    this.#actor.send({ type: busy ? "WORK" : "REST" });
  }

  drain(): void {
    // What it runs must be known to the chart: it would stop at once.
    this.showLoad();
    this.#actor.send({ type: "DRAIN" });
  }

  tickets(): readonly Readonly<LaneTickets>[] {
    return this.#lanes.filter(({ base }) => base >= 0);
  }
}
