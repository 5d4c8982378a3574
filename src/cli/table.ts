/** Columns for people. */
import { printable, type Style } from "./style.ts";

export interface Column {
  readonly title: string;
  /** Numbers to the right. Default: left. */
  readonly align?: "left" | "right";
}

const GAP = "  ";

/** A table with its heading. Lines are cut to `width` where one is given; only what is behind the last column is lost. */
export function renderTable(
  columns: readonly Column[],
  rows: readonly (readonly (number | string)[])[],
  { style, width }: { readonly style: Style; readonly width?: number | undefined },
): string {
  const cells = rows.map((row) => columns.map((_, i) => cell(row[i])));
  const widths = columns.map(({ title }, i) => Math.max(title.length, ...cells.map((row) => row[i]?.length ?? 0)));
  const line = (texts: readonly string[]): string =>
    cut(
      columns
        .map(({ align }, i) => {
          const text = texts[i] ?? "";
          return align === "right" ? text.padStart(widths[i] ?? 0) : text.padEnd(widths[i] ?? 0);
        })
        .join(GAP)
        .trimEnd(),
      width,
    );
  return [style.dim(line(columns.map(({ title }) => title))), ...cells.map(line)].join("\n");
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
