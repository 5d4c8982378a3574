/**
 * How evenly a lane's turns fell: what `vgas fairness` shows (contract section 6).
 *
 * Turns follow from the record and the roster alone, because ticket t falls to place (t - base) mod size (P4). Tickets are
 * what the hosts counted. Both are read while the swarm goes on, so a batch that was drawn and has not reached its host
 * yet counts as skipped for that moment.
 */
import type { Bus } from "./bus/bus.ts";
import { decode } from "./bus/codec/codec.ts";
import type { RotationOfLane } from "./bus/rotations.ts";
import { readRotations } from "./bus/rotations.ts";
import { VgasError } from "./protocols/errors.ts";
import { type HostStats, hostStats } from "./protocols/host-messages.ts";
import { agentId, rosterSize } from "./protocols/rotation.ts";
import type { Names } from "./protocols/subjects.ts";

/** `tickets` and `skipped` are null where the agent's host did not answer, or has started again meanwhile. */
export interface AgentFairness {
  readonly agent: string;
  readonly host: string;
  /** Tickets that fell to the agent since the roster began. */
  readonly turns: number;
  /** Those of them that carried a task. */
  readonly tickets: number | null;
  readonly skipped: number | null;
}

export interface LaneFairness {
  readonly pool: string;
  readonly kind: string;
  readonly index: number;
  readonly base: number;
  /** The most turns of an agent less the fewest. */
  readonly skew: number;
  /** In the order of their turns. */
  readonly agents: readonly AgentFairness[];
}

/** Once between two reads the roster of a lane changes; that it does so each time means that hosts come and go incessantly. */
const READS = 5;
const STATS_TIMEOUT_MS = 2_000;
const EMPTY = new Uint8Array(0);

/** The fairness of one lane. `stats` are the answers of the hosts, by host id. Pure. */
export function laneFairness(lane: RotationOfLane, stats: ReadonlyMap<string, HostStats>): LaneFairness {
  const { pool, kind, index, base, ranges } = lane;
  const size = rosterSize(ranges);
  const drawn = Math.max(0, index - base);
  const agents: AgentFairness[] = [];
  let place = 0;
  for (const { host, run, first, count } of ranges) {
    const counted = ticketsOf(stats.get(host), lane, run);
    for (let number = first; number < first + count; number++) {
      const turns = Math.floor(drawn / size) + (place < drawn % size ? 1 : 0);
      const tickets = counted === undefined ? null : (counted.get(number) ?? 0);
      agents.push({
        agent: agentId(host, number),
        host,
        turns,
        tickets,
        skipped: tickets === null ? null : turns - tickets,
      });
      place++;
    }
  }
  // The first place has the most turns, the last the fewest.
  const skew = (agents[0]?.turns ?? 0) - (agents.at(-1)?.turns ?? 0);
  return { pool, kind, index, base, skew, agents };
}

/** Tickets by agent number, or undefined if they are not known: only the same incarnation counted over the same roster. */
function ticketsOf(
  stats: HostStats | undefined,
  lane: Pick<RotationOfLane, "pool" | "kind" | "base">,
  run: string,
): ReadonlyMap<number, number> | undefined {
  if (stats === undefined || stats.run !== run) return undefined;
  const counted = new Map<number, number>();
  for (const { pool, kind, base, tickets } of stats.lanes) {
    if (pool !== lane.pool || kind !== lane.kind || base !== lane.base) continue;
    for (let i = 0; i + 1 < tickets.length; i += 2) counted.set(tickets[i] as number, tickets[i + 1] as number);
  }
  return counted;
}

export interface Fairness {
  /** By pool and kind. */
  readonly lanes: readonly LaneFairness[];
  /** What in the rotation's bucket is not of vgas, a sentence each. */
  readonly warnings: readonly string[];
}

/**
 * The fairness of every lane.
 *
 * @throws VgasError NO_SWARM if there is no rotation under these names, PERMISSION_DENIED (an observer or an admin may), CONFLICT
 *   if rosters change faster than they can be read, TIMEOUT
 */
export async function readFairness(bus: Bus, names: Names): Promise<Fairness> {
  let before = await readRotations(bus, names);
  for (let read = 0; read < READS; read++) {
    const hosts = new Set(before.lanes.flatMap(({ ranges }) => ranges.map(({ host }) => host)));
    const stats = await readStats(bus, names, hosts);
    // Records are read after the counts, so that no agent has more tickets than turns.
    const after = await readRotations(bus, names);
    if (sameRosters(before.lanes, after.lanes))
      return { lanes: after.lanes.map((lane) => laneFairness(lane, stats)), warnings: after.warnings };
    before = after;
  }
  throw new VgasError("CONFLICT", "the rosters changed each time they were read: nodes come and go all the time");
}

function sameRosters(one: readonly RotationOfLane[], other: readonly RotationOfLane[]): boolean {
  const rosters = (lanes: readonly RotationOfLane[]): string =>
    lanes.map(({ pool, kind, base, roster }) => `${pool}.${kind} ${base} ${roster}`).join("\n");
  return rosters(one) === rosters(other);
}

async function readStats(bus: Bus, names: Names, hosts: Iterable<string>): Promise<ReadonlyMap<string, HostStats>> {
  const stats = new Map<string, HostStats>();
  await Promise.all(
    [...hosts].map(async (host) => {
      try {
        const options = { timeoutMs: STATS_TIMEOUT_MS };
        const answer = await bus.request(`reading the stats of ${host}`, names.host(host, "stats"), EMPTY, options);
        const parsed = hostStats.safeParse(decode(answer.data));
        if (parsed.success) stats.set(host, parsed.data);
      } catch (error) {
        // A host that is gone or blocked has no counts to tell; anything else is the caller's business.
        if (!(error instanceof VgasError) || !["TIMEOUT", "UNDELIVERABLE", "INVALID"].includes(error.code)) throw error;
      }
    }),
  );
  return stats;
}
