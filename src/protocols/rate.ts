/**
 * A limit of tasks begun in any `perMs`, kept in the rotation record: exact, however many dispatchers draw. Pure.
 *
 * The time of the limit is cut into `PARTS` parts. What was begun in the current part and the `PARTS` before it is at most the
 * limit, so no window of `perMs` ever holds more, and all of it may begin at once after a rest.
 */
import { z } from "zod";
import type { KindLimits } from "./host-messages.ts";

export type RateLimit = NonNullable<KindLimits["rate"]>;

const PARTS = 20;

const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

/** `counts[i]` tasks began in part `last - i`, counted from the epoch, each `perMs / PARTS` long. */
export const rateRecord = z.object({ perMs: count.min(1), last: count, counts: z.array(count).max(PARTS + 1) });
export type RateRecord = z.infer<typeof rateRecord>;

/** Of what is recorded later than this, ms since the epoch, nothing counts: no clock says so, and its numbers are not exact. */
const FARTHEST_MS = 2 ** 48;

/** How many tasks may begin at `now` (ms since the epoch), and when more may, if it is none. */
export function allowance(
  limit: RateLimit,
  record: RateRecord | undefined,
  now: number,
): { tasks: number; at: number } {
  const { last, counts } = rolled(limit, record, now);
  const begun = counts.reduce((sum, each) => sum + each, 0);
  const oldest = counts.findLastIndex((each) => each > 0);
  // The part after which the oldest that counts is out of every window that ends there.
  const at = oldest < 0 ? now : ((last - oldest + PARTS + 1) * limit.perMs) / PARTS;
  return { tasks: Math.max(0, limit.tasks - begun), at };
}

/** The record after `tasks` more began at `now`. */
export function begin(limit: RateLimit, record: RateRecord | undefined, tasks: number, now: number): RateRecord {
  const { last, counts } = rolled(limit, record, now);
  const [first = 0, ...rest] = counts;
  return { perMs: limit.perMs, last, counts: [first + tasks, ...rest] };
}

/** When the newest part of the record began, ms since the epoch; undefined if there is none that counts. */
export function recordedAt(record: RateRecord | undefined): number | undefined {
  const at = record === undefined ? Number.POSITIVE_INFINITY : (record.last * record.perMs) / PARTS;
  return at < FARTHEST_MS ? at : undefined;
}

/** The record with the part of `now` in front, which is none before the newest one that is recorded. */
function rolled({ perMs }: RateLimit, record: RateRecord | undefined, now: number): Omit<RateRecord, "perMs"> {
  const part = Math.floor((now * PARTS) / perMs);
  if (record === undefined || recordedAt(record) === undefined) return { last: part, counts: [0] };
  const { last: newest, counts } = record.perMs === perMs ? record : converted(record, perMs, now);
  const last = Math.max(part, newest);
  const passed = Math.min(last - newest, PARTS + 1);
  return { last, counts: [...new Array<number>(passed).fill(0), ...counts].slice(0, PARTS + 1) };
}

/** In parts of another limit: whatever began in a part is taken to have begun at its end, or at `now` where it has not ended. */
function converted({ perMs: was, last, counts }: RateRecord, perMs: number, now: number): Omit<RateRecord, "perMs"> {
  const partOf = (at: number): number => Math.floor((at * PARTS) / perMs);
  const ends = counts.map((_, i) => {
    const from = ((last - i) * was) / PARTS;
    return partOf(Math.min(from + was / PARTS, Math.max(from, now)));
  });
  const newest = ends[0] ?? partOf(now);
  const into = new Array<number>(PARTS + 1).fill(0);
  for (const [i, count] of counts.entries()) {
    const age = newest - (ends[i] as number);
    if (age <= PARTS) into[age] = (into[age] as number) + count;
  }
  return { last: newest, counts: into };
}
