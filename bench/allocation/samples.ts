/** What the workers of `allocation` tell. */

/** Of the tasks or samples of one run. */
export interface Quantiles {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
}

/** How the tasks of one run came from the pull to their agents; microseconds. */
export interface HandOver {
  /** From the moment a task was pulled until the agent's host had taken it. */
  readonly waited: Quantiles;
  /** Each task's share of the time of the swap that drew its ticket. */
  readonly share: Quantiles;
  /** The swap itself. */
  readonly swap: Quantiles;
  readonly tasksPerSwap: number;
}

export function quantilesOf(samples: ArrayLike<number>): Quantiles {
  const sorted = Float64Array.from(samples).sort();
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] as number;
  return { p50: at(0.5), p99: at(0.99), p999: at(0.999) };
}
