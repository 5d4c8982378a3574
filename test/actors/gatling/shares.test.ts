import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sharedRanges } from "../../../src/actors/gatling/shares.ts";
import type { RosterRange } from "../../../src/protocols/rotation.ts";

const total = (ranges: readonly RosterRange[]): number =>
  ranges.reduce((sum, { count, slots }) => sum + count * slots, 0);
const host = (name: string, count: number, slots: number): RosterRange => ({
  host: name,
  run: "r",
  first: 0,
  count,
  slots,
});
const shareOf = (ranges: readonly RosterRange[], name: string): number =>
  total(ranges.filter((range) => range.host === name));

describe("sharedRanges", () => {
  it("gives out all of the limit that the slots take, and spreads it over hosts and agents", () => {
    expect(sharedRanges([host("a", 4, 8), host("b", 4, 8)], [], 6, 0)).toEqual([
      { host: "a", run: "r", first: 0, count: 3, slots: 1 },
      { host: "b", run: "r", first: 0, count: 3, slots: 1 },
    ]);
    expect(sharedRanges([host("a", 2, 3)], [], 100, 0)).toEqual([host("a", 2, 3)]);
  });

  it("never exceeds the limit and never shrinks a share while hosts come and go", () => {
    const hosts = fc.uniqueArray(
      fc.tuple(fc.constantFrom("a", "b", "c", "d"), fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 5 })),
      {
        selector: ([name]) => name,
        maxLength: 4,
      },
    );
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 30 }),
        fc.array(fc.tuple(hosts, fc.integer({ min: 0, max: 10 })), { maxLength: 6 }),
        (limit, steps) => {
          const sizes = new Map<string, RosterRange>();
          let current: readonly RosterRange[] = [];
          for (const [names, leaving] of steps) {
            const wanted = names.map(([name, count, slots]) => {
              const known = sizes.get(name) ?? host(name, count, slots);
              sizes.set(name, known);
              return known;
            });
            wanted.sort((a, b) => (a.host < b.host ? -1 : 1));
            const next = sharedRanges(wanted, current, limit, leaving);
            expect(total(next)).toBeLessThanOrEqual(limit);
            for (const { host: name } of wanted)
              expect(shareOf(next, name)).toBeGreaterThanOrEqual(shareOf(current, name));
            const room = Math.min(total(wanted), limit - leaving);
            expect(total(next)).toBeGreaterThanOrEqual(Math.min(room, total(wanted)));
            // What every other dispatcher makes of it is the same.
            expect(sharedRanges(wanted, next, limit, leaving)).toEqual(next);
            current = next;
          }
        },
      ),
    );
  });

  it("lowers shares only where the limit itself is lower", () => {
    expect(total(sharedRanges([host("a", 2, 4)], [host("a", 2, 4)], 3, 0))).toBe(3);
  });
});

it("shares the largest limit among many agents", () => {
  const wanted = ["a", "b"].map((name) => host(name, 1_000, 1_000));
  expect(total(sharedRanges(wanted, [], 999_999, 0))).toBe(999_999);
  expect(total(sharedRanges(wanted, wanted, 1_000, 0))).toBe(1_000);
});
