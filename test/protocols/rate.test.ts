import fc from "fast-check";
import { expect, it } from "vitest";
import { allowance, begin, type RateLimit, type RateRecord, rateRecord } from "../../src/protocols/rate.ts";

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

it("is not loosened by a clock that is behind", () => {
  const limit = { tasks: 10, perMs: 1_000 };
  const record = begin(limit, undefined, 10, 10_000);
  expect(allowance(limit, record, 9_000).tasks).toBe(0);
  expect(allowance(limit, record, 11_100).tasks).toBe(10);
});

it("lets no window see more than a new limit begin, whatever the former one was, and forgets what is older", () => {
  fc.assert(
    fc.property(limits, limits, looks, (former, limit, steps) => {
      let record: RateRecord | undefined;
      let now = 1_750_000_000_000;
      const begun: number[] = [];
      const look = (by: RateLimit, pause: number, wanted: number): void => {
        now += pause;
        const tasks = Math.min(wanted, allowance(by, record, now).tasks);
        if (tasks > 0) record = begin(by, record, tasks, now);
        for (let i = 0; i < tasks; i++) begun.push(now);
      };
      const half = steps.length >> 1;
      for (const [pause, wanted] of steps.slice(0, half)) look(former, pause, wanted);
      const before = begun.length;
      for (const [pause, wanted] of steps.slice(half)) look(limit, pause, wanted);
      // What the former limit had forgotten cannot count.
      const from = limit.perMs > former.perMs ? before + limit.tasks : Math.max(before, limit.tasks);
      for (let i = from; i < begun.length; i++)
        expect((begun[i] as number) - (begun[i - limit.tasks] as number)).toBeGreaterThanOrEqual(limit.perMs);
      // One part of each limit may be taken for longer than it was.
      now += limit.perMs * 1.1 + former.perMs * 0.05 + 1;
      expect(allowance(limit, record, now).tasks).toBe(limit.tasks);
    }),
  );
});

it("takes what lies beyond all clocks for nothing", () => {
  const limit = { tasks: 1, perMs: 86_400_000 };
  for (const perMs of [1, 86_400_000, Number.MAX_SAFE_INTEGER]) {
    const record = { perMs, last: Number.MAX_SAFE_INTEGER, counts: [1] };
    expect(allowance(limit, record, 1_750_000_000_000).tasks).toBe(1);
    expect(rateRecord.safeParse(begin(limit, record, 1, 1_750_000_000_000)).success).toBe(true);
  }
});
