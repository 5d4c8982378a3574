/** P1: a task is acknowledged after its result is stored, and never before. */
import { expect, test } from "vitest";
import { Outcomes, type OutcomesOptions } from "../../../src/actors/agent/outcomes.ts";
import type { Run } from "../../../src/actors/agent/run.ts";
import { encode } from "../../../src/bus/codec/codec.ts";
import type { StoreCallback } from "../../../src/bus/results.ts";
import { LaneMeter } from "../../../src/metrics/lane-meters.ts";
import { TaskError, VgasError } from "../../../src/protocols/errors.ts";
import { silentLogger } from "../../../src/protocols/logger.ts";
import type { ObjectRef } from "../../../src/protocols/result.ts";
import { Names } from "../../../src/protocols/subjects.ts";
import { ManualClock, turns } from "../../support/manual-clock.ts";

const ACK = "$JS.ACK.t";

/** Outcomes of one host whose stores are answered by the test. */
function outcomes() {
  const told: string[] = [];
  const settled: string[] = [];
  const stores: StoreCallback[] = [];
  const letters: ((error?: VgasError) => void)[] = [];
  const writes: ((written: boolean | Error) => void)[] = [];
  const dropped: unknown[] = [];
  const options = {
    bus: {
      state: "connected",
      maxPayload: 1_048_576,
      publish: (subject: string, data: Uint8Array) => {
        if (subject === ACK) told.push(Buffer.from(data).toString());
      },
    },
    publisher: {
      send: (_: string, __: Uint8Array, ___: unknown, done: (error?: VgasError) => void) => void letters.push(done),
    },
    results: {
      store: (_: string, __: string, ___: Uint8Array, ____: unknown, done: StoreCallback) => void stores.push(done),
    },
    attempts: {
      close: () =>
        new Promise<boolean>((resolve, reject) => {
          writes.push((written) => (typeof written === "boolean" ? resolve(written) : reject(written)));
        }),
    },
    objects: { putOutput: async () => ({ name: "o" }), dropOutput: ({ name }: ObjectRef) => void dropped.push(name) },
    ...{ names: new Names(), hostId: "h", clock: new ManualClock(), random: Math.random, logger: silentLogger },
    settled: (_: Run, next: string) => void settled.push(next),
  };
  return {
    told,
    settled,
    stores,
    letters,
    writes,
    dropped,
    outcomes: new Outcomes(options as unknown as OutcomesOptions),
  };
}

function runOf(fields: Partial<Run> = {}): Run {
  const lane = { pool: "default", kind: "k" };
  return {
    ...{ id: "t", lane, attempt: 1, maxAttempts: 1, ack: ACK, agent: 0, ticket: 0, submittedAt: 0, startedAt: 1 },
    ...{ encoding: "msgpack", body: encode({}), meter: new LaneMeter(lane), lost: false, cancelled: false },
    backoff: { initialMs: 1_000, factor: 2, maxMs: 1_000, jitter: 0 },
    ...fields,
  } as unknown as Run;
}

const OK = { ok: true, output: 1 } as const;
const failed = (retryable: boolean) => ({ ok: false, thrown: new TaskError("NO", "no", { retryable }) }) as const;

test.each(["stored", "already"] as const)(
  "a task is acknowledged when its result is stored, not before: %s",
  (outcome) => {
    const { outcomes: host, stores, told, settled } = outcomes();
    host.settle(runOf(), OK);
    expect([told, settled, host.open]).toEqual([[], [], 1]);
    stores[0]?.(undefined, outcome);
    expect([told, settled, host.open]).toEqual([["+ACK"], ["done"], 0]);
  },
);

test("a task whose result cannot be stored is left for its message to come back; an element's dispatcher is told", () => {
  const { outcomes: host, stores, told, settled } = outcomes();
  host.settle(runOf(), OK);
  stores[0]?.(new VgasError("SHUTTING_DOWN", "the node stops"), undefined);
  host.settle(runOf({ ack: "" }), OK);
  stores[1]?.(new VgasError("SHUTTING_DOWN", "the node stops"), undefined);
  expect([told, settled]).toEqual([[], ["done", "again"]]);
});

test.each([
  ["stored", undefined, []],
  [undefined, "SHUTTING_DOWN", []],
  ["already", undefined, ["o"]],
  [undefined, "TOO_LARGE", ["o"]],
] as const)(
  "P1: a large output is dropped only where no result names it: %s %s",
  async (outcome, refusal, expected) => {
    const { outcomes: host, stores, dropped } = outcomes();
    host.settle(runOf(), { ok: true, output: new Uint8Array(2 ** 20) });
    await turns();
    stores[0]?.(refusal && new VgasError(refusal, "not told to be stored"), outcome);
    expect(dropped).toEqual(expected);
  },
);

test("what failed for good is acknowledged after its result and its dead letter", () => {
  const { outcomes: host, stores, letters, told, settled } = outcomes();
  host.settle(runOf(), failed(false));
  expect(letters).toEqual([]);
  stores[0]?.(undefined, "stored");
  expect([told, settled]).toEqual([[], []]);
  letters[0]?.();
  expect([told, settled]).toEqual([["+ACK"], ["done"]]);
});

test("an attempt that is repeated is recorded before its task is given back", async () => {
  const { outcomes: host, writes, told, settled } = outcomes();
  host.settle(runOf({ maxAttempts: 2 }), failed(true));
  await turns();
  expect([told, settled]).toEqual([[], []]);
  writes[0]?.(true);
  await turns();
  expect([told, settled]).toEqual([['-NAK {"delay":1000000000}'], ["done"]]);
});

test("one that was overtaken, or that cannot be recorded, is not given back", async () => {
  const { outcomes: host, writes, told, settled } = outcomes();
  for (const written of [false, new VgasError("TIMEOUT", "no answer")]) {
    host.settle(runOf({ maxAttempts: 2 }), failed(true));
    await turns();
    writes.pop()?.(written);
    await turns();
  }
  expect([told, settled]).toEqual([[], ["done", "done"]]);
});

test("P6: an attempt that ended after the grace gives nothing back: its task may be running elsewhere", async () => {
  const { outcomes: host, writes, told, settled } = outcomes();
  host.settle(runOf({ maxAttempts: 2, lost: true }), failed(true));
  host.settle(runOf({ maxAttempts: 2, lost: true, ack: "" }), failed(true));
  await turns();
  expect([told, writes, settled]).toEqual([[], [], ["done", "again"]]);
});
