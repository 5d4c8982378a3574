import fc from "fast-check";
import { expect, it } from "vitest";
import { allowance, begin, type RateRecord } from "../../src/protocols/rate.ts";

const limits = fc.record({ tasks: fc.integer({ min: 1, max: 50 }), perMs: fc.integer({ min: 1, max: 5_000 }) });
/** Pauses between two looks, ms, and how many tasks want to begin. */
const looks = fc.array(fc.tuple(fc.integer({ min: 0, max: 400 }), fc.integer({ min: 1, max: 60 })), { maxLength: 200 });

it("lets no window of its time see more than the limit begin", () => {
  fc.assert(
    fc.property(limits, looks, (limit, steps) => {
      let record: RateRecord | undefined;
      let now = 1_750_000_000_000;
      const begun: number[] = [];
      for (const [pause, wanted] of steps) {
        now += pause;
        const tasks = Math.min(wanted, allowance(limit, record, now).tasks);
        record = begin(limit, record, tasks, now);
        for (let i = 0; i < tasks; i++) begun.push(now);
      }
      for (let i = limit.tasks; i < begun.length; i++)
        expect((begun[i] as number) - (begun[i - limit.tasks] as number)).toBeGreaterThanOrEqual(limit.perMs);
    }),
  );
});

it("says when more may begin, lets all of it begin after a rest, and goes on at the limit", () => {
  fc.assert(
    fc.property(limits, (limit) => {
      let now = 1_750_000_000_000;
      const start = now;
      let record: RateRecord | undefined;
      for (let round = 0; round < 5; round++) {
        const { tasks } = allowance(limit, record, now);
        expect(tasks).toBe(limit.tasks);
        record = begin(limit, record, tasks, now);
        const { tasks: none, at } = allowance(limit, record, now);
        expect(none).toBe(0);
        expect(at).toBeGreaterThanOrEqual(now + limit.perMs);
        now = Math.ceil(at);
      }
      // Two parts of twenty are the most that a window can lose.
      expect(now - start).toBeLessThanOrEqual(5 * (limit.perMs * 1.1 + 1));
    }),
  );
});

it("is not loosened by a clock that is behind, nor by a limit that changes", () => {
  const limit = { tasks: 10, perMs: 1_000 };
  const record = begin(limit, undefined, 10, 10_000);
  expect(allowance(limit, record, 9_000).tasks).toBe(0);
  expect(allowance({ tasks: 10, perMs: 5_000 }, record, 10_500).tasks).toBe(0);
  expect(allowance(limit, record, 11_100).tasks).toBe(10);
});
