/** What a run of courses came to, as lines. */
import { FAILPOINTS } from "../../src/failpoints/failpoints.ts";
import type { Row } from "./course.ts";

const MOST_SHOWN = 20;

/** One course, as it ends. */
export function rowLines(row: Row): readonly string[] {
  const { name, kind, strikes, accepted, results, violations, errors, seconds, seed, dir } = row;
  const verdict = isRed(row) ? "RED" : "ok ";
  const line = [
    `${verdict} ${name.padEnd(32)} ${kind.padEnd(10)} ${String(strikes).padStart(3)} strikes`,
    `${String(accepted).padStart(6)} accepted ${String(results).padStart(6)} results`,
    `${violations.length} violations  ${seconds.toFixed(0).padStart(4)} s`,
  ].join("  ");
  if (!isRed(row)) return [line];
  const shown = violations.slice(0, MOST_SHOWN).map(({ promise, what }) => `    ${promise}: ${what}`);
  if (violations.length > MOST_SHOWN) shown.push(`    and ${violations.length - MOST_SHOWN} more`);
  return [line, ...shown, ...errors.map((error) => `    ${error}`), `    seed ${seed}, kept in ${dir}`];
}

export function isRed({ violations, errors }: Row): boolean {
  return violations.length > 0 || errors.length > 0;
}

/** All courses together: strikes by fault, and how often each place was passed. */
export function tableLines(rows: readonly Row[]): readonly string[] {
  const total = (of: (row: Row) => number): number => rows.reduce((sum, row) => sum + of(row), 0);
  const lines = [
    "",
    `${"fault".padEnd(32)} ${"world".padEnd(10)} ${"strikes".padStart(7)} ${"accepted".padStart(9)} ${"violations".padStart(10)}`,
    ...rows.map(
      ({ name, kind, strikes, accepted, violations }) =>
        `${name.padEnd(32)} ${kind.padEnd(10)} ${String(strikes).padStart(7)} ${String(accepted).padStart(9)} ${String(violations.length).padStart(10)}`,
    ),
    `${"all".padEnd(43)} ${String(total(({ strikes }) => strikes)).padStart(7)} ${String(total(({ accepted }) => accepted)).padStart(9)} ${String(total(({ violations }) => violations.length)).padStart(10)}`,
    "",
    `${"reached".padEnd(32)} ${"times".padStart(10)}  courses`,
  ];
  for (const place of FAILPOINTS) {
    const times = total(({ reached }) => reached.get(place) ?? 0);
    const courses = rows.filter(({ reached }) => (reached.get(place) ?? 0) > 0).length;
    lines.push(`${place.padEnd(32)} ${String(times).padStart(10)}  ${String(courses).padStart(7)}`);
  }
  return lines;
}
