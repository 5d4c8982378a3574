/**
 * All benchmarks, or those that are named: `npm run bench`. Reports go to stdout, progress to stderr. A target that is missed is
 * said, and is no failure: how fast a machine is today is no fault of the code. The exit code is 1 if a benchmark broke, 2 for
 * wrong usage, 130 and 143 on signals.
 */
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { allocation } from "./allocation.ts";
import { type Arguments, readArguments, UsageError, usage } from "./arguments.ts";
import type { Bench, Benchmark } from "./benchmark.ts";
import { contention } from "./contention.ts";
import { type Measured, machine, measured, type Results, versions } from "./document.ts";
import { latency } from "./latency.ts";
import { picture } from "./picture.ts";
import { power } from "./power.ts";
import { reportLines } from "./print.ts";
import { recovery } from "./recovery.ts";
import { scale } from "./scale.ts";
import { cleanUpAtTheEnd } from "./scratch.ts";
import { submit } from "./submit.ts";
import { throughput } from "./throughput.ts";

const BENCHMARKS: readonly Benchmark[] = [throughput, submit, latency, allocation, contention, scale, power, recovery];

const { chosen, json, quick, pairs } = argumentsOrEnd();
const bench: Bench = { quick, pairs, log: (line) => console.error(line) };
cleanUpAtTheEnd();
const { processor, cores, memoryGiB } = machine();
bench.log(`${cores} x ${processor}, ${memoryGiB} GiB, Node ${process.version}`);
const done: Measured[] = [];
for (const benchmark of chosen) {
  const started = performance.now();
  try {
    const report = await benchmark.run(bench);
    done.push(measured(benchmark, report, (performance.now() - started) / 1_000, bench));
    if (!json) for (const line of reportLines(benchmark.name, report, bench)) console.log(line);
  } catch (error) {
    bench.log(`${benchmark.name} broke: ${error instanceof Error ? error.stack : error}`);
  }
}
const results: Results = {
  at: new Date().toISOString(),
  machine: machine(),
  versions: await versions(),
  quick,
  pairs,
  benchmarks: done,
};
const text = `${JSON.stringify(results, null, 1)}\n`;
if (json) await new Promise((written) => process.stdout.write(text, written));
if (!quick && done.length === BENCHMARKS.length) {
  writeFileSync(fileURLToPath(new URL("results.json", import.meta.url)), text);
  writeFileSync(fileURLToPath(new URL("results.svg", import.meta.url)), picture(results));
  bench.log("written: bench/results.json, bench/results.svg");
}
process.exit(done.length === chosen.length ? 0 : 1);

function argumentsOrEnd(): Arguments {
  try {
    return readArguments(process.argv.slice(2), BENCHMARKS);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`${error.message}\n${usage(BENCHMARKS)}`);
    return process.exit(2);
  }
}
