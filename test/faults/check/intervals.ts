/** Stretches of time, and how many of them overlap another one. */
export interface Interval {
  readonly from: number;
  readonly to: number;
}

export class Intervals {
  readonly #from: Float64Array;
  readonly #to: Float64Array;
  /** `#weights[i]`: sum of the weights of the first i, by their beginning and by their end. */
  readonly #byFrom: Float64Array;
  readonly #byTo: Float64Array;

  /** `weight`: how much one counts; one by default. */
  constructor(all: readonly Interval[], weight: (interval: Interval) => number = () => 1) {
    const byFrom = all.toSorted((a, b) => a.from - b.from);
    const byTo = all.toSorted((a, b) => a.to - b.to);
    this.#from = Float64Array.from(byFrom, ({ from }) => from);
    this.#to = Float64Array.from(byTo, ({ to }) => to);
    this.#byFrom = sums(byFrom.map(weight));
    this.#byTo = sums(byTo.map(weight));
  }

  /** Sum of the weights of those that overlap `from` to `to`. */
  overlapping(from: number, to: number): number {
    const begun = this.#byFrom[above(this.#from, to)] as number;
    return begun - (this.#byTo[below(this.#to, from)] as number);
  }
}

function sums(weights: readonly number[]): Float64Array {
  const all = new Float64Array(weights.length + 1);
  for (const [i, weight] of weights.entries()) all[i + 1] = (all[i] as number) + weight;
  return all;
}

/** How many of the sorted `values` are below `limit`. */
function below(values: ArrayLike<number>, limit: number): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((values[middle] as number) < limit) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** How many of the sorted `values` are at most `limit`. */
export function above(values: ArrayLike<number>, limit: number): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((values[middle] as number) <= limit) low = middle + 1;
    else high = middle;
  }
  return low;
}
