/** The results of a run as one JSON document: where and with what it was measured, every sample, what was to be reached. */
import { cpus, totalmem } from "node:os";
import { locateNatsServer } from "../src/bus/nats-server/locate.ts";
import { packageVersion } from "../src/version.ts";
import type { Bench, Benchmark, Chart, Report, Table, Target } from "./benchmark.ts";
import { isReached } from "./print.ts";
import { installedVersion } from "./rivals/bullmq-package.ts";
import { findRedis } from "./rivals/redis.ts";
import { median } from "./statistics.ts";

export interface Machine {
  readonly processor: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly platform: string;
}

/** Of what took part; a rival that is not there is left out. */
export type Versions = Readonly<Record<string, string>>;

export interface JudgedTarget extends Target {
  readonly median: number;
  /** Null where nothing is judged: after `--quick`. */
  readonly reached: boolean | null;
}

export interface Measured {
  readonly name: string;
  readonly measures: string;
  readonly seconds: number;
  readonly tables: readonly Table[];
  readonly charts: readonly Chart[];
  readonly targets: readonly JudgedTarget[];
  readonly notes: readonly string[];
  readonly notCompared: readonly string[];
}

export interface Results {
  /** ISO 8601. */
  readonly at: string;
  readonly machine: Machine;
  readonly versions: Versions;
  readonly quick: boolean;
  readonly pairs: number;
  readonly benchmarks: readonly Measured[];
}

export function machine(): Machine {
  return {
    processor: cpus()[0]?.model.trim() ?? "unknown processor",
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    platform: `${process.platform} ${process.arch}`,
  };
}

/** To be asked when the benchmarks are done: they bring what is missing. */
export async function versions(): Promise<Versions> {
  const all: Readonly<Record<string, string | undefined>> = {
    vgas: packageVersion(),
    node: process.version.slice(1),
    "nats-server": (await locateNatsServer()).version,
    bullmq: installedVersion(),
    "redis-server": findRedis()?.version,
  };
  return Object.fromEntries(Object.entries(all).flatMap(([name, version]) => (version ? [[name, version]] : [])));
}

export function measured({ name, measures }: Benchmark, report: Report, seconds: number, { quick }: Bench): Measured {
  const targets = report.targets.map((target) => ({
    ...target,
    median: median(target.samples),
    reached: quick ? null : isReached(target),
  }));
  return { name, measures, seconds, charts: [], ...report, targets };
}
