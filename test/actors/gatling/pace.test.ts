import { expect, test } from "vitest";
import { Pace } from "../../../src/actors/gatling/pace.ts";
import { systemClock } from "../../../src/protocols/clock.ts";
import type { RateRecord } from "../../../src/protocols/rate.ts";

const LIMIT = { tasks: 4, perMs: 1_000 };
const HOUR_MS = 3_600_000;

/** Dispatchers of one lane, each with a wall clock of its own, and one real time. */
class Lane {
  #real = 5_000;
  record: RateRecord | undefined;
  /** Real times at which tasks began. */
  readonly begun: number[] = [];
  readonly waits: number[] = [];

  dispatcher(): { aheadMs: number; fire(): number } {
    const lane = this;
    const self = {
      aheadMs: 0,
      fire(): number {
        const tasks = pace.allowed(lane.record);
        if (tasks > 0) lane.record = pace.after(lane.record, tasks);
        for (let i = 0; i < tasks; i++) lane.begun.push(lane.#real);
        return tasks;
      },
    };
    const clock = {
      ...systemClock,
      now: () => 1_750_000_000_000 + lane.#real + self.aheadMs,
      // Each machine's begins somewhere else.
      monotonic: () => lane.#real - 1_234,
      setTimeout: (_: () => void, delayMs: number) => lane.waits.push(delayMs),
    };
    const pace = new Pace(clock, () => undefined);
    pace.limit = LIMIT;
    return self;
  }

  pass(ms: number): void {
    this.#real += ms;
  }

  /** Most that began in one window. */
  get most(): number {
    const within = (from: number): number => this.begun.filter((at) => at >= from && at < from + LIMIT.perMs).length;
    return Math.max(...this.begun.map(within));
  }
}

test("a clock that was ahead and was set right holds the lane up for no longer than a window, and loosens nothing after it", () => {
  const lane = new Lane();
  const [jumps, stays] = [lane.dispatcher(), lane.dispatcher()];
  expect(stays.fire()).toBe(4);
  lane.pass(2_000);
  jumps.aheadMs = HOUR_MS;
  expect(jumps.fire()).toBe(4);
  expect([stays.fire(), jumps.fire()]).toEqual([0, 0]);
  expect(Math.max(...lane.waits)).toBeLessThanOrEqual(1_100);
  jumps.aheadMs = 0;
  lane.pass(1_100);
  expect(stays.fire()).toBe(4);
  lane.pass(1_100);
  expect(jumps.fire()).toBe(4);
  // One that starts now reads the record only.
  const late = lane.dispatcher();
  expect(late.fire()).toBe(0);
  lane.pass(1_100);
  expect(late.fire()).toBe(4);
  expect(lane.most).toBe(4);
});

test("a clock that jumps back holds nothing up and loosens nothing", () => {
  const lane = new Lane();
  const [jumps, stays] = [lane.dispatcher(), lane.dispatcher()];
  expect(jumps.fire()).toBe(4);
  jumps.aheadMs = -HOUR_MS;
  for (let round = 0; round < 10; round++) {
    expect([jumps.fire(), stays.fire()]).toEqual([0, 0]);
    lane.pass(1_100);
    expect((round % 2 ? jumps : stays).fire()).toBe(4);
  }
  expect(lane.most).toBe(4);
});

test("a clock that jumps ahead lets one window begin too much, and no more", () => {
  const lane = new Lane();
  const [jumps, stays] = [lane.dispatcher(), lane.dispatcher()];
  expect(stays.fire()).toBe(4);
  jumps.aheadMs = HOUR_MS;
  expect(jumps.fire()).toBe(4);
  for (let step = 0; step < 100; step++) {
    lane.pass(100);
    jumps.fire();
    stays.fire();
  }
  expect(lane.begun.filter((at) => at > 5_000).length).toBeLessThanOrEqual(4 * 10);
  expect(lane.begun.length).toBeGreaterThan(4 * 8);
});
