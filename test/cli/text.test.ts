/** What people see: tables, progress, numbers, times, and nothing that others could smuggle onto a terminal. */
import { InvalidArgumentError } from "commander";
import { expect, test } from "vitest";
import { duration, integer } from "../../src/cli/options.ts";
import { progressText } from "../../src/cli/run-progress.ts";
import { printable, Style } from "../../src/cli/style.ts";
import { bytes, count, plural, renderTable, wrap } from "../../src/cli/table.ts";

const style = new Style(false);
const columns = [{ title: "NAME" }, { title: "TASKS", align: "right" as const }];

test("a table aligns its columns, and cuts lines to the width", () => {
  const rows = [
    ["a", 1],
    ["much longer", 1_234_567],
  ] as const;
  expect(renderTable(columns, rows, { style }).split("\n")).toEqual([
    "NAME             TASKS",
    "a                    1",
    "much longer  1 234 567",
  ]);
  expect(renderTable(columns, rows, { style, width: 14 }).split("\n")[2]).toBe("much longer  …");
});

test("columns that may be left out are, in their order, before any other is shortened or a line is cut", () => {
  const wide = [
    { title: "KEY", shorten: true },
    { title: "FIRST", leaveOut: 2 },
    { title: "THEN", leaveOut: 1 },
    { title: "COST" },
  ];
  const rows = [["abcdefghijklmnop", "11111", "2222", "$1.234567"]];
  const at = (width: number): string => renderTable(wide, rows, { style, width }).split("\n")[1] ?? "";
  expect(at(40)).toBe("abcdefghijklmnop  11111  2222  $1.234567");
  expect(at(39)).toBe("abcdefghijklmnop  2222  $1.234567");
  expect(at(32)).toBe("abcdefghijklmnop  $1.234567");
  expect(at(20)).toBe("abcd…mnop  $1.234567");
  expect(at(15)).toBe("abcd…nop  $1.2…");
});

test("wrapping breaks no number and no time", () => {
  expect(wrap("12 of 1 000 calls, anew at 2026-11-22 21:05:06Z", 16)).toEqual([
    "12 of 1 000",
    "calls, anew at",
    "2026-11-22 21:05:06Z",
  ]);
  expect(wrap("a b", undefined)).toEqual(["a b"]);
});

test("control characters of others do not reach the terminal", () => {
  expect(printable("a\x1b[2Jb\r\nc\u202ed")).toBe("a [2Jb c d");
  expect(renderTable(columns, [["x\x1b]0;y\x07", 1]], { style })).not.toContain("\x1b");
});

test("numbers and sizes are written for people", () => {
  expect([0, 999, 1_000, 1_234_567].map(count)).toEqual(["0", "999", "1 000", "1 234 567"]);
  expect([1, 2].map((n) => plural(n, "task"))).toEqual(["1 task", "2 tasks"]);
  expect([512, 1_536, 300 * 2 ** 20, 16 * 2 ** 30].map(bytes)).toEqual(["512 B", "1.5 KiB", "300 MiB", "16.0 GiB"]);
});

test("a time is milliseconds or has a unit", () => {
  expect(["250", "250ms", "1.5s", "2m", "24h", "7d"].map(duration)).toEqual([
    250, 250, 1_500, 120_000, 86_400_000, 604_800_000,
  ]);
  for (const text of ["", "-1", "1w", "1e3", "s", "Infinity"])
    expect(() => duration(text)).toThrow(InvalidArgumentError);
  for (const text of ["", "1.5", "0x10", "1e3", "9".repeat(16)])
    expect(() => integer(text)).toThrow(InvalidArgumentError);
});

test("progress counts a task when it is done, and has a bar only where the size is known", () => {
  const counts = { submitted: 100, ok: 40, failed: 10, refused: 2, open: 50 };
  expect(progressText({ ...counts, read: 0.5 }, 1_000)).toBe(
    "█████░░░░░░░░░░░░░░░  25 %  40 ok  10 failed  2 refused  50 open  50/s",
  );
  const whole = { ...counts, read: 0.5 };
  expect(progressText(whole, 1_000, 65)).toBe("25 %  40 ok  10 failed  2 refused  50 open  50/s");
  expect(progressText(whole, 1_000, 40)).toBe("25 %  40 ok  10 failed  2 refused");
  expect(progressText(whole, 1_000, 2)).toBe("25 %");
  expect(progressText({ submitted: 0, ok: 0, failed: 0, refused: 0, open: 0, read: undefined }, 0)).toBe(
    "0 ok  0 open  0/s",
  );
});
