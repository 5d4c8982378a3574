import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { check } from "./check.ts";
import { madeUp, STRIKES } from "./made-up.ts";

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

describe("a good history", () => {
  test("breaks no promise, whatever strikes", () => {
    fc.assert(
      fc.property(fc.integer(), fc.array(fc.constantFrom(...STRIKES), { maxLength: 6 }), (seed, strikes) => {
        const { history, streams, index } = madeUp(seeded(seed), { strikes });
        expect(check(history, streams, index)).toEqual([]);
      }),
    );
  });
});
