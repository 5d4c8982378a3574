/** What to make of what a swarm says of itself: what `vgas status` shows. */
import type { PausedLane } from "../bus/pauses.ts";
import type { StreamState } from "../bus/topology.ts";
import { rosterSize } from "../protocols/rotation.ts";
import { PRIORITIES } from "../protocols/subjects.ts";
import type { NodeView } from "./nodes.ts";
import { type Observations, observe, type VaultHealth, type Viewer } from "./observations.ts";
import { swarmTroubles } from "./troubles.ts";

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
  /** What to do about each of them, in the same order. */
  readonly remedies: readonly string[];
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
  const troubles = swarmTroubles(seen, offered);
  const sum = (of: (node: NodeView) => number | undefined): number =>
    nodes.reduce((all, node) => all + (of(node) ?? 0), 0);
  return {
    health: troubles.length === 0 ? "ok" : "degraded",
    reasons: troubles.map(({ what }) => what),
    remedies: troubles.map(({ remedy }) => remedy),
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
