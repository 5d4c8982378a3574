/** What to make of what a swarm says of itself: what `vgas status` shows. */
import type { PausedLane } from "../bus/pauses.ts";
import { replicaTrouble } from "../bus/replicas.ts";
import type { StreamState } from "../bus/topology.ts";
import { rosterSize } from "../protocols/rotation.ts";
import { PRIORITIES } from "../protocols/subjects.ts";
import type { NodeView } from "./nodes.ts";
import { type Observations, observe, type VaultHealth, type Viewer } from "./observations.ts";

export interface LaneState {
  readonly pool: string;
  readonly kind: string;
  /** Agents that take its tasks; 0 if nobody offers it. */
  readonly agents: number;
  /** Messages (a task, or an array of tasks) that no dispatcher has yet. */
  readonly waiting: number;
  /** Messages that a dispatcher or a host has in hand. */
  readonly inHand: number;
  /** When the oldest of those that wait was submitted, ms since the epoch; left out if none waits, or it was not looked for. */
  readonly oldestAt?: number;
  /** Nothing of it is started until it is resumed; `by` and `at` as far as they are known. */
  readonly paused?: { readonly by?: string; readonly at?: number };
}

export interface SwarmState {
  readonly health: "ok" | "degraded";
  /** Why it is degraded, one sentence each. */
  readonly reasons: readonly string[];
  /** What in the rotation's bucket is not of vgas, one sentence each: it keeps nothing from its work. */
  readonly warnings: readonly string[];
  readonly url: string;
  readonly prefix: string;
  readonly nodes: number;
  readonly agents: number;
  readonly running: number;
  readonly slots: number;
  readonly streams: readonly StreamState[];
  /** Stored results, and dead letters. */
  readonly results: number;
  readonly dead: number;
  /** Undefined if no node runs one. */
  readonly vault?: VaultHealth;
  /** Lanes that somebody offers. */
  readonly lanes: readonly LaneState[];
  /** Lanes with tasks that wait and nobody to take them. */
  readonly unoffered: readonly LaneState[];
}

/** A loop that does not answer for this long holds up every task of its node. */
const MAX_LAG_MS = 1_000;
/** Above this share of its size cap a stream is about to refuse what is sent. */
const ALMOST_FULL = 0.9;

/** Throws as `observe`. */
export async function readHealth(viewer: Viewer): Promise<SwarmState> {
  return judge(await observe(viewer));
}

/** What to make of it. Pure. */
export function judge(seen: Observations): SwarmState {
  const { url, prefix, nodes, streams, names } = seen;
  const lanes = laneStates(seen);
  const messages = (name: string): number => streams.find((stream) => stream.name === name)?.messages ?? 0;
  const offered = lanes.filter(({ agents }) => agents > 0);
  const reasons = [
    ...seen.unanswered,
    ...nodeReasons(nodes),
    ...streamReasons(streams),
    ...laneReasons(offered, seen),
    ...vaultReasons(seen),
  ];
  const sum = (of: (node: NodeView) => number | undefined): number =>
    nodes.reduce((all, node) => all + (of(node) ?? 0), 0);
  return {
    health: reasons.length === 0 ? "ok" : "degraded",
    reasons,
    warnings: seen.rotations.warnings,
    url,
    prefix,
    nodes: nodes.length,
    agents: sum(({ agents }) => agents),
    running: sum(({ running }) => running),
    slots: sum(({ slots }) => slots),
    streams,
    results: messages(names.streams.results),
    dead: messages(names.streams.dead),
    ...(seen.vault && { vault: seen.vault }),
    lanes: offered,
    unoffered: lanes.filter(({ agents, waiting, inHand }) => agents === 0 && waiting + inHand > 0),
  };
}

