/**
 * Shares a kind's limit of tasks at once among the agents of its roster. Pure.
 *
 * 1. The slots of the ranges are at most the limit, in sum. An agent runs no more than its range's slots of the lane; its host is
 *    the authority. What else the agent runs counts too, so a limit of several kinds in one definition is a limit of them all.
 * 2. A share never shrinks while its agent is in the roster: a burst of an older roster may still be on its way. So a host that
 *    joins gets what the others do not have, and the limit holds meanwhile.
 * 3. Agents without a share are left out of the roster until there is one for them.
 */
import type { RosterRange } from "../../protocols/rotation.ts";
import type { LaneName } from "../../protocols/subjects.ts";
import type { HostView } from "./fleet.ts";

interface Seat {
  readonly host: string;
  readonly run: string;
  readonly agent: number;
  readonly slots: number;
  share: number;
}

/** `wanted` in the order of the roster; `leaving` tasks still run on hosts that leave it. */
export function sharedRanges(
  wanted: readonly RosterRange[],
  current: readonly RosterRange[],
  limit: number,
  leaving: number,
): readonly RosterRange[] {
  const shares = new Map<string, number>();
  for (const range of current)
    for (let i = 0; i < range.count; i++) shares.set(keyOf(range, range.first + i), range.slots);
  const seats = wanted.flatMap((range) =>
    Array.from({ length: range.count }, (_, i): Seat => {
      const agent = range.first + i;
      const share = Math.min(range.slots, shares.get(keyOf(range, agent)) ?? 0);
      return { host: range.host, run: range.run, agent, slots: range.slots, share };
    }),
  );
  let sum = seats.reduce((all, { share }) => all + share, 0);
  // The limit became lower: what runs over it ends by itself.
  for (; sum > limit; sum--) (largest(seats) as Seat).share--;
  for (let rest = limit - sum - leaving; rest > 0; rest--) {
    const next = neediest(seats);
    if (next === undefined) break;
    next.share++;
  }
  return rangesOf(seats);
}

/** Tasks that hosts on their way out still run on agents that offer the lane. */
export function runningOfLeaving(lane: LaneName, hosts: Iterable<HostView>): number {
  let running = 0;
  for (const host of hosts) {
    if (host.state !== "leaving") continue;
    for (const { pool, kinds, first, count } of host.groups) {
      if (pool !== lane.pool || !kinds.includes(lane.kind)) continue;
      for (let number = first; number < first + count; number++)
        running += Math.max(host.heartbeat.running[number] ?? 0, host.agents[number]?.running ?? 0);
    }
  }
  return running;
}

function keyOf({ host, run }: Pick<RosterRange, "host" | "run">, agent: number): string {
  return `${host} ${run} ${agent}`;
}

function largest(seats: readonly Seat[]): Seat | undefined {
  return seats.reduce<Seat | undefined>((most, seat) => (most && most.share >= seat.share ? most : seat), undefined);
}

/** The agent with room whose host has least, and that has least there. */
function neediest(seats: readonly Seat[]): Seat | undefined {
  const ofHost = new Map<string, number>();
  for (const { host, share } of seats) ofHost.set(host, (ofHost.get(host) ?? 0) + share);
  let found: Seat | undefined;
  for (const seat of seats) {
    if (seat.share >= seat.slots) continue;
    const less = found === undefined ? -1 : (ofHost.get(seat.host) as number) - (ofHost.get(found.host) as number);
    if (found === undefined || less < 0 || (less === 0 && seat.share < found.share)) found = seat;
  }
  return found;
}

function rangesOf(seats: readonly Seat[]): readonly RosterRange[] {
  const ranges: { host: string; run: string; first: number; count: number; slots: number }[] = [];
  for (const { host, run, agent, share } of seats) {
    if (share === 0) continue;
    const last = ranges.at(-1);
    if (last?.host === host && last.run === run && last.slots === share && last.first + last.count === agent)
      last.count++;
    else ranges.push({ host, run, first: agent, count: 1, slots: share });
  }
  return ranges;
}
