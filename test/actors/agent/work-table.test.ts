import { describe, expect, it } from "vitest";
import { WorkTable, WorkTableReader } from "../../../src/actors/agent/work-table.ts";

function tables(): { readonly table: WorkTable; readonly reader: WorkTableReader } {
  const reader = new WorkTableReader();
  return { table: new WorkTable((memory) => reader.addSegment(memory)), reader };
}

const MIN_AGE_MS = 3_000;
const GRACE_MS = 2_000;

describe("WorkTable", () => {
  it("P6: shows a task once it is old enough, until it is past its deadline and the grace", () => {
    const { table, reader } = tables();
    table.add("$JS.ACK.a", 10_000);
    expect(reader.look(0, MIN_AGE_MS, GRACE_MS)).toEqual({ alive: [], overdue: false });
    expect(reader.look(3_000, MIN_AGE_MS, GRACE_MS)).toEqual({ alive: ["$JS.ACK.a"], overdue: false });
    expect(reader.look(12_000, MIN_AGE_MS, GRACE_MS)).toEqual({ alive: ["$JS.ACK.a"], overdue: false });
    expect(reader.look(12_001, MIN_AGE_MS, GRACE_MS)).toEqual({ alive: [], overdue: true });
  });

  it("shows nothing of a task that was released, and takes its successor in the entry for a new one", () => {
    const { table, reader } = tables();
    const first = table.add("$JS.ACK.first", 60_000);
    reader.look(0, MIN_AGE_MS, GRACE_MS);
    table.release(first);
    expect(reader.look(5_000, MIN_AGE_MS, GRACE_MS).alive).toEqual([]);
    expect(table.add("$JS.ACK.second", 60_000)).toBe(first);
    expect(reader.look(6_000, MIN_AGE_MS, GRACE_MS).alive).toEqual([]);
    expect(reader.look(9_000, MIN_AGE_MS, GRACE_MS).alive).toEqual(["$JS.ACK.second"]);
  });

  it("keeps a task alive for as long as its result waits to be stored", () => {
    const { table, reader } = tables();
    const entry = table.add("$JS.ACK.a", 1_000);
    reader.look(0, MIN_AGE_MS, GRACE_MS);
    table.keep(entry);
    expect(reader.look(1e9, MIN_AGE_MS, GRACE_MS)).toEqual({ alive: ["$JS.ACK.a"], overdue: false });
  });

  it("P6: watches the deadline of an array element, which its dispatcher keeps alive", () => {
    const { table, reader } = tables();
    table.add("", 1_000);
    expect(reader.look(0, MIN_AGE_MS, GRACE_MS)).toEqual({ alive: [], overdue: false });
    expect(reader.look(3_000, 0, GRACE_MS)).toEqual({ alive: [], overdue: false });
    expect(reader.look(3_001, 0, GRACE_MS)).toEqual({ alive: [], overdue: true });
  });

  it("grows with the tasks, and names no ack subject that does not fit", () => {
    const { table, reader } = tables();
    for (let i = 0; i < 3_000; i++) table.add(`$JS.ACK.${i}`, 60_000);
    table.add("x".repeat(600), 60_000);
    reader.look(0, MIN_AGE_MS, GRACE_MS);
    const { alive } = reader.look(MIN_AGE_MS, MIN_AGE_MS, GRACE_MS);
    expect(new Set(alive)).toEqual(new Set(Array.from({ length: 3_000 }, (_, i) => `$JS.ACK.${i}`)));
  });
});