function laneStates({ names, rotations, stored, consumers, paused, oldest }: Observations): readonly LaneState[] {
  const lanes = new Map<string, { pool: string; kind: string; agents: number; messages: number }>();
  for (const { pool, kind, ranges } of rotations.lanes) {
    lanes.set(names.task(pool, kind), { pool, kind, agents: rosterSize(ranges), messages: 0 });
  }
  for (const [subject, messages] of stored) {
    const parsed = names.parseTask(subject);
    if (parsed === undefined) continue;
    const { pool, kind } = parsed;
    const key = names.task(pool, kind);
    const known = lanes.get(key);
    lanes.set(key, { pool, kind, agents: known?.agents ?? 0, messages: (known?.messages ?? 0) + messages });
  }
  const byName = new Map(consumers?.map((consumer) => [consumer.name, consumer]));
  return [...lanes.keys()].sort().flatMap((subject) => {
    const lane = lanes.get(subject);
    if (lane === undefined) return [];
    const { messages, ...rest } = lane;
    let pending = 0;
    for (const priority of PRIORITIES) pending += byName.get(names.consumer(lane, priority))?.ackPending ?? 0;
    const inHand = Math.min(messages, pending);
    const waiting = messages - inHand;
    const oldestAt = waiting > 0 ? oldest.get(subject) : undefined;
    const pause = paused.find(({ pool, kind }) => pool === lane.pool && kind === lane.kind);
    return [
      {
        ...{ ...rest, waiting, inHand },
        ...(oldestAt !== undefined && { oldestAt }),
        ...(pause && { paused: pauseOf(pause) }),
      },
    ];
  });
}

function pauseOf({ by, at }: PausedLane): NonNullable<LaneState["paused"]> {
  return { ...(by !== undefined && { by }), ...(at !== undefined && { at }) };
}

function nodeReasons(nodes: readonly NodeView[]): readonly string[] {
  if (!nodes.some(({ state }) => state !== "silent")) return ["no node with agents is heard, so no task runs"];
  return nodes.flatMap((node) => {
    if (node.state === "silent") return [`node ${node.host} is not heard, though it has not left`];
    if (node.state === "stalled") return [`node ${node.host} is stalled: a task blocks it past the task's deadline`];
    const lag = Math.round(node.lagMs ?? 0);
    return lag > MAX_LAG_MS ? [`node ${node.host} has not answered for ${lag} ms: a task blocks its main loop`] : [];
  });
}

function streamReasons(streams: readonly StreamState[]): readonly string[] {
  return streams.flatMap(({ name, bytes, maxBytes, copies }) => {
    const full = maxBytes > 0 && bytes > ALMOST_FULL * maxBytes;
    // One that has just come back, or is a few messages behind, is no reason to wake anybody.
    const lacks = copies !== undefined && (copies.leader === undefined || copies.offline.length > 0);
    const trouble = lacks ? replicaTrouble(copies) : undefined;
    return [
      ...(full ? [`stream ${name} is ${Math.round((100 * bytes) / maxBytes)} % full`] : []),
      ...(trouble === undefined ? [] : [`stream ${name}: ${trouble}`]),
    ];
  });
}

function laneReasons(lanes: readonly LaneState[], { names, consumers }: Observations): readonly string[] {
  if (consumers === undefined) return [];
  const pulled = new Set(consumers.filter(({ pulls }) => pulls > 0).map(({ name }) => name));
  const isPulled = (lane: LaneState): boolean =>
    PRIORITIES.some((priority) => pulled.has(names.consumer(lane, priority)));
  return lanes
    .filter((lane) => lane.paused === undefined && lane.waiting > 0 && lane.inHand === 0 && !isPulled(lane))
    .map(({ pool, kind }) => `no dispatcher takes the tasks of ${pool}.${kind}`);
}

/** A vault that is sealed or not made is no trouble: that is how it is before somebody opens it. */
function vaultReasons({ vault }: Observations): readonly string[] {
  if (vault === undefined) return [];
  if (vault.state === "silent") return [`the vault does not answer: ${vault.why ?? "for no reason it knows"}`];
  if (vault.state !== "failed" && vault.why === undefined) return [];
  return [`the vault gives no key out: ${vault.why ?? "it has failed"}`];
}
