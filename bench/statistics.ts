/** Medians and spreads of samples. */
import type { Samples } from "./benchmark.ts";

/** NaN of nothing. */
export function median(values: Samples): number {
  return quantile(values, 0.5);
}

/** The value below which `share` of the samples lie, interpolated between neighbours. NaN of nothing. */
export function quantile(values: Samples, share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * share;
  const below = sorted[Math.floor(at)] ?? Number.NaN;
  const above = sorted[Math.ceil(at)] ?? Number.NaN;
  return below + (above - below) * (at - Math.floor(at));
}

/** Pair by pair, because neighbours on a shared machine change both sides of a pair alike. */
export function ratios(values: Samples, of: Samples): Samples {
  return values.map((value, i) => value / (of[i] ?? Number.NaN));
}

/** What was measured, by name and pair: not everything is measured in each. */
export class PairedSamples {
  readonly #byName = new Map<string, Map<number, number>>();

  note(name: string, pair: number, value: number): void {
    const samples = this.#byName.get(name) ?? new Map<number, number>();
    this.#byName.set(name, samples.set(pair, value));
  }

  /** Undefined if it was not measured in that pair. */
  at(name: string, pair: number): number | undefined {
    return this.#byName.get(name)?.get(pair);
  }

  of(name: string): Samples {
    return [...(this.#byName.get(name)?.values() ?? [])];
  }

  /** Of the pairs in which both were measured. */
  ratios(name: string, of: string): Samples {
    return [...(this.#byName.get(name) ?? [])].flatMap(([pair, value]) => {
      const other = this.at(of, pair);
      return other === undefined ? [] : [value / other];
    });
  }
}

/** `median (min - max)`, and `-` of nothing. */
export function spread(values: Samples, digits: number): string {
  if (values.length === 0) return "-";
  const format = { maximumFractionDigits: digits, minimumFractionDigits: digits };
  const show = (value: number): string => value.toLocaleString("en", format);
  if (values.length === 1) return show(values[0] as number);
  return `${show(median(values))} (${show(Math.min(...values))} - ${show(Math.max(...values))})`;
}
