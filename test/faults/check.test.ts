/** Good histories break no promise, and each broken rule breaks that of its promise alone. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { check } from "./check.ts";
import { Forged } from "./forged.ts";
import { eviction, silence, strikeDispatcher } from "./forgeries/forgery.ts";
import { FORGERIES } from "./forgeries.ts";
import type { Violation } from "./history.ts";
import { type MadeUp, madeUp, STRIKES } from "./made-up.ts";
import { randomOf } from "./random.ts";

function judged({ history, streams, index }: MadeUp): Violation[] {
  return check(history, streams, index);
}

describe("a good history", () => {
  test("breaks no promise, whatever strikes, and whichever records of the rotation were not seen", () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.array(fc.constantFrom(...STRIKES), { maxLength: 6 }),
        fc.constantFrom(0, 0.3, 1),
        (seed, strikes, missed) => {
          const random = randomOf(seed);
          const made = madeUp(random, { strikes });
          const seen = <Value>(all: readonly Value[]): Value[] =>
            all.filter((_, i) => i === all.length - 1 || random() >= missed);
          made.index = made.index.map((lane) => ({
            ...lane,
            records: seen(lane.records),
            rosters: seen(lane.rosters),
          }));
          expect(judged(made)).toEqual([]);
        },
      ),
    );
  });

  test("breaks no promise when what a host and a dispatcher that were struck together had begins elsewhere after ten heartbeats more", () => {
    const history = new Forged({ strikes: ["kill host"] });
    strikeDispatcher(history);
    history.delay(10_000);
    expect(judged(history.made)).toEqual([]);
  });

  test("breaks no promise when a machine that is too busy lets several hosts be silent, and one is taken for dead", () => {
    const history = new Forged({});
    silence(history, ["host-0", "host-2"]);
    history.add(eviction(50_000));
    expect(judged(history.made)).toEqual([]);
  });

  test("breaks no promise when processes are killed by a failpoint, of whose strike nothing was written down", () => {
    for (const strike of ["kill host", "kill dispatcher", "kill broker"] as const) {
      const history = new Forged({ strikes: [strike] });
      history.remove(...history.all("struck"), ...history.all("healed"));
      expect(judged(history.made)).toEqual([]);
    }
  });

  test("breaks no promise when a dispatcher that stood still learns late that a host has started again", () => {
    const history = new Forged({ strikes: ["kill host"] });
    const { at } = history.first("struck");
    const whom = { fault: "pause", process: "dispatcher-1" };
    history.add({ type: "struck", at: at - 100, ...whom }, { type: "healed", at: at + 12_000, ...whom });
    const late = history.first("evicted", ({ process }) => process === "dispatcher-1");
    history.change(late, { at: at + 12_100, why: "it started again" });
    expect(judged(history.made)).toEqual([]);
  });

  test("does not break P6 when what a killed host ran waits for a free slot", () => {
    const history = new Forged({ strikes: ["kill host"], slots: 1 });
    history.delay(10_000);
    expect(judged(history.made).filter(({ promise }) => promise === "P6")).toEqual([]);
  });

  test("may be told in any order", () => {
    const { made } = new Forged({ strikes: STRIKES });
    made.history = made.history.toReversed();
    expect(judged(made)).toEqual([]);
  });
});

describe("a history in which one rule is broken", () => {
  test("was a good one before", () => {
    for (const options of new Set(FORGERIES.map(({ strikes = [], size = {} }) => JSON.stringify({ strikes, ...size }))))
      expect(judged(new Forged(JSON.parse(options)).made)).toEqual([]);
  });

  for (const { promise, rule, how, strikes = [], size = {}, forge } of FORGERIES) {
    test(`${promise}: ${rule}${how === undefined ? "" : ` (${how})`}`, () => {
      const history = new Forged({ strikes, ...size });
      forge(history);
      const violations = judged(history.made);
      expect(violations.length).toBeGreaterThan(0);
      for (const each of violations) expect(each).toMatchObject({ promise, what: expect.stringMatching(`^${rule}: `) });
    });
  }

  test("that is broken a thousand times is told of in a few lines, with their number", () => {
    const { made } = new Forged({ messages: 1_000 });
    made.streams.results = [];
    const violations = judged(made);
    expect(violations.length).toBeLessThan(50);
    expect(violations.at(-1)?.what).toMatch(/^.+: \d+ more$/);
  });
});
