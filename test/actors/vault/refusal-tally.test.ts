import { describe, expect, test } from "vitest";
import { RefusalTally } from "../../../src/actors/vault/refusal-tally.ts";
import type { TrailEntry, Who } from "../../../src/actors/vault/trail/entry.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const SINGLES = 20;

function newTally() {
  const clock = new ManualClock();
  const noted: TrailEntry[] = [];
  const tally = new RefusalTally(clock, (entry) => void noted.push(entry));
  const refuse = (who: Who | undefined, times: number, why = "INVALID: no"): void => {
    for (let n = 1; n <= times; n++) tally.count({ who, op: "lease", outcome: "refused", why: `${why} ${n}` });
  };
  return { clock, noted, tally, refuse };
}

const ann: Who = { user: "ann", role: "worker", host: "ann" };
const bob: Who = { user: "bob", role: "client" };

describe("RefusalTally", () => {
  test("writes the refusals of a known user one by one, as they were", () => {
    const { noted, tally } = newTally();
    tally.count({ who: ann, op: "lease", outcome: "refused", why: "KEY_RESTING: rests" });
    tally.count({ who: ann, outcome: "failed", why: "INTERNAL: oh" });
    expect(noted).toEqual([
      { op: "lease", outcome: "refused", who: ann, why: "KEY_RESTING: rests" },
      { op: "unknown", outcome: "failed", who: ann, why: "INTERNAL: oh" },
    ]);
  });

  test("counts what one user has more than 20 of in a second, and tells it once that is over, whatever others do", async () => {
    const { clock, noted, refuse } = newTally();
    refuse(ann, SINGLES + 80);
    refuse(bob, 2);
    expect(noted.map(({ who }) => who?.user)).toEqual([...Array(SINGLES).fill("ann"), "bob", "bob"]);
    noted.length = 0;
    await clock.advance(999);
    expect(noted).toEqual([]);
    await clock.advance(1);
    const detail = { count: 80, last: "lease: INVALID: no 100" };
    expect(noted).toEqual([{ op: "refusals", outcome: "refused", who: ann, detail }]);
    await clock.advance(1_000);
    expect([noted.length, clock.armed]).toEqual([1, 0]);
  });

  test("of a user who never stops writes 20 records and a sum a second, and loses none", async () => {
    const { clock, noted, refuse } = newTally();
    for (let second = 0; second < 5; second++) {
      refuse(ann, 1_000);
      await clock.advance(1_000);
    }
    expect(noted).toHaveLength(5 * (SINGLES + 1));
    const told = noted.map(({ detail }) => Number(detail?.["count"] ?? 1));
    expect(told.reduce((sum, each) => sum + each, 0)).toBe(5_000);
  });

  test("only counts who is unknown: the first at once, then once a second, in one sum", async () => {
    const { clock, noted, refuse } = newTally();
    refuse(undefined, 3);
    expect(noted.map(({ who, detail }) => [who, detail])).toEqual([
      [undefined, { count: 1, last: "lease: INVALID: no 1" }],
    ]);
    await clock.advance(1_000);
    refuse(undefined, 4);
    expect(noted).toHaveLength(2);
    await clock.advance(1_000);
    expect(noted.slice(1).map(({ detail }) => detail?.["count"])).toEqual([2, 4]);
    await clock.advance(1_000);
    expect(clock.armed).toBe(0);
  });

  test("keeps a bounded number of users apart, and counts the others together", async () => {
    const { clock, noted, refuse } = newTally();
    for (let n = 0; n < 3_000; n++) refuse({ user: `u${n}`, role: "client" }, 1);
    expect(clock.armed).toBe(1_001);
    expect(noted).toHaveLength(1_001);
    await clock.advance(1_000);
    expect(noted).toHaveLength(1_002);
    expect(noted.at(-1)).toMatchObject({ op: "refusals", detail: { count: 1_999 } });
    expect(noted.at(-1)?.who).toBeUndefined();
  });

  test("writes what it counted when it is stopped, and nothing later", async () => {
    const { clock, noted, tally, refuse } = newTally();
    refuse(ann, SINGLES + 5);
    tally.stop();
    tally.stop();
    expect(noted.at(-1)).toMatchObject({ op: "refusals", who: ann, detail: { count: 5 } });
    refuse(ann, 1);
    await clock.advance(5_000);
    expect([noted.length, clock.armed]).toEqual([SINGLES + 1, 0]);
  });
});
