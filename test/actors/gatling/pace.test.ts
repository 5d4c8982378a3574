import { expect, test } from "vitest";
import { Pace } from "../../../src/actors/gatling/pace.ts";
import { systemClock } from "../../../src/protocols/clock.ts";

test("a record of a clock that was far ahead is looked at again soon, and not without a pause", () => {
  const delays: number[] = [];
  const clock = {
    ...systemClock,
    now: () => 1_000,
    setTimeout: (_: () => void, delayMs: number) => delays.push(delayMs),
  };
  const pace = new Pace(clock, () => undefined);
  pace.limit = { tasks: 1, perMs: 86_400_000 };
  const ahead = { perMs: 86_400_000, last: Number.MAX_SAFE_INTEGER, counts: [1] };
  expect(pace.allowed(ahead)).toBe(0);
  expect(delays).toEqual([60_000]);
});
