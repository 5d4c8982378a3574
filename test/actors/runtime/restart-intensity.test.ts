import { expect, test } from "vitest";
import { HOST_INTENSITY, RestartIntensity } from "../../../src/actors/runtime/restart-intensity.ts";
import { ManualClock } from "../../support/manual-clock.ts";

test("refuses the restart that would be one too many within the window", () => {
  const clock = new ManualClock();
  const intensity = new RestartIntensity(clock, HOST_INTENSITY);
  expect([1, 2, 3, 4].map(() => intensity.allow())).toEqual([true, true, true, false]);
  expect(intensity.recent).toBe(3);
});

test("the window slides: the oldest restart is forgotten first", () => {
  const clock = new ManualClock();
  const intensity = new RestartIntensity(clock, { limit: 2, windowMs: 100 });
  intensity.allow();
  clock.jump(60);
  intensity.allow();
  clock.jump(39);
  expect(intensity.allow()).toBe(false);
  clock.jump(1);
  expect(intensity.allow()).toBe(true);
  expect(intensity.allow()).toBe(false);
});

test("does not look at the wall clock", () => {
  const clock = new ManualClock();
  const intensity = new RestartIntensity(clock, { limit: 1, windowMs: 100 });
  intensity.allow();
  clock.wallOffset += 1_000_000;
  expect(intensity.allow()).toBe(false);
});

test("after a reset nothing counts", () => {
  const intensity = new RestartIntensity(new ManualClock(), { limit: 1, windowMs: 100 });
  intensity.allow();
  intensity.reset();
  expect(intensity.allow()).toBe(true);
});
