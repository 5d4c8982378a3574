import { expect, test } from "vitest";
import { readArguments, UsageError } from "../../bench/arguments.ts";
import type { Benchmark } from "../../bench/benchmark.ts";

const ALL = ["first", "second", "third"].map(
  (name): Benchmark => ({ name, measures: "", run: () => Promise.reject() }),
);

test("without names all are run, nine pairs each", () => {
  expect(readArguments([], ALL)).toEqual({ chosen: ALL, json: false, quick: false, pairs: 9, help: false });
});

test("those that are named are run, in the order of the whole", () => {
  const { chosen } = readArguments(["third", "first", "--pairs", "3"], ALL);
  expect(chosen.map(({ name }) => name)).toEqual(["first", "third"]);
});

test("--quick is one pair, whatever was asked for", () => {
  expect(readArguments(["--quick", "--pairs", "5", "--json"], ALL)).toMatchObject({
    quick: true,
    pairs: 1,
    json: true,
  });
});

test.each([
  [["fourth"], 'there is no benchmark named "fourth"'],
  [["--pairs", "0"], "--pairs must be an integer from 1 to 100, got 0"],
  [["--pairs", "101"], "got 101"],
  [["--pairs", "2.5"], "got 2.5"],
  [["--pairs"], "--pairs"],
  [["--slow"], "Unknown option '--slow'"],
  [["--json=yes"], "--json"],
])("%j is wrong usage", (args, message) => {
  expect(() => readArguments(args, ALL)).toThrow(UsageError);
  expect(() => readArguments(args, ALL)).toThrow(message);
});
