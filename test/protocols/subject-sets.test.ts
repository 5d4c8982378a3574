import { describe, expect, it } from "vitest";
import { covers, meet } from "../../src/protocols/subject-sets.ts";

describe("covers", () => {
  it.each([
    ["a.b", "a.b", true],
    ["a.*", "a.b", true],
    ["a.*", "a.*", true],
    ["a.b", "a.*", false],
    ["a.*", "a.b.c", false],
    ["a.*.c", "a.b.c", true],
    ["a.>", "a.b.c", true],
    ["a.>", "a.*.>", true],
    ["a.>", "a.>", true],
    ["a.>", "a", false],
    ["a.*", "a.>", false],
    ["a.*.>", "a.>", false],
    [">", "a.>", true],
    ["*", ">", false],
    ["a", "a.b", false],
    ["a.b", "a", false],
  ])("%s covers %s: %s", (outer, inner, expected) => {
    expect(covers(outer, inner)).toBe(expected);
  });
});

describe("meet", () => {
  it.each([
    ["a.*", "*.b", "a.b"],
    ["a.>", "a.b.*", "a.b.*"],
    ["*.b.>", "a.>", "a.b.>"],
    [">", "a.*", "a.*"],
    ["a.>", "a.>", "a.>"],
    ["a.*", "a.b", "a.b"],
    ["a.b", "a.c", undefined],
    ["a.>", "a", undefined],
    ["a.*", "a.b.c", undefined],
    ["a", "b.>", undefined],
  ])("%s and %s meet in %s", (a, b, expected) => {
    expect(meet(a, b)).toBe(expected);
    expect(meet(b, a)).toBe(expected);
  });

  it("agrees with every subject of a small world", () => {
    const tokens = ["a", "b", "*"];
    const patterns = [">", ...tokens, ...tokens.flatMap((x) => [`${x}.>`, ...tokens.map((y) => `${x}.${y}`)])];
    const world = ["a", "b"].flatMap((x) => [x, `${x}.a`, `${x}.b`, `${x}.a.a`]);
    const within = (pattern: string | undefined): readonly string[] =>
      pattern === undefined ? [] : world.filter((subject) => covers(pattern, subject));
    for (const a of patterns) {
      for (const b of patterns) {
        const both = within(a).filter((subject) => within(b).includes(subject));
        expect(within(meet(a, b)), `${a} and ${b}`).toEqual(both);
        if (covers(a, b)) expect(within(a), `${a} covers ${b}`).toEqual(expect.arrayContaining([...within(b)]));
      }
    }
  });
});
