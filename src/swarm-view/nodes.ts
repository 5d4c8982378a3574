/** The nodes of a swarm as their heartbeats and the rosters show them. */
import type { RotationOfLane } from "../bus/rotations.ts";
import type { Heartbeat } from "../protocols/host-messages.ts";

/** `silent`: a roster names it, and nothing was heard of it. `stalled`: a task blocks it past the task's deadline. */
export type NodeState = "up" | "draining" | "stalled" | "silent";

export interface NodeView {
  readonly host: string;
  readonly state: NodeState;
  readonly machine?: string;
  readonly pid?: number;
  readonly roles?: readonly string[];
  readonly agents: number;
  /** Tasks that run now, and how many could. */
  readonly running?: number;
  readonly slots: number;
  /** How long its main loop has not answered, ms. */
  readonly lagMs?: number;
  readonly started?: number;
  readonly finished?: number;
  readonly failed?: number;
  /** What its agents take, as `pool.kind`. */
  readonly lanes: readonly string[];
}

/** Hosts that any roster names. */
export function rosterHosts(lanes: readonly RotationOfLane[]): ReadonlySet<string> {
  return new Set(lanes.flatMap(({ ranges }) => ranges.map(({ host }) => host)));
}

/** Every node that was heard or that a roster names, by host id. Pure. */
export function nodeViews(
  heard: ReadonlyMap<string, Heartbeat>,
  lanes: readonly RotationOfLane[],
): readonly NodeView[] {
  const silent = [...rosterHosts(lanes)].filter((host) => !heard.has(host)).map((host) => silentNode(host, lanes));
  return [...[...heard.values()].map(heardNode), ...silent].sort((a, b) => (a.host < b.host ? -1 : 1));
}

function heardNode(beat: Heartbeat): NodeView {
  const { host, machine, pid, roles, lagMs, started, finished, failed, groups } = beat;
  return {
    host,
    state: beat.stalled ? "stalled" : beat.draining ? "draining" : "up",
    machine,
    pid,
    roles,
    agents: groups.reduce((sum, group) => sum + group.count, 0),
    running: beat.running.reduce((sum, each) => sum + each, 0),
    slots: groups.reduce((sum, group) => sum + group.count * group.slots, 0),
    lagMs,
    started,
    finished,
    failed,
    lanes: [...new Set(groups.flatMap(({ pool, kinds }) => kinds.map((kind) => `${pool}.${kind}`)))].sort(),
  };
}

function silentNode(host: string, lanes: readonly RotationOfLane[]): NodeView {
  const agents = new Map<number, number>();
  const offered: string[] = [];
  for (const { pool, kind, ranges } of lanes) {
    const own = ranges.filter((range) => range.host === host);
    if (own.length > 0) offered.push(`${pool}.${kind}`);
    for (const { first, count, slots } of own) {
      for (let agent = first; agent < first + count; agent++) agents.set(agent, slots);
    }
  }
  const slots = [...agents.values()].reduce((sum, each) => sum + each, 0);
  return { host, state: "silent", agents: agents.size, slots, lanes: offered };
}
