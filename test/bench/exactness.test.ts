import { describe, expect, it } from "vitest";
import { checkExact } from "../../bench/contention/exactness.ts";
import type { TaskResult } from "../../src/protocols/result.ts";
import type { LaneIndex } from "../faults/history.ts";

const ranges = [{ host: "h", run: "r", first: 0, count: 3, slots: 1 }];

function lane(...indexes: readonly number[]): LaneIndex {
  const records = indexes.map((index, i) => ({
    revision: i + 2,
    record: { v: 1 as const, index, base: 0, roster: 1, by: "d", nonce: String(i) },
  }));
  return { pool: "default", kind: "echo", records, rosters: [{ revision: 1, ranges }] };
}

/** A result with each ticket, at the agent whose turn it is. */
function results(...tickets: readonly number[]): TaskResult[] {
  return tickets.map((ticket, i) => ({
    ...{ id: `t${i}`, pool: "default", kind: "echo", status: "ok", output: null, attempt: 1 },
    ...{ submittedAt: 0, finishedAt: 0, host: "h", agent: `h-${ticket % 3}`, ticket },
  }));
}

describe("the check of a rotation under contention", () => {
  it("takes a rotation that skips turns, and counts the tickets that no dispatcher knows to have drawn", () => {
    expect(checkExact(lane(0, 3, 7), 7, results(0, 1, 3, 6), 4)).toBe(0);
    expect(checkExact(lane(0, 3, 7), 5, results(0, 1, 3, 6), 4)).toBe(2);
  });

  it("P1: misses a task without a result", () => {
    expect(() => checkExact(lane(0, 3), 3, results(0, 1), 3)).toThrow("P1: 2 results of 3 tasks");
  });

  it("P3: finds a ticket that was used twice, one that was never drawn, and an index that lost some or went back", () => {
    expect(() => checkExact(lane(0, 3), 3, results(0, 1, 1), 3)).toThrow("P3: ticket 1 carried t2 and another task");
    expect(() => checkExact(lane(0, 3), 3, results(0, 1, 3), 3)).toThrow("P3: ticket 3 of t2 was never drawn");
    expect(() => checkExact(lane(0, 3), 4, results(0, 1), 2)).toThrow("P3: the record counts 3 tickets");
    expect(() => checkExact(lane(0, 3, 2), 2, results(0, 1), 2)).toThrow("P3: the index went from 3 back to 2");
  });

  it("P4: finds a task that ran at another agent than its ticket names", () => {
    const [first, second] = results(0, 1) as [TaskResult, TaskResult];
    expect(() => checkExact(lane(0, 3), 3, [first, { ...second, agent: "h-2" }], 2)).toThrow(
      "P4: ticket 1 of t1 was h-1's, and ran at h-2",
    );
  });
});
