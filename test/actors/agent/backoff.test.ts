import { describe, expect, it } from "vitest";
import { DEFAULT_BACKOFF, pauseAfter } from "../../../src/actors/agent/backoff.ts";
import { resolveAgent } from "../../../src/actors/agent/resolve.ts";

const resolve = (backoff: unknown) =>
  resolveAgent({ kind: "ask", backoff, run: () => null }, { pool: "default", slots: 1 }, "agent 0").backoff;

describe("the backoff of an agent", () => {
  it("is half a second, doubled up to half a minute, and up to a fifth more", () => {
    expect(resolve(undefined)).toEqual(DEFAULT_BACKOFF);
    const pauses = [1, 2, 3, 7, 100, 2_000].map((attempt) => pauseAfter(attempt, DEFAULT_BACKOFF, () => 0));
    expect(pauses).toEqual([500, 1_000, 2_000, 30_000, 30_000, 30_000]);
    expect(pauseAfter(1, DEFAULT_BACKOFF, () => 0.5)).toBe(550);
  });

  it("is what the agent declares, and the rest by default", () => {
    expect(resolve({ initialMs: 40_000 })).toEqual({ ...DEFAULT_BACKOFF, initialMs: 40_000, maxMs: 40_000 });
    const own = resolve({ initialMs: 10, factor: 3, maxMs: 50, jitter: 0 });
    expect([1, 2, 3].map((attempt) => pauseAfter(attempt, own, () => 0.9))).toEqual([10, 30, 50]);
    expect(pauseAfter(2_000, resolve({ initialMs: 0, factor: 100 }), () => 1)).toBe(0);
  });

  it.each<[unknown, RegExp]>([
    [5, /backoff must be an object of initialMs, factor, maxMs, jitter, got 5/],
    [{ inital: 5 }, /backoff has only the fields .*, got "inital"/],
    [{ initialMs: -1 }, /backoff\.initialMs must be a number from 0 to 86400000, got -1/],
    [{ initialMs: 100, maxMs: 99 }, /backoff\.maxMs must be a number from 100 to 86400000, got 99/],
    [{ factor: 0.5 }, /backoff\.factor must be a number from 1 to 100, got 0\.5/],
    [{ jitter: "0.1" }, /backoff\.jitter must be a number from 0 to 1, got "0\.1"/],
  ])("is refused: %j", (backoff, message) => {
    expect(() => resolve(backoff)).toThrow(
      expect.objectContaining({ code: "CONFIG", message: expect.stringMatching(message) }),
    );
  });
});
