/** What `vgas top` shows, as it is gathered: heartbeats and results as they go by, and the state of the swarm, asked for now and then. */
import type { Bus } from "../../bus/bus.ts";
import { decode, encode } from "../../bus/codec/codec.ts";
import { VgasError } from "../../protocols/errors.ts";
import { type Heartbeat, heartbeat, hostStats, type RunningTask } from "../../protocols/host-messages.ts";
import { type Activity, ActivityWatch } from "../../swarm-view/activity.ts";
import { judge, type SwarmState } from "../../swarm-view/health.ts";
import type { NodeView } from "../../swarm-view/nodes.ts";
import { observe, type Viewer } from "../../swarm-view/observations.ts";

/** One look at the swarm. */
export interface TopView {
  /** Ms since the epoch. */
  readonly at: number;
  /** Undefined as long as nothing could be read. */
  readonly state: SwarmState | undefined;
  readonly nodes: readonly NodeView[];
  readonly activity: Activity;
  /** The longest first. */
  readonly slowest: readonly RunningTask[];
  /** Why the state is not of now: the connection is gone, or something could not be read. */
  readonly trouble: string | undefined;
}

/** As long as a dispatcher waits before it takes a node for dead. */
const SILENT_MS = 3_500;
/** Nodes that are asked what they run; a second is enough for one that is not blocked. */
const MAX_ASKED = 32;
const STATS_TIMEOUT_MS = 1_000;
const MAX_SLOWEST = 20;
/** After these no look will ever succeed: SHUTTING_DOWN is a connection that is closed for good. */
const ENDS: ReadonlySet<string> = new Set(["NO_SWARM", "PERMISSION_DENIED", "SHUTTING_DOWN"]);

export class TopFeed {
  readonly #viewer: Viewer;
  readonly #watch = new ActivityWatch(() => performance.now());
  readonly #beats = new Map<string, { readonly beat: Heartbeat; readonly at: number }>();
  readonly #stops: (() => void)[] = [];
  readonly #onChange: () => void;
  #last: Omit<TopView, "at" | "trouble"> | undefined;
  #cutOff = false;

  /** `onChange` is called when the connection is lost or found again. */
  constructor(viewer: Viewer, onChange: () => void) {
    this.#viewer = viewer;
    this.#onChange = onChange;
  }

  async start(): Promise<void> {
    const { bus, names } = this.#viewer;
    const results = await bus.subscribe(names.result("*", "*"), ({ data }) => this.#watch.result(data));
    const beats = await bus.subscribe(names.heartbeat("*"), ({ data }) => this.#hear(data));
    const stop = bus.onStatus(({ type }) => {
      if (type !== "disconnected" && type !== "reconnected") return;
      this.#cutOff = type === "disconnected";
      this.#onChange();
    });
    this.#stops.push(
      () => results.unsubscribe(),
      () => beats.unsubscribe(),
      stop,
    );
  }

  stop(): void {
    for (const stop of this.#stops.splice(0)) stop();
  }

  get cutOff(): boolean {
    return this.#cutOff;
  }

  /** What is known without asking anybody. */
  known(): TopView {
    const { state, nodes = [], slowest = [], activity = NO_ACTIVITY } = this.#last ?? {};
    const trouble = this.#cutOff ? "cut off from NATS; this is how it was. Reconnecting" : undefined;
    return { at: Date.now(), state, nodes, slowest, activity, trouble };
  }

  /** Looks anew. Never rejects: what could not be read stays as it was, and `trouble` says so. */
  async look(): Promise<TopView> {
    const activity = this.#watch.tick();
    if (this.#cutOff) return this.known();
    try {
      const seen = await observe(this.#viewer, () => Promise.resolve(this.#heard()));
      const slowest = await this.#slowest(seen.nodes);
      this.#last = { state: judge(seen), nodes: seen.nodes, slowest, activity };
      return this.known();
    } catch (error) {
      if (!(error instanceof VgasError)) throw error;
      if (ENDS.has(error.code)) throw error;
      const known = this.known();
      return { ...known, trouble: known.trouble ?? error.message };
    }
  }

  #hear(data: Uint8Array): void {
    let beat: Heartbeat;
    try {
      beat = heartbeat.parse(decode(data));
    } catch {
      return;
    }
    this.#beats.set(beat.host, { beat, at: performance.now() });
    this.#watch.heartbeat(beat);
  }

  #heard(): ReadonlyMap<string, Heartbeat> {
    const since = performance.now() - SILENT_MS;
    const heard = new Map<string, Heartbeat>();
    for (const [host, { beat, at }] of this.#beats) {
      if (at >= since) heard.set(host, beat);
      else this.#beats.delete(host);
    }
    return heard;
  }

  async #slowest(nodes: readonly NodeView[]): Promise<readonly RunningTask[]> {
    const { bus, names } = this.#viewer;
    const busy = nodes.filter(({ running = 0 }) => running > 0).slice(0, MAX_ASKED);
    const told = await Promise.all(busy.map(({ host }) => ask(bus, names.host(host, "stats"))));
    return told
      .flat()
      .filter(({ startedAt }) => startedAt > 0)
      .sort((a, b) => a.startedAt - b.startedAt)
      .slice(0, MAX_SLOWEST);
  }
}

const NO_ACTIVITY: Activity = { tasksPerSecond: 0, lanes: new Map(), nodes: new Map(), failing: [] };

/** Nothing of a node that is blocked, or has just gone. */
async function ask(bus: Bus, subject: string): Promise<readonly RunningTask[]> {
  try {
    const answer = await bus.request("reading what runs", subject, encode({}), { timeoutMs: STATS_TIMEOUT_MS });
    return hostStats.parse(decode(answer.data)).slowest ?? [];
  } catch {
    return [];
  }
}
