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

/** Above what all slots of a host can be: a million of a million agents. */
const MAX_LEVEL = 2 ** 42;

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
  const sum = seats.reduce((all, { share }) => all + share, 0);
  // The limit became lower: what runs over it ends by itself.
  if (sum > limit) lower(seats, limit);
  else raise(seats, limit - sum - leaving);
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

/** Takes from the largest shares until there are `limit` in sum. */
function lower(seats: readonly Seat[], limit: number): void {
  const sumAt = (level: number): number => seats.reduce((sum, { share }) => sum + Math.min(share, level), 0);
  const level = highest(sumAt, limit);
  let rest = limit - sumAt(level);
  for (const seat of seats.toReversed()) {
    if (seat.share <= level) continue;
    seat.share = rest > 0 ? level + 1 : level;
    rest--;
  }
}

/** Gives up to `more` to the hosts that have least, and there to the agents that have least. */
function raise(seats: readonly Seat[], more: number): void {
  if (more <= 0) return;
  const byHost = new Map<string, Seat[]>();
  for (const seat of seats) {
    const ofHost = byHost.get(seat.host);
    if (ofHost) ofHost.push(seat);
    else byHost.set(seat.host, [seat]);
  }
  const hosts = [...byHost.values()].map((ofHost) => ({
    ofHost,
    share: ofHost.reduce((sum, { share }) => sum + share, 0),
    slots: ofHost.reduce((sum, { slots }) => sum + slots, 0),
  }));
  for (const [i, given] of filled(hosts, more).entries()) {
    const { ofHost } = hosts[i] as (typeof hosts)[number];
    for (const [at, each] of filled(ofHost, given).entries()) (ofHost[at] as Seat).share += each;
  }
}

/** What each gets of `more` where the one that has least, and has room, gets the next; in numbers, for a limit may be a million. */
function filled(all: readonly Pick<Seat, "share" | "slots">[], more: number): readonly number[] {
  const upTo = (level: number): readonly number[] =>
    all.map(({ share, slots }) => Math.max(0, Math.min(slots, level) - share));
  const given = (level: number): number => upTo(level).reduce((sum, each) => sum + each, 0);
  const level = highest(given, more);
  let rest = more - given(level);
  return upTo(level).map((each, i) => {
    const { share, slots } = all[i] as Pick<Seat, "share" | "slots">;
    const gets = rest > 0 && share + each === level && level < slots;
    if (gets) rest--;
    return gets ? each + 1 : each;
  });
}

/** The highest level, up to which `sumAt` rises, where it is at most `most`. */
function highest(sumAt: (level: number) => number, most: number): number {
  let low = 0;
  let high = MAX_LEVEL;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (sumAt(middle) <= most) low = middle;
    else high = middle - 1;
  }
  return low;
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
