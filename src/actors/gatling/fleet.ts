/**
 * A dispatcher's picture of the hosts: which agents there are, and how many slots of each are free.
 *
 * 1. A host is the authority on its agents' slots. `free` here is what it last reported, less what this dispatcher has
 *    assigned since without a receipt. A host's reports and receipts reach us in the order in which it sent them.
 * 2. Seats of a lane's places follow `free`: a place is marked free exactly while its agent's `free` is above what the lane may
 *    not use of it. A range with fewer slots than its agents have is their share of the kind's limit.
 */
import type { AgentGroup, Heartbeat } from "../../protocols/host-messages.ts";
import type { RosterRange } from "../../protocols/rotation.ts";
import type { Seats } from "./draw.ts";
import { grantBytes } from "./grants.ts";
import { FreePlaces } from "./places.ts";

const NO_PROVIDERS: readonly string[] = Object.freeze([]);

/** Where an agent sits. */
interface Seat {
  readonly seats: RosterSeats;
  readonly place: number;
}

const NO_SEATS: readonly Seat[] = Object.freeze([]);

/** One agent as this dispatcher sees it. */
export class AgentView {
  readonly host: HostView;
  readonly number: number;
  readonly slots: number;
  /** Providers that it declares. */
  readonly providers: readonly string[];
  /** What a grant adds to each of its assignments. */
  readonly grantBytes: number;
  /** Free slots by the host's last word. */
  #reported: number;
  /** Assigned by us, receipt not yet seen. */
  #pending = 0;
  /** `free` as the seats know it. */
  #shown = 0;
  /** Replaced as a whole: an array that grows keeps room for a dozen more, and there are thousands of agents. */
  #seats = NO_SEATS;

  constructor(host: HostView, number: number, { slots, providers }: AgentGroup, running: number) {
    this.host = host;
    this.number = number;
    this.slots = slots;
    this.providers = providers ?? NO_PROVIDERS;
    this.grantBytes = grantBytes(this.providers);
    this.#reported = slots - running;
  }

