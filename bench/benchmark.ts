/** What a benchmark is, and what it tells. */

/** How a benchmark is run. */
export interface Bench {
  /** Counts so small that it only shows that the benchmark works: one pair, no target is judged. */
  readonly quick: boolean;
  /** How often each side of a comparison is measured, in turn with the others. */
  readonly pairs: number;
  /** A line of progress. */
  log(line: string): void;
}

export interface Benchmark {
  readonly name: string;
  /** What it measures, and against what, in one line. */
  readonly measures: string;
  run(bench: Bench): Promise<Report>;
}

/** One number for each pair, in the order of the pairs. */
export type Samples = readonly number[];

/** A cell: samples are shown as `median (min - max)`, rounded to the digits of their column; no sample is shown as `-`. */
export type Cell = string | Samples;

export interface Column {
  readonly title: string;
  /** Digits after the point. Default 0. */
  readonly digits?: number;
}

export interface Table {
  readonly title: string;
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly Cell[])[];
}

/** Something to be reached; the median of `samples` is judged. */
export interface Target {
  readonly what: string;
  /** Of `samples` and of the bound, such as `of the floor`, `us`, `tasks/s`. */
  readonly unit: string;
  readonly samples: Samples;
  readonly digits?: number;
  readonly bound: { readonly atLeast: number } | { readonly atMost: number };
}

/** A bar of the picture: the median of the samples, with their spread. */
export interface Bar {
  readonly label: string;
  readonly samples: Samples;
  readonly of: "vgas" | "floor" | "rival";
}

/** The main result of a benchmark, for the picture. */
export interface Chart {
  readonly title: string;
  /** Unit and direction, such as `tasks/s, more is better`. */
  readonly unit: string;
  /** Digits after the point. Default 0. */
  readonly digits?: number;
  /** Those without samples are left out. */
  readonly bars: readonly Bar[];
}

export interface Report {
  readonly tables: readonly Table[];
  /** Default: none. */
  readonly charts?: readonly Chart[];
  readonly targets: readonly Target[];
  /** What a reader must know to understand the figures. */
  readonly notes: readonly string[];
  /** What could not be compared, and why. */
  readonly notCompared: readonly string[];
}
