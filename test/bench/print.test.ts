import { expect, test } from "vitest";
import type { Report } from "../../bench/benchmark.ts";
import { reportLines } from "../../bench/print.ts";

const report: Report = {
  tables: [
    {
      title: "Some",
      columns: [{ title: "what" }, { title: "tasks/s" }, { title: "of it", digits: 1 }],
      rows: [
        ["vgas", [3_000, 1_000, 2_000], "1"],
        ["a longer name", [5], []],
      ],
    },
  ],
  targets: [{ what: "it", unit: "us", samples: [1, 3, 2], bound: { atMost: 1.5 } }],
  notes: [],
  notCompared: ["the other: it is not here"],
};

test("columns stand below each other, with the median and the spread of their samples", () => {
  expect(reportLines("some", report, { quick: false, pairs: 3, log: () => undefined })).toEqual([
    "## some",
    "",
    "Some",
    "",
    "| what          | tasks/s               | of it |",
    "|---------------|-----------------------|-------|",
    "| vgas          | 2,000 (1,000 - 3,000) | 1     |",
    "| a longer name | 5                     | -     |",
    "",
    "- NOT REACHED: it 2.00 (1.00 - 3.00) us; wanted: at most 1.5",
    "- not compared: the other: it is not here",
    "",
  ]);
});

test("nothing is judged with --quick", () => {
  const lines = reportLines("some", report, { quick: true, pairs: 1, log: () => undefined });
  expect(lines.filter((line) => line.includes("REACHED"))).toEqual([]);
});
