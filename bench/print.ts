/** A report as text: tables, what was to be reached and was or was not, notes. */
import type { Bench, Cell, Column, Report, Table, Target } from "./benchmark.ts";
import { median, spread } from "./statistics.ts";

export function reportLines(title: string, { tables, targets, notes, notCompared }: Report, bench: Bench): string[] {
  const judged = bench.quick ? [] : targets;
  return [
    `## ${title}`,
    "",
    ...tables.flatMap(tableLines),
    ...judged.map((target) => `- ${targetLine(target)}`),
    ...notes.map((note) => `- ${note}`),
    ...notCompared.map((reason) => `- not compared: ${reason}`),
    "",
  ];
}

/** Whether the median is within the bound. */
export function isReached({ samples, bound }: Target): boolean {
  const value = median(samples);
  return "atLeast" in bound ? value >= bound.atLeast : value <= bound.atMost;
}

export function targetLine(target: Target): string {
  const { what, unit, samples, digits = 2, bound } = target;
  const wanted = "atLeast" in bound ? `at least ${bound.atLeast}` : `at most ${bound.atMost}`;
  return `${isReached(target) ? "reached" : "NOT REACHED"}: ${what} ${spread(samples, digits)} ${unit}; wanted: ${wanted}`;
}

/** Markdown whose columns stand below each other. */
function tableLines({ title, columns, rows }: Table): string[] {
  const cells = [
    columns.map((column) => column.title),
    ...rows.map((row) => row.map((cell, i) => text(cell, columns[i]))),
  ];
  const widths = columns.map((_, i) => Math.max(...cells.map((row) => row[i]?.length ?? 0)));
  const [head = "", ...lines] = cells.map(
    (row) => `| ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(" | ")} |`,
  );
  return [title, "", head, `|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`, ...lines, ""];
}

function text(cell: Cell, column: Column | undefined): string {
  return typeof cell === "string" ? cell : spread(cell, column?.digits ?? 0);
}
