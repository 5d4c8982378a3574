import fc from "fast-check";
import { expect, test } from "vitest";
import { Quota, QuotaExceeded, type Reservation } from "../../../src/actors/guests/quota.ts";

const LIMITS = { tasks: 4, bytes: 100, forgetAfterMs: 1_000 };
const NOTHING = { tasks: 0, bytes: 0 };

test("refuses what is over a bound, names it, and counts nothing then", () => {
  const quota = new Quota(LIMITS);
  quota.reserve("ann", ["a", "b", "c"], 60, 0);
  expect(() => quota.reserve("ann", ["d", "e"], 1, 0)).toThrow("may have 4 tasks stored and not finished, and has 3");
  expect(() => quota.reserve("ann", ["d"], 41, 0)).toThrow("may have 100 bytes of tasks");
  expect(() => quota.reserve("ann", ["d"], 41, 0)).toThrow(QuotaExceeded);
  expect(quota.of("ann")).toEqual({ tasks: 3, bytes: 60 });
  quota.reserve("ann", ["d"], 40, 0);
  quota.reserve("bob", ["a", "b", "c", "d"], 100, 0);
});

test("the bytes of an array count until its last task has ended, those of a task until it has", () => {
  const quota = new Quota(LIMITS);
  quota.reserve("ann", ["a", "b"], 60, 0);
  quota.reserve("ann", ["c"], 10, 0);
  quota.finished("bob", "a");
  quota.finished("ann", "a");
  expect(quota.of("ann")).toEqual({ tasks: 2, bytes: 70 });
  quota.finished("ann", "a");
  quota.finished("ann", "c");
  expect(quota.of("ann")).toEqual({ tasks: 1, bytes: 60 });
  quota.finished("ann", "b");
  expect(quota.of("ann")).toEqual(NOTHING);
});

test("an id that is submitted twice counts twice, and one end ends both; what was not stored ends alone", () => {
  const quota = new Quota(LIMITS);
  quota.reserve("ann", ["a"], 10, 0);
  const again = quota.reserve("ann", ["a", "a"], 20, 0);
  expect(quota.of("ann")).toEqual({ tasks: 3, bytes: 30 });
  quota.cancel("ann", again);
  quota.cancel("ann", again);
  expect(quota.of("ann")).toEqual({ tasks: 1, bytes: 10 });
  quota.reserve("ann", ["a", "a"], 20, 0);
  quota.finished("ann", "a");
  expect(quota.of("ann")).toEqual(NOTHING);
  quota.cancel("ann", again);
  expect(quota.of("ann")).toEqual(NOTHING);
});

test("each task has its turn to be looked up, and is forgotten after the longest that one can need", () => {
  const quota = new Quota(LIMITS);
  quota.reserve("ann", ["a", "b"], 10, 0);
  quota.reserve("ann", ["c"], 10, 500);
  expect(quota.oldest("ann", 2, 600)).toEqual(["a", "b"]);
  quota.unfinished("ann", "a");
  quota.finished("ann", "b");
  expect(quota.oldest("ann", 2, 600)).toEqual(["c", "a"]);
  expect(quota.oldest("ann", 2, 1_000)).toEqual(["c"]);
  expect(quota.oldest("ann", 2, 1_500)).toEqual([]);
  expect(quota.of("ann")).toEqual(NOTHING);
});

test("a guest that two lists in a row do not name is gone with its entries", () => {
  const quota = new Quota(LIMITS);
  const late = quota.reserve("ann", ["a"], 10, 0);
  quota.reserve("bob", ["b"], 10, 0);
  quota.present(new Set(["bob"]));
  expect(quota.of("ann")).toEqual({ tasks: 1, bytes: 10 });
  quota.present(new Set(["ann", "bob"]));
  quota.present(new Set(["bob"]));
  quota.present(new Set(["bob"]));
  expect([quota.of("ann"), quota.of("bob")]).toEqual([NOTHING, { tasks: 1, bytes: 10 }]);
  quota.cancel("ann", late);
  quota.finished("ann", "a");
  expect(quota.of("ann")).toEqual(NOTHING);
});

test("whatever happens, what counts is within the bounds, and nothing is left when all has ended", () => {
  const ids = fc.array(fc.constantFrom("a", "b", "c", "d", "e"), { minLength: 1, maxLength: 3 });
  const step = fc.oneof(
    fc.record({ add: ids, bytes: fc.nat(50) }),
    fc.record({ end: fc.constantFrom("a", "b", "c", "d", "e") }),
    fc.record({ cancel: fc.nat(20) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const quota = new Quota(LIMITS);
      const made: Reservation[] = [];
      for (const each of steps) {
        if ("add" in each) {
          try {
            made.push(quota.reserve("ann", each.add, each.bytes, 0));
          } catch (error) {
            expect(error).toBeInstanceOf(QuotaExceeded);
          }
        } else if ("end" in each) quota.finished("ann", each.end);
        else {
          const reservation = made[each.cancel];
          if (reservation !== undefined) quota.cancel("ann", reservation);
        }
        const open = made.filter((reservation) => reservation.open.size > 0);
        const tasks = open.flatMap((reservation) => [...reservation.open.values()]).reduce((sum, n) => sum + n, 0);
        expect(quota.of("ann")).toEqual({ tasks, bytes: open.reduce((sum, { bytes }) => sum + bytes, 0) });
        expect(tasks).toBeLessThanOrEqual(LIMITS.tasks);
      }
      for (const id of ["a", "b", "c", "d", "e"]) quota.finished("ann", id);
      expect(quota.of("ann")).toEqual(NOTHING);
    }),
  );
});
