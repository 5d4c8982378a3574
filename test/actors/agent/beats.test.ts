/** P6 as the heartbeat thread sees it, on a clock that the test moves. */
import { expect, test } from "vitest";
import { Beats } from "../../../src/actors/agent/beats.ts";
import { LoadBoard } from "../../../src/actors/agent/load-board.ts";
import { WorkTable, WorkTableReader } from "../../../src/actors/agent/work-table.ts";
import type { BusState } from "../../../src/bus/bus.ts";
import { decode } from "../../../src/bus/codec/codec.ts";
import { type Heartbeat, heartbeat } from "../../../src/protocols/host-messages.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const SUBJECT = "vgas.heartbeats.h";

/** A host whose main loop stands still unless `turns`. */
function hostOf() {
  const clock = new ManualClock();
  const board = new LoadBoard(1);
  const work = new WorkTableReader();
  const table = new WorkTable((memory) => work.addSegment(memory));
  let published: { readonly subject: string; readonly data: Uint8Array }[] = [];
  const bus = {
    state: "connected" as BusState,
    publish: (subject: string, data: Uint8Array) => void published.push({ subject, data }),
  };
  const group = { pool: "default", kinds: ["k"], first: 0, count: 1, slots: 1 };
  const host = { host: "h", run: "r", pid: 1, machine: "m", roles: [], groups: [group] };
  const beats = new Beats({ bus, clock, subject: SUBJECT, host, bornAt: -5_000, board, work });
  /** What is said after `ms`: the heartbeat, and the ack subjects that get `+WPI`. */
  const after = async (ms: number, { turns = false } = {}) => {
    await clock.advance(ms);
    if (turns) board.beat();
    published = [];
    beats.beat();
    const kept = published.filter(({ subject }) => subject !== SUBJECT);
    const beat = published.find(({ subject }) => subject === SUBJECT);
    expect(kept.every(({ data }) => Buffer.from(data).toString() === "+WPI")).toBe(true);
    return {
      kept: kept.map(({ subject }) => subject),
      beat: beat && (heartbeat.parse(decode(beat.data)) as Heartbeat),
    };
  };
  return { bus, board, table, after };
}

test("P6: a task is kept from a third of ack_wait on until two seconds past its deadline, however long the loop is blocked", async () => {
  const { table, after } = hostOf();
  table.add("$JS.ACK.t", 6_000);
  expect((await after(0)).kept).toEqual([]);
  expect((await after(3_000)).kept).toEqual([]);
  expect((await after(334)).kept).toEqual(["$JS.ACK.t"]);
  expect((await after(4_666)).kept).toEqual(["$JS.ACK.t"]);
  expect((await after(1)).kept).toEqual([]);
});

test("P6: a host is stalled only when its loop is blocked and a task is past its deadline and the grace", async () => {
  const blocked = hostOf();
  blocked.table.add("$JS.ACK.t", 1_000);
  expect((await blocked.after(0)).beat).toMatchObject({ stalled: false, lagMs: 0 });
  // Blocked, and before the end of the grace: it is busy.
  expect((await blocked.after(3_000)).beat).toMatchObject({ stalled: false, lagMs: 3_000 });
  expect((await blocked.after(1)).beat).toMatchObject({ stalled: true, lagMs: 3_001 });
  // The loop turns: the overdue behaviour ignores its signal, which is its own affair.
  expect((await blocked.after(1_000, { turns: true })).beat).toMatchObject({ stalled: false, lagMs: 0 });
  const idle = hostOf();
  await idle.after(0);
  expect((await idle.after(60_000)).beat).toMatchObject({ stalled: false, lagMs: 60_000 });
});

test("the sequence keeps up with the seconds of the run, through a pause, a cut and a restart of the thread", async () => {
  const { bus, after } = hostOf();
  expect((await after(0)).beat?.seq).toBe(5);
  // Several within a second grow all the same.
  expect((await after(0)).beat?.seq).toBe(6);
  expect((await after(10_000)).beat?.seq).toBe(15);
  bus.state = "disconnected";
  expect((await after(20_000)).beat).toBeUndefined();
  bus.state = "connected";
  expect((await after(0)).beat?.seq).toBe(35);
});

test("what runs is watched while the connection is down, and kept as soon as it is there again", async () => {
  const { bus, table, after } = hostOf();
  table.add("$JS.ACK.t", 60_000);
  bus.state = "disconnected";
  expect((await after(0)).kept).toEqual([]);
  expect((await after(5_000)).kept).toEqual([]);
  bus.state = "connected";
  expect((await after(0)).kept).toEqual(["$JS.ACK.t"]);
});

test("a heartbeat says what the board says", async () => {
  const { board, after } = hostOf();
  board.started();
  board.setRunning(0, 1);
  board.ended(true);
  board.drain();
  expect((await after(0)).beat).toMatchObject({ running: [1], draining: true, started: 1, failed: 1, finished: 0 });
});
