/** What `npm run bench` is asked for. */
import { parseArgs } from "node:util";
import type { Benchmark } from "./benchmark.ts";

export interface Arguments {
  readonly chosen: readonly Benchmark[];
  readonly json: boolean;
  readonly quick: boolean;
  readonly pairs: number;
  readonly help: boolean;
}

/** Why it cannot be done; for the user, with the usage. */
export class UsageError extends Error {}

export function usage(all: readonly Benchmark[]): string {
  return `usage: npm run bench -- [NAME...] [--pairs N] [--json] [--quick]
  --pairs N     how often each side is measured, 1 to 100 (default 9)
  --json        one JSON document with machine, versions, every sample and the targets, in place of the tables
  --quick       only shows that they work: small counts, nothing is judged, nothing is installed to compare with
All of them together (without --quick) write bench/results.json and bench/results.svg.
benchmarks:
${all.map(({ name, measures }) => `  ${name.padEnd(13)} ${measures}`).join("\n")}`;
}

/** @throws UsageError */
export function readArguments(args: readonly string[], all: readonly Benchmark[]): Arguments {
  const { values, positionals } = parsed(args);
  const unknown = positionals.find((name) => !all.some((benchmark) => benchmark.name === name));
  if (unknown !== undefined) throw new UsageError(`there is no benchmark named ${JSON.stringify(unknown)}`);
  const pairs = Number(values.pairs);
  if (!/^\d+$/.test(values.pairs) || pairs < 1 || pairs > 100)
    throw new UsageError(`--pairs must be an integer from 1 to 100, got ${values.pairs}`);
  return {
    chosen: all.filter(({ name }) => positionals.length === 0 || positionals.includes(name)),
    json: values.json,
    quick: values.quick,
    pairs: values.quick ? 1 : pairs,
    help: values.help,
  };
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        help: { type: "boolean", short: "h", default: false },
        json: { type: "boolean", default: false },
        pairs: { type: "string", default: "9" },
        quick: { type: "boolean", default: false },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}
