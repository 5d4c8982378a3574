/**
 * P6: a living host that nothing disturbs is not put out of the rotation; one that a task keeps busy not before that task's deadline.
 * P7: least of all by a monitor that was itself stalled or cut off.
 *
 * On a machine that is too busy a host can be silent because it gets no time. That is so where the observer did not hear it either, nor
 * another host regularly.
 */
import type { Disturbance, Disturbances } from "./disturbances.ts";
import { above } from "./intervals.ts";
import type { Record } from "./record.ts";
import type { Report } from "./report.ts";

/** Heartbeats of a host after which what disturbed it before is no reason any more: the three that it may miss, and one for phase. */
export const FORGOTTEN_BEATS = 4;
/** Between two heartbeats of a host that is well, ms. */
export const REGULAR_MS = 1_500;
/** Silence that a monitor may take for death, ms; less what a heartbeat may take to the observer. */
const SILENT_MS = 2_500;

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
    if (disturbances.of(process, from, at).length === 0 && isStarved(record, host, at)) continue;
    const what = `${monitor} put out ${host} at ${at}: ${why}`;
    if (own.length > 0) report.add("P7", "a monitor that was disturbed evicts nobody", what);
    else report.add("P6", "a living host is not evicted", what);
  }
}

function isBusy({ busyUntil }: Disturbance, at: number): boolean {
  return busyUntil !== undefined && at < busyUntil;
}

function isStarved({ beats }: Record, host: string, at: number): boolean {
  const last = beatBefore(beats.get(host) ?? [], at, 1) ?? at;
  if (at - last < SILENT_MS) return false;
  for (const [other, all] of beats) {
    if (other === host) continue;
    const first = Math.max(0, above(all, last) - 1);
    for (let i = first; i < all.length && (all[i] as number) <= at; i++) {
      if (Math.min(all[i + 1] ?? at, at) - (all[i] as number) > REGULAR_MS) return true;
    }
  }
  return false;
}

/** The `n`-th last of `beats` up to `at`. */
export function beatBefore(beats: readonly number[], at: number, n: number): number | undefined {
  return beats[above(beats, at) - n];
}

/** The `n`-th of `beats` after `at`. */
export function beatAfter(beats: readonly number[], at: number, n: number): number | undefined {
  return beats[above(beats, at) + n - 1];
}
