import { expect, test } from "vitest";
import { CHALLENGE_MS, Challenges, MAX_CHALLENGES, MAX_PER_ADDRESS } from "../../src/admission/challenges.ts";
import { ManualClock } from "../support/manual-clock.ts";

const HELLO = {
  v: 1,
  user: "n1",
  nkey: `U${"A".repeat(55)}`,
  role: "worker",
  commitment: "c".repeat(43),
  machine: "m",
} as const;

test("a challenge is good once, and for a minute", async () => {
  const clock = new ManualClock();
  const challenges = new Challenges(clock);
  const first = challenges.issue(HELLO, "a")?.challenge ?? "";
  const second = challenges.issue(HELLO, "a")?.challenge ?? "";
  expect(first).not.toBe(second);
  expect(challenges.take(first)?.hello).toBe(HELLO);
  expect(challenges.take(first)).toBeUndefined();
  await clock.advance(CHALLENGE_MS);
  expect(challenges.take(second)).toBeUndefined();
  expect(challenges.size).toBe(0);
});

test("an address has as many as it may until they are answered or too old", async () => {
  const clock = new ManualClock();
  const challenges = new Challenges(clock);
  for (let i = 0; i < MAX_PER_ADDRESS; i++) expect(challenges.issue(HELLO, "a")).toBeDefined();
  expect(challenges.issue(HELLO, "a")).toBeUndefined();
  expect(challenges.issue(HELLO, "b")).toBeDefined();
  await clock.advance(CHALLENGE_MS);
  expect(challenges.issue(HELLO, "a")).toBeDefined();
  expect(challenges.size).toBe(1);
});

test("a flood from many addresses takes places from itself, not from an honest machine", () => {
  const challenges = new Challenges(new ManualClock());
  const honest = challenges.issue(HELLO, "honest")?.challenge ?? "";
  for (let i = 0; i < 10_000; i++) challenges.issue(HELLO, `flood ${i % 1_000}`);
  expect(challenges.size).toBeLessThanOrEqual(MAX_CHALLENGES);
  expect(challenges.issue(HELLO, "another honest")).toBeDefined();
  expect(challenges.take(honest)).toBeDefined();
});
