/** The shared rotation of a lane: its record and its roster, as they stand in the rotation bucket (contract section 1). */
import { z } from "zod";
import { rateRecord } from "./rate.ts";

const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

/** `index`: tickets drawn so far. `base`: index at which the roster of revision `roster` began. `by`, `nonce`: last writer. */
export const rotationRecord = z.object({
  v: z.literal(1),
  index: count,
  base: count,
  roster: count,
  by: z.string(),
  nonce: z.string(),
  /** What began lately; only where the kind has a rate limit. */
  rate: rateRecord.optional(),
});
export type RotationRecord = z.infer<typeof rotationRecord>;

/**
 * `count` agents of one host, numbered from `first`, each with `slots`. `run` names the host's incarnation: a host that
 * starts again begins to count its tickets anew, so it is another range.
 */
export const rosterRange = z.object({
  host: z.string(),
  run: z.string(),
  first: count,
  count: z.number().int().min(1).max(1_000_000),
  slots: z.number().int().min(1).max(1_000_000),
});
export type RosterRange = z.infer<typeof rosterRange>;

/** The agents of a lane in the order of their turns. */
export const roster = z.object({ v: z.literal(1), ranges: z.array(rosterRange).max(100_000) });
export type Roster = z.infer<typeof roster>;

/** Agents in a roster. */
export function rosterSize(ranges: readonly RosterRange[]): number {
  let size = 0;
  for (const range of ranges) size += range.count;
  return size;
}

/** Place in the roster that ticket `ticket` falls to (P4). */
export function placeOf(ticket: number, base: number, size: number): number {
  return (ticket - base) % size;
}

/** Swarm-wide id of agent number `agent` of `host`. */
export function agentId(host: string, agent: number): string {
  return `${host}-${agent}`;
}

/** The agent at `place`, or undefined beyond the end. */
export function agentAt(ranges: readonly RosterRange[], place: number): { host: string; agent: number } | undefined {
  let rest = place;
  for (const range of ranges) {
    if (rest < range.count) return { host: range.host, agent: range.first + rest };
    rest -= range.count;
  }
  return undefined;
}
