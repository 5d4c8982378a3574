/** The records of executions on a real bucket: what comes late takes the place of nothing that is later. */
import { beforeEach, describe, expect, test } from "vitest";
import { AttemptsLog } from "../../src/bus/attempts.ts";
import { KvBucket } from "../../src/bus/kv.ts";
import { Publisher } from "../../src/bus/publisher.ts";
import { ensureTopology } from "../../src/bus/topology.ts";
import { VgasError } from "../../src/protocols/errors.ts";
import { TOPOLOGY_DEFAULTS } from "../../src/protocols/streams.ts";
import { Names } from "../../src/protocols/subjects.ts";
import { useNats } from "../support/nats.ts";
import { PATIENT } from "../support/publishers.ts";
import { rejection } from "../support/wait.ts";

const nats = useNats();
const names = new Names("attempts");
let bucket: KvBucket;
let log: AttemptsLog;
let id = "";
let tasks = 0;

beforeEach(async () => {
  const bus = await nats.bus();
  await ensureTopology(bus, names, TOPOLOGY_DEFAULTS);
  bucket = new KvBucket(bus, new Publisher(bus, PATIENT), names.buckets.attempts);
  log = new AttemptsLog(bucket, names);
  id = `t${tasks++}`;
});

const begin = (attempts: number): Promise<void> => log.write("p", { id }, { attempts });
const close = (execution: number, on = log): Promise<boolean> =>
  on.close("p", { id }, execution, { attempts: execution, ended: true });

/** The log on the bucket, with other swaps. */
function logWith(cas: KvBucket["cas"]): AttemptsLog {
  return new AttemptsLog({ getEntry: (key: string) => bucket.getEntry(key), cas } as unknown as KvBucket, names);
}

/** The log on a bucket whose next write is applied, or not, and its answer lost. */
function losing(applied: boolean, meanwhile: () => Promise<unknown> = async () => undefined): AttemptsLog {
  let struck = false;
  return logWith(async (...parameters) => {
    if (struck) return await bucket.cas(...parameters);
    struck = true;
    if (applied) await bucket.cas(...parameters);
    await meanwhile();
    throw new VgasError("TIMEOUT", "as ordered");
  });
}

describe("AttemptsLog", () => {
  test("what became of an execution is recorded, also where nothing was", async () => {
    expect(await close(1)).toBe(true);
    expect(await log.read("p", { id })).toEqual({ v: 1, attempts: 1, ended: true });
    await begin(2);
    expect(await close(2)).toBe(true);
    expect(await log.read("p", { id })).toEqual({ v: 1, attempts: 2, ended: true });
  });

  test("P1: an execution that ends late takes the place of no later one, so that none is run once more", async () => {
    await begin(2);
    expect(await close(1)).toBe(false);
    expect(await log.read("p", { id })).toEqual({ v: 1, attempts: 2 });
    await begin(3);
    expect(await close(2)).toBe(false);
    expect(await log.read("p", { id })).toEqual({ v: 1, attempts: 3 });
  });

  test("an answer that is lost is looked for, also when a later execution began meanwhile", async () => {
    expect(await close(1, losing(true))).toBe(true);
    expect(await close(1, losing(false))).toBe(true);
    expect(await log.read("p", { id })).toEqual({ v: 1, attempts: 1, ended: true });
    expect(
      await close(
        1,
        losing(false, () => begin(2)),
      ),
    ).toBe(false);
    expect(
      await close(
        1,
        losing(true, () => begin(2)),
      ),
    ).toBe(false);
    expect(await log.read("p", { id })).toEqual({ v: 1, attempts: 2 });
  });

  test("a record that was deleted or damaged counts as nothing", async () => {
    await begin(2);
    await bucket.delete(names.taskKey("p", id));
    expect(await log.read("p", { id })).toBeUndefined();
    expect(await close(1)).toBe(true);
    await bucket.put(names.taskKey("p", id), new Uint8Array([0xc1]));
    expect(await log.read("p", { id })).toBeUndefined();
    expect(await close(1)).toBe(true);
  });

  test("an id that is used again after its result is gone begins anew, and of several that are open at once each is counted for itself", async () => {
    const [first, second, third, fourth] = [5_000, 9_000, 7_000, 8_000].map((submittedAt) => ({ id, submittedAt }));
    if (!first || !second || !third || !fourth) throw new Error("there are four");
    await log.write("p", first, { attempts: 3 });
    expect(await log.read("p", first)).toEqual({ v: 1, attempts: 3, submittedAt: 5_000 });
    // Whoever does not know when it was submitted counts it.
    expect(await log.read("p", { id })).toMatchObject({ attempts: 3 });
    expect(await log.readRevision("p", second)).toMatchObject({ record: undefined, others: [{ attempts: 3 }] });
    expect(await log.close("p", second, 1, { attempts: 1, ended: true })).toBe(true);
    expect(await log.read("p", second)).toEqual({ v: 1, attempts: 1, ended: true, submittedAt: 9_000 });
    expect(await log.read("p", first)).toEqual({ v: 1, attempts: 3, submittedAt: 5_000 });
    // Neither can say of the other that it is over.
    expect(await log.close("p", first, 2, { attempts: 2, ended: true })).toBe(false);
    const start = { attempts: 4, by: "n" };
    expect(await log.follow("p", first, start, await log.readRevision("p", first))).toBeGreaterThan(0);
    await log.write("p", third, { attempts: 0, ended: true });
    expect(await log.read("p", first)).toMatchObject({ attempts: 4 });
    expect(await log.read("p", second)).toMatchObject({ attempts: 1 });
    // The last few are kept.
    await log.write("p", fourth, { attempts: 1 });
    expect(await log.read("p", second)).toBeUndefined();
    expect((await log.readRevision("p", fourth)).others).toHaveLength(2);
  });

  test("fails where the bucket does", async () => {
    const failing = logWith(() => Promise.reject(new VgasError("STREAM_FULL", "as ordered")));
    expect(await rejection(close(1, failing))).toMatchObject({ code: "STREAM_FULL" });
  });
});
