/**
 * P6: a living host that nothing disturbs is not put out of the rotation; one that a task keeps busy not before that task's deadline.
 * P7: least of all by a monitor that was itself stalled or cut off.
 */
import type { Disturbance, Disturbances } from "./disturbances.ts";
import { above } from "./intervals.ts";
import type { Record } from "./record.ts";
import type { Report } from "./report.ts";

/** Heartbeats of a host after which what disturbed it before is no reason any more: the three that it may miss, and one for phase. */
export const FORGOTTEN_BEATS = 4;

export function checkEvictions(record: Record, disturbances: Disturbances, report: Report): void {
  for (const { process: monitor, host, why, at } of record.evictions) {
    const process = record.processes.get(host);
    const beats = record.beats.get(host) ?? [];
    const since = beatBefore(beats, at, FORGOTTEN_BEATS);
    // It was hardly heard.
    if (process === undefined || since === undefined) continue;
    const own = disturbances.of(monitor, since, at);
    // What a monitor knows can be as old as what kept it from knowing better.
    const from = own.reduce(
      (least, each) => Math.min(least, beatBefore(beats, each.from, FORGOTTEN_BEATS) ?? 0),
      since,
    );
    const reasons = disturbances.of(process, from, at).filter((each) => !isBusy(each, at));
    if (reasons.length > 0 || disturbances.between(from, at)) continue;
    const what = `${monitor} put out ${host} at ${at}: ${why}`;
    if (own.length > 0) report.add("P7", "a monitor that was disturbed evicts nobody", what);
    else report.add("P6", "a living host is not evicted", what);
  }
}

function isBusy({ busyUntil }: Disturbance, at: number): boolean {
  return busyUntil !== undefined && at < busyUntil;
}

/** The `n`-th last of `beats` up to `at`. */
export function beatBefore(beats: readonly number[], at: number, n: number): number | undefined {
  return beats[above(beats, at) - n];
}

/** The `n`-th of `beats` after `at`. */
export function beatAfter(beats: readonly number[], at: number, n: number): number | undefined {
  return beats[above(beats, at) + n - 1];
}
