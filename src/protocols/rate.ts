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

/** The record with the current part in front. The time of a dispatcher whose clock is behind stands still meanwhile. */
function rolled({ perMs }: RateLimit, record: RateRecord | undefined, now: number): Omit<RateRecord, "perMs"> {
  const part = Math.floor((now * PARTS) / perMs);
  if (record === undefined) return { last: part, counts: [0] };
  if (record.perMs !== perMs) {
    // The limit is another now: what counted begins to count anew, since its parts are of another length.
    return { last: part, counts: [record.counts.reduce((sum, each) => sum + each, 0)] };
  }
  const last = Math.max(part, record.last);
  const passed = Math.min(last - record.last, PARTS + 1);
  return { last, counts: [...new Array<number>(passed).fill(0), ...record.counts].slice(0, PARTS + 1) };
}
