/** What a soak came to, as the table of docs/reliability.md. */
import type { Violation } from "../faults/history.ts";
import { mebibytes, type Watched } from "./criteria.ts";

export interface Outcome {
  readonly seed: string;
  readonly minutes: number;
  readonly accepted: number;
  /** Results that came to the client that waited for them. */
  readonly told: number;
  readonly results: number;
  /** Of ids that no client was told: submissions that were stored once more, because their acknowledgement was lost. */
  readonly copies: number;
  readonly statuses: Readonly<Record<string, number>>;
  readonly dead: number;
  /** Dead letters of tasks that did not fail. */
  readonly strays: number;
  readonly waiting: number;
  /** Of all lanes: tickets drawn as the rotation has it, and swaps that drew them. */
  readonly tickets: number;
  readonly swaps: number;
  /** Attempts that began: more than tasks where some were begun again. */
  readonly began: number;
  readonly strikes: ReadonlyMap<string, number>;
  /** What strikes said that came to nothing; they are not counted as strikes. */
  readonly missed: readonly string[];
  readonly reached: readonly (readonly [string, number])[];
  readonly watched: readonly Watched[];
  readonly peak: (name: string) => number;
  readonly violations: readonly Violation[];
  /** Everything else that is wrong. */
  readonly errors: readonly string[];
}

const MOST_SHOWN = 20;

export function report(outcome: Outcome): string {
  const { strikes, reached, watched, violations, errors } = outcome;
  const struck = [...strikes.values()].reduce((sum, each) => sum + each, 0);
  return [
    ...table(["what", "count"], facts(outcome, struck)),
    "",
    ...table(
      ["fault", "strikes"],
      [...strikes].map(([name, times]) => [name, number(times)]),
    ),
    "",
    ...table(
      ["reached", "times"],
      reached.filter(([, times]) => times > 0).map(([name, times]) => [name, number(times)]),
    ),
    "",
    ...table(
      ["process", "lives", "heap", "buffers", "sockets", "files", "threads", "timers", "memory, most"],
      watched.map((each) => memberRow(each, outcome.peak(each.name))),
    ),
    "",
    ...shown(
      "violation",
      violations.map(({ promise, what }) => `${promise}: ${what}`),
    ),
    ...shown("error", errors),
    ...shown("came to nothing", outcome.missed),
    "",
  ].join("\n");
}

function facts(outcome: Outcome, struck: number): string[][] {
  const { statuses, accepted, told, results, copies, dead, strays, tickets, swaps, began, waiting } = outcome;
  const ends = Object.entries(statuses).map(([status, count]) => `${number(count)} ${status}`);
  return [
    ["seed", outcome.seed],
    ["minutes under faults", number(outcome.minutes)],
    ["tasks accepted", number(accepted)],
    ["results stored", `${number(results)} (${ends.join(", ")})`],
    ["of them of accepted tasks", number(results - copies)],
    ["results that the load got", number(told)],
    ["left in the queue", number(waiting)],
    ["dead letters", `${number(dead)}, of tasks that did not fail: ${number(strays)}`],
    ["attempts begun", number(began)],
    ["tickets drawn", `${number(tickets)} in ${number(swaps)} swaps`],
    ["strikes", `${number(struck)}, and ${number(outcome.missed.length)} that came to nothing`],
    ["violations", number(outcome.violations.length)],
    ["other errors", number(outcome.errors.length)],
  ];
}

/** Both moments: when it was warm, and at the end. */
function memberRow({ name, lives, warm, end }: Watched, peak: number): string[] {
  const both = (show: (n: number) => string, before?: number, after?: number): string =>
    before === undefined || after === undefined ? "" : `${show(before)} → ${show(after)}`;
  return [
    name,
    number(lives),
    both(mebibytes, warm.heap, end.heap),
    both(mebibytes, warm.external, end.external),
    both(number, warm.sockets, end.sockets),
    both(number, warm.files, end.files),
    both(number, warm.threads, end.threads),
    both(number, warm.timers, end.timers),
    mebibytes(peak),
  ];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)];
}

function shown(what: string, all: readonly string[]): string[] {
  const lines = all.slice(0, MOST_SHOWN).map((each) => `${what}: ${each}`);
  if (all.length > MOST_SHOWN) lines.push(`and ${all.length - MOST_SHOWN} more`);
  return lines;
}

/** With spaces between thousands. */
function number(n: number): string {
  return String(Math.round(n * 10) / 10).replace(/\B(?=(\d{3})+(?!\d))/g, " ");
}
