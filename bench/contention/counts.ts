/** What one node counted of one lane, or several together. */
export interface Counts {
  readonly tickets: number;
  /** Tickets among them that carried no task. */
  readonly skipped: number;
  /** Swaps of the rotation record that were tried. */
  readonly swaps: number;
  /** Those among them that another dispatcher won. */
  readonly lost: number;
  /** Processor time of the process. */
  readonly cpuUs: number;
}

export function sum(counts: readonly Counts[]): Counts {
  return counts.reduce((all, each) => combine(all, each, 1), { tickets: 0, skipped: 0, swaps: 0, lost: 0, cpuUs: 0 });
}

export function since(now: Counts, before: Counts): Counts {
  return combine(now, before, -1);
}

function combine(a: Counts, b: Counts, sign: 1 | -1): Counts {
  return {
    tickets: a.tickets + sign * b.tickets,
    skipped: a.skipped + sign * b.skipped,
    swaps: a.swaps + sign * b.swaps,
    lost: a.lost + sign * b.lost,
    cpuUs: a.cpuUs + sign * b.cpuUs,
  };
}
