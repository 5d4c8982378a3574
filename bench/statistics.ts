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

/** `median (min - max)`, and `-` of nothing. */
export function spread(values: Samples, digits: number): string {
  if (values.length === 0) return "-";
  const format = { maximumFractionDigits: digits, minimumFractionDigits: digits };
  const show = (value: number): string => value.toLocaleString("en", format);
  if (values.length === 1) return show(values[0] as number);
  return `${show(median(values))} (${show(Math.min(...values))} - ${show(Math.max(...values))})`;
}
