/**
 * All benchmarks, or those that are named: `npm run bench`. Reports go to stdout, progress to stderr. A target that is missed is
 * said, and is no failure: how fast a machine is today is no fault of the code. The exit code is 1 if a benchmark broke, 2 for
 * wrong usage, 130 and 143 on signals.
 */
import { statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { reasonOf } from "../scripts/lib/log.mjs";
import { allocation } from "./allocation.ts";
import { type Arguments, readArguments, UsageError, usage } from "./arguments.ts";
import type { Bench, Benchmark } from "./benchmark.ts";
import { cleanUpAtTheEnd, ROOM } from "./clean-up.ts";
import { contention } from "./contention.ts";
import { type Measured, machine, measured, type Results, versions } from "./document.ts";
import { latency } from "./latency.ts";
import { picture } from "./picture.ts";
import { power } from "./power.ts";
import { reportLines } from "./print.ts";
import { recovery } from "./recovery.ts";
import { scale } from "./scale.ts";
import { submit } from "./submit.ts";
import { throughput } from "./throughput.ts";

const BENCHMARKS: readonly Benchmark[] = [throughput, submit, latency, allocation, contention, scale, power, recovery];

/** Benchmarks side by side with `--quick`, where nobody looks at how fast they are; otherwise each has the machine for itself. */
const QUICK_AT_ONCE = 3;
/** With less a nats-server takes no messages any more. */
const LITTLE_ROOM = 512 * 2 ** 20;

const { chosen, json, quick, pairs, help } = argumentsOrEnd();
if (help) {
  console.log(usage(BENCHMARKS));
  process.exit(0);
}
cleanUpAtTheEnd();
const { processor, cores, memoryGiB } = machine();
console.error(`${cores} x ${processor}, ${memoryGiB} GiB, Node ${process.version}`);
const all: (Measured | undefined)[] = [];
const queue = chosen.entries();
await Promise.all(Array.from({ length: quick ? QUICK_AT_ONCE : 1 }, takeAll));
const done = all.filter((each) => each !== undefined);
const results: Results = {
  at: new Date().toISOString(),
  machine: machine(),
  versions: await versions(),
  quick,
  pairs,
  benchmarks: done,
};
const text = `${JSON.stringify(results, null, 1)}\n`;
const kept = quick || done.length < BENCHMARKS.length || keep();
if (json) await new Promise((written) => process.stdout.write(text, written));
process.exit(kept && done.length === chosen.length ? 0 : 1);

/** Whether all of it could be written. */
function keep(): boolean {
  try {
    writeFileSync(fileURLToPath(new URL("results.json", import.meta.url)), text);
    writeFileSync(fileURLToPath(new URL("results.svg", import.meta.url)), picture(results));
    console.error("written: bench/results.json, bench/results.svg");
    return true;
  } catch (error) {
    console.error(`the results could not be written into bench/: ${reasonOf(error)}`);
    return false;
  }
}

/** Runs what is left in the queue, one after the other. */
async function takeAll(): Promise<void> {
  for (const [i, benchmark] of queue) all[i] = await run(benchmark);
}

/** Undefined of one that broke. */
async function run(benchmark: Benchmark): Promise<Measured | undefined> {
  const { name } = benchmark;
  const bench: Bench = { quick, pairs, log: (line) => console.error(`${name}: ${line}`) };
  const started = performance.now();
  try {
    const report = await benchmark.run(bench);
    if (!json) for (const line of reportLines(name, report, bench)) console.log(line);
    return measured(benchmark, report, (performance.now() - started) / 1_000, bench);
  } catch (error) {
    bench.log(`broke: ${error instanceof Error ? error.stack : error}`);
    if (freeBytes() < LITTLE_ROOM) bench.log(`the disk of ${tmpdir()} is full or nearly so. ${ROOM}`);
    return undefined;
  }
}

/** Of the disk where everything is written. */
function freeBytes(): number {
  const { bavail, bsize } = statfsSync(tmpdir());
  return bavail * bsize;
}

function argumentsOrEnd(): Arguments {
  try {
    return readArguments(process.argv.slice(2), BENCHMARKS);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`${error.message}\n${usage(BENCHMARKS)}`);
    return process.exit(2);
  }
}