  get free(): number {
    return this.host.usable ? Math.max(0, this.#reported - this.#pending) : 0;
  }

  /** Tasks that it runs, by the host's last word. */
  get running(): number {
    return this.slots - this.#reported;
  }

  /** Assigns one task, before its burst goes out. */
  assign(): void {
    this.#pending++;
    this.#mark();
  }

  /** Takes an assignment back: it was not sent, or its receipt has come. */
  unassign(): void {
    this.#pending--;
    this.#mark();
  }

  /** The host says how many slots are free now. */
  report(free: number): void {
    this.#reported = free;
    this.#mark();
  }

  sit(seats: RosterSeats, place: number): void {
    this.#seats = [...this.#seats, { seats, place }];
    seats.change(place, 0, this.#shown);
  }

  leave(seats: RosterSeats): void {
    const others = this.#seats.filter((seat) => seat.seats !== seats);
    this.#seats = others.length === 0 ? NO_SEATS : others;
  }

  /** Brings the seats in line with `free`; the host calls it when `usable` changes. */
  refresh(): void {
    this.#mark();
  }

  #mark(): void {
    const before = this.#shown;
    const after = this.free;
    if (before === after) return;
    this.#shown = after;
    for (const { seats, place } of this.#seats) seats.change(place, before, after);
  }
}

/**
 * `up`: takes tasks. `suspended`: nobody listened there just now, although its heartbeat is fresh; it keeps its place and
 * its tasks. `leaving`: draining, finishes what it has. `out`: evicted for good; its return makes a new view.
 */
export type HostState = "up" | "suspended" | "leaving" | "out";

/** One incarnation of a host. */
export class HostView {
  readonly id: string;
  readonly run: string;
  readonly groups: readonly AgentGroup[];
  /** Some of its agents declare providers. */
  readonly declaresProviders: boolean;
  readonly agents: readonly AgentView[];
  /** Arrival of the last heartbeat on the monitor's monotonic clock, ms. */
  heardAt: number;
  heartbeat: Heartbeat;
  /** Since when nobody is known to listen there, on the same clock; undefined if somebody did when it was last tried. */
  nobodySince: number | undefined;
  /** Bursts whose receipt has not come. */
  openBursts = 0;
  /** When a receipt or notice last told of free slots, monotonic ms. */
  reportedAt = Number.NEGATIVE_INFINITY;
  #state: HostState;

  constructor(heartbeat: Heartbeat, heardAt: number) {
    this.id = heartbeat.host;
    this.run = heartbeat.run;
    this.groups = heartbeat.groups;
    this.declaresProviders = heartbeat.groups.some(({ providers }) => providers !== undefined && providers.length > 0);
    this.heartbeat = heartbeat;
    this.heardAt = heardAt;
    this.#state = heartbeat.draining ? "leaving" : "up";
    const agents: AgentView[] = [];
    for (const group of heartbeat.groups) {
      for (let number = group.first; number < group.first + group.count; number++) {
        agents[number] = new AgentView(this, number, group, heartbeat.running[number] ?? 0);
      }
    }
    this.agents = agents;
    for (const agent of agents) agent?.refresh();
  }

  get state(): HostState {
    return this.#state;
  }

  set state(state: HostState) {
    if (this.#state === state) return;
    this.#state = state;
    for (const agent of this.agents) agent?.refresh();
  }

  /** Only then do its agents count as free. */
  get usable(): boolean {
    return this.#state === "up";
  }

  /** Pairs `agent, free` as a receipt or a notice carries them. Numbers of agents that do not exist are ignored. */
  report(pairs: readonly number[]): void {
    for (let i = 0; i + 1 < pairs.length; i += 2) this.agents[pairs[i] as number]?.report(pairs[i + 1] as number);
  }
}

/** The places of one lane's roster, bound to the agents behind them. */
export class RosterSeats implements Seats {
  readonly ranges: readonly RosterRange[];
  readonly size: number;
  readonly #agents: (AgentView | undefined)[] = [];
  /** Slots of each place that this lane may not use; undefined where it may use all. */
  readonly #withheld: number[] | undefined;
  /** Tasks at once that this lane may have on an agent, of agents where it is fewer than their slots. */
  readonly caps: ReadonlyMap<AgentView, number> | undefined;
  readonly #free: FreePlaces;
  #freeSlots = 0;
  readonly #onFree: () => void;

  /** `onFree` is called whenever slots become free. */
  constructor(
    ranges: readonly RosterRange[],
    find: (host: string, run: string) => HostView | undefined,
    onFree: () => void,
  ) {
    this.ranges = ranges;
    this.#onFree = onFree;
    for (const range of ranges) {
      const host = find(range.host, range.run);
      for (let i = 0; i < range.count; i++) this.#agents.push(host?.agents[range.first + i]);
    }
    this.size = this.#agents.length;
    const caps = new Map<AgentView, number>();
    const withheld: number[] = [];
    let place = 0;
    for (const { count, slots } of ranges) {
      for (let i = 0; i < count; i++, place++) {
        const agent = this.#agents[place];
        if (agent === undefined || agent.slots <= slots) continue;
        withheld[place] = agent.slots - slots;
        caps.set(agent, slots);
      }
    }
    if (caps.size > 0) {
      this.#withheld = withheld;
      this.caps = caps;
    }
    this.#free = new FreePlaces(this.size);
    for (const [at, agent] of this.#agents.entries()) agent?.sit(this, at);
  }

  next(from: number): number {
    return this.#free.next(from);
  }

  take(place: number): void {
    this.#agents[place]?.assign();
  }

  agent(place: number): AgentView {
    return this.#agents[place] as AgentView;
  }

  /** Free slots of all places: the lane's credit. */
  get freeSlots(): number {
    return this.#freeSlots;
  }

  change(place: number, shownBefore: number, shownAfter: number): void {
    const withheld = this.#withheld?.[place] ?? 0;
    const before = withheld === 0 ? shownBefore : Math.max(0, shownBefore - withheld);
    const after = withheld === 0 ? shownAfter : Math.max(0, shownAfter - withheld);
    this.#freeSlots += after - before;
    if (after > 0 && before <= 0) this.#free.add(place);
    else if (after <= 0 && before > 0) this.#free.remove(place);
    if (after > before) this.#onFree();
  }

  /** Unbinds the agents; the roster has been replaced. */
  dispose(): void {
    for (const agent of this.#agents) agent?.leave(this);
  }
}
