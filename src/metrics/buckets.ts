/**
 * A histogram of seconds with fixed buckets. Observing is a short walk and two additions: nothing is allocated, so that the hot
 * path can afford it for every task.
 */

/** Upper bounds, s: from what an idle swarm takes to the hour after which nobody cares for the difference. */
export const SECONDS_BUCKETS: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800, 3_600,
];

export class Buckets {
  /** Observations in each bucket alone; the last is beyond all bounds. */
  readonly counts = new Float64Array(SECONDS_BUCKETS.length + 1);
  /** Of all observations, s. */
  sum = 0;

  /** Clocks of two machines can make a time negative: it counts as none. */
  observeMs(ms: number): void {
    const seconds = ms > 0 ? ms / 1_000 : 0;
    let bucket = 0;
    while (bucket < SECONDS_BUCKETS.length && seconds > (SECONDS_BUCKETS[bucket] as number)) bucket++;
    this.counts[bucket] = (this.counts[bucket] as number) + 1;
    this.sum += seconds;
  }

  get count(): number {
    return this.counts.reduce((sum, each) => sum + each, 0);
  }
}
