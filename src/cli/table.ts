/** Columns for people. */
import { printable, type Style } from "./style.ts";

export interface Column {
  readonly title: string;
  /** Numbers to the right. Default: left. */
  readonly align?: "left" | "right";
  /** Where lines are too long for the width, columns are left out, the highest number first. Default: never. */
  readonly leaveOut?: number;
  /** If that is not enough, texts are shortened in the middle. Default: never. */
  readonly shorten?: boolean;
  /** At least so wide, so that a table that is drawn again and again does not jump. Default: 0. */
  readonly min?: number;
}

const GAP = "  ";

/** Characters that a shortened text keeps. */
const SHORTENED = 8;

/**
 * A table with its heading. Where a `width` is given, columns are left out and shortened as they allow it, and lines are cut if that
 * is not enough.
 */
export function renderTable(
  columns: readonly Column[],
  rows: readonly (readonly (number | string)[])[],
  { style, width }: { readonly style: Style; readonly width?: number | undefined },
): string {
  const drawn = fitting(
    columns.map((column, i) => {
      const texts = rows.map((row) => cell(row[i]));
      return { ...column, texts, width: Math.max(column.min ?? 0, widest([column.title, ...texts])) };
    }),
    width,
  );
  const line = (textOf: (column: DrawnColumn) => string): string =>
    cut(
      drawn
        .map((column) => {
          const text = shortened(textOf(column), column.width);
          return column.align === "right" ? text.padStart(column.width) : text.padEnd(column.width);
        })
        .join(GAP)
        .trimEnd(),
      width,
    );
  return [style.dim(line(({ title }) => title)), ...rows.map((_, row) => line(({ texts }) => texts[row] ?? ""))].join(
    "\n",
  );
}

interface DrawnColumn extends Column {
  readonly texts: readonly string[];
  readonly width: number;
}

/** What of `columns` is drawn within `width`, and how wide. */
function fitting(columns: readonly DrawnColumn[], width: number | undefined): readonly DrawnColumn[] {
  if (width === undefined) return columns;
  let kept = columns;
  const excess = (): number => kept.reduce((sum, column) => sum + column.width + GAP.length, -GAP.length) - width;
  while (excess() > 0) {
    const last = Math.max(...kept.map(({ leaveOut = 0 }) => leaveOut));
    if (last === 0) break;
    kept = kept.filter(({ leaveOut = 0 }) => leaveOut !== last);
  }
  while (excess() > 0) {
    const most = Math.max(...kept.map((column) => (column.shorten ? column.width : 0)));
    if (most <= SHORTENED) break;
    const at = kept.findIndex((column) => column.shorten && column.width === most);
    kept = kept.map((column, i) => (i === at ? { ...column, width: most - 1 } : column));
  }
  return kept;
}

/** `text` within `width` characters; its beginning and its end tell more than what is left out between them. */
function shortened(text: string, width: number): string {
  if (text.length <= width) return text;
  const before = Math.ceil((width - 1) / 2);
  return `${text.slice(0, before)}…${text.slice(text.length - (width - 1 - before))}`;
}

function widest(texts: readonly string[]): number {
  return Math.max(...texts.map(({ length }) => length));
}

/** `text` in lines of at most `width` characters, but for longer words; never broken inside a number or a time. */
export function wrap(text: string, width: number | undefined): readonly string[] {
  if (width === undefined) return [text];
  const lines: string[] = [];
  for (const word of text.split(/(?<!\d) | (?!\d)/)) {
    const line = lines.at(-1);
    if (line !== undefined && line.length + 1 + word.length <= width) lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** `text` within `width` characters, with a mark where something is left out. */
export function cut(text: string, width: number | undefined): string {
  return width === undefined || text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
}

/** `12 345` for people. */
export function count(value: number): string {
  return value.toString().replace(/\B(?=(\d{3})+$)/g, " ");
}

/** "1 task", "2 tasks". */
export function plural(value: number, noun: string): string {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}

/** `850 ms`, `12 s`, `3 m 20 s`, `5 h 10 m`, `2 d 3 h`. */
export function age(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`;
  const seconds = Math.floor(ms / 1_000);
  const parts: readonly [number, string][] = [
    [Math.floor(seconds / 86_400), "d"],
    [Math.floor(seconds / 3_600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "m"],
    [seconds % 60, "s"],
  ];
  const first = parts.findIndex(([value]) => value > 0);
  return parts
    .slice(first, first + 2)
    .filter(([value], i) => i === 0 || value > 0)
    .map(([value, unit]) => `${value} ${unit}`)
    .join(" ");
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"] as const;

export function bytes(value: number): string {
  let unit = 0;
  let rest = value;
  while (rest >= 1024 && unit < UNITS.length - 1) {
    rest /= 1024;
    unit++;
  }
  return `${unit === 0 || rest >= 100 ? Math.round(rest) : rest.toFixed(1)} ${UNITS[unit]}`;
}

function cell(value: number | string | undefined): string {
  return typeof value === "number" ? count(value) : printable(value ?? "");
}
