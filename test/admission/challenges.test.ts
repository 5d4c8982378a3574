import { expect, test } from "vitest";
import { BURST, CHALLENGE_MS, Challenges, MAX_PER_ADDRESS, PER_SECOND } from "../../src/admission/challenges.ts";
import { ManualClock } from "../support/manual-clock.ts";

const HELLO = {
  v: 1,
  user: "n1",
  nkey: `U${"A".repeat(55)}`,
  role: "worker",
  commitment: "c".repeat(43),
  machine: "m",
} as const;

/** How many of those hellos get a challenge. */
function issued(challenges: Challenges, addresses: Iterable<string>): number {
  let count = 0;
  for (const address of addresses) if (challenges.issue(HELLO, address) !== undefined) count++;
  return count;
}

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
});

test("an address has as many as it may in a minute, answered or not", async () => {
  const clock = new ManualClock();
  const challenges = new Challenges(clock);
  for (let i = 0; i < MAX_PER_ADDRESS; i++) {
    expect(challenges.take(challenges.issue(HELLO, "a")?.challenge ?? "")).toBeDefined();
  }
  expect(challenges.issue(HELLO, "a")).toBeUndefined();
  expect(challenges.issue(HELLO, "b")).toBeDefined();
  await clock.advance(CHALLENGE_MS - 1);
  expect(challenges.issue(HELLO, "a")).toBeUndefined();
  await clock.advance(1);
  expect(challenges.issue(HELLO, "a")).toBeDefined();
  expect(challenges.size).toBe(1);
});

test("over all there are only so many in a second, after a burst that a rack of nodes needs", async () => {
  const clock = new ManualClock();
  const challenges = new Challenges(clock);
  const honest = challenges.issue(HELLO, "honest")?.challenge ?? "";
  const flood = (round: number): string[] => Array.from({ length: 10_000 }, (_, i) => `flood ${round} ${i}`);
  expect(issued(challenges, flood(0))).toBe(BURST - 1);
  for (let second = 1; second <= 59; second++) {
    await clock.advance(1_000);
    expect(issued(challenges, flood(second))).toBe(PER_SECOND);
  }
  expect(challenges.size).toBeLessThanOrEqual(BURST + 60 * PER_SECOND);
  // Nothing that was given out is taken back.
  expect(challenges.take(honest)).toBeDefined();
});

test("a flood from many addresses leaves something for those that have asked for nothing yet", async () => {
  const clock = new ManualClock();
  const challenges = new Challenges(clock);
  const flood = Array.from({ length: 40 }, (_, i) => `flood ${i}`);
  for (let second = 0; second < 30; second++) {
    for (let i = 0; i < 100; i++) issued(challenges, flood);
    expect(challenges.issue(HELLO, `honest ${second}`)).toBeDefined();
    await clock.advance(1_000);
  }
});
