/** The rosters that the decision is measured on. */

/** `full`: which of the agents have no free slot. */
export const FULL = ["none", "every second", "all but one"] as const;
export type Full = (typeof FULL)[number];

export interface Roster {
  readonly agents: number;
  /** Hosts that they are spread over, a range of the roster each. */
  readonly hosts: number;
  readonly full: Full;
  /** Tasks placed by one draw. */
  readonly batch: number;
}

export const BATCHES: readonly number[] = [1, 100];
export const SIZES: readonly number[] = [16, 1_000, 10_000];
/** The largest roster, as one range and as many. */
const SHAPES = [
  { agents: 16, hosts: 1 },
  { agents: 1_000, hosts: 1 },
  { agents: 10_000, hosts: 1 },
  { agents: 10_000, hosts: 1_000 },
] as const;

export const ROSTERS: readonly Roster[] = SHAPES.flatMap((shape) =>
  FULL.flatMap((full) => BATCHES.map((batch) => ({ ...shape, full, batch }))),
);

/** Of a larger batch fewer: each is the mean of its tasks. */
export function samplesOf(batch: number, draws: number): number {
  return batch === 1 ? draws : draws / 5;
}
