/**
 * Which agents a lane's roster should name.
 *
 * A dispatcher adds hosts that it hears and removes those that it knows to be gone, and leaves the rest as they are:
 * two dispatchers that have not heard the same hosts yet would otherwise undo each other's rosters for ever.
 */
import type { KindLimits } from "../../protocols/host-messages.ts";
import type { RosterRange } from "../../protocols/rotation.ts";
import type { LaneName } from "../../protocols/subjects.ts";
import type { HostView } from "./fleet.ts";

/**
 * The roster of `lane`: `hosts` are those alive, `gone` tells of an incarnation that is certainly out. Ordered by host
 * and number, so that every dispatcher writes the same one.
 */
export function wantedRanges(
  lane: LaneName,
  current: readonly RosterRange[],
  hosts: ReadonlyMap<string, HostView>,
  gone: (host: string, run: string) => boolean,
): readonly RosterRange[] {
  const kept = current.filter(({ host, run }) => !hosts.has(host) && !gone(host, run));
  for (const host of hosts.values()) {
    if (host.state === "up" || host.state === "suspended") kept.push(...rangesOf(host, lane));
  }
  return kept.sort((a, b) => (a.host === b.host ? a.first - b.first : a.host < b.host ? -1 : 1));
}

/** Lanes that `host` offers. */
export function lanesOf(host: HostView): readonly LaneName[] {
  return host.groups.flatMap(({ pool, kinds }) => kinds.map((kind) => ({ pool, kind })));
}

/** The limits of `lane`; where hosts differ the smallest counts. */
export function limitsOf(lane: LaneName, hosts: Iterable<HostView>): KindLimits {
  let concurrency: number | undefined;
  let rate: KindLimits["rate"];
  for (const host of hosts) {
    for (const { pool, kinds, limits } of host.groups) {
      if (limits === undefined || pool !== lane.pool || !kinds.includes(lane.kind)) continue;
      if (limits.concurrency !== undefined)
        concurrency = Math.min(concurrency ?? limits.concurrency, limits.concurrency);
      if (limits.rate && (!rate || limits.rate.tasks * rate.perMs < rate.tasks * limits.rate.perMs)) rate = limits.rate;
    }
  }
  return { ...(concurrency !== undefined && { concurrency }), ...(rate && { rate }) };
}

function rangesOf(host: HostView, lane: LaneName): readonly RosterRange[] {
  return host.groups
    .filter(({ pool, kinds }) => pool === lane.pool && kinds.includes(lane.kind))
    .map(({ first, count, slots }) => ({ host: host.id, run: host.run, first, count, slots }));
}

/** Whether the two name the same agents in the same order. */
export function sameRoster(a: readonly RosterRange[], b: readonly RosterRange[]): boolean {
  return (
    a.length === b.length &&
    a.every((range, i) => {
      const other = b[i] as RosterRange;
      return (
        range.host === other.host &&
        range.run === other.run &&
        range.first === other.first &&
        range.count === other.count &&
        range.slots === other.slots
      );
    })
  );
}
