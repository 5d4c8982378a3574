/**
 * All benchmarks, or those that are named: `npm run bench`. Reports go to stdout, progress to stderr.
 *
 *   npm run bench -- [NAME...] [--pairs N] [--quick]
 */
import { cpus, totalmem } from "node:os";
import { parseArgs } from "node:util";
import type { Bench, Benchmark } from "./benchmark.ts";
import { reportLines } from "./print.ts";
import { recovery } from "./recovery.ts";
import { cleanUpAtTheEnd } from "./scratch.ts";
import { throughput } from "./throughput.ts";

const BENCHMARKS: readonly Benchmark[] = [throughput, recovery];
const USAGE = `usage: npm run bench -- [NAME...] [--pairs N] [--quick]
  --pairs       how often each side is measured, 1 to 100 (default 9)
  --quick       only shows that they work: small counts, nothing is judged
benchmarks:
${BENCHMARKS.map(({ name, measures }) => `  ${name.padEnd(13)} ${measures}`).join("\n")}`;

interface Settings {
  readonly chosen: readonly Benchmark[];
  readonly bench: Bench;
}

const { chosen, bench } = settingsOf(process.argv.slice(2));
cleanUpAtTheEnd();
bench.log(
  `${cpus().length} x ${cpus()[0]?.model ?? "unknown processor"}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`,
);
for (const benchmark of chosen) {
  const report = await benchmark.run(bench);
  for (const line of reportLines(benchmark.name, report, bench)) console.log(line);
}
process.exit(0);

function settingsOf(args: readonly string[]): Settings {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        pairs: { type: "string", default: "9" },
        quick: { type: "boolean", default: false },
      },
    });
    const unknown = positionals.find((name) => !BENCHMARKS.some((benchmark) => benchmark.name === name));
    if (unknown !== undefined) throw new Error(`there is no benchmark ${unknown}`);
    const pairs = Number(values.pairs);
    if (!/^\d+$/.test(values.pairs) || pairs < 1 || pairs > 100)
      throw new Error(`--pairs must be an integer from 1 to 100, got ${values.pairs}`);
    return {
      chosen: BENCHMARKS.filter(({ name }) => positionals.length === 0 || positionals.includes(name)),
      bench: { quick: values.quick, pairs: values.quick ? 1 : pairs, log: (line) => console.error(line) },
    };
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n${USAGE}`);
    process.exit(2);
  }
}
