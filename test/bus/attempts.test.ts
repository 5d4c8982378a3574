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
  bucket = new KvBucket(bus, new Publisher(bus), names.buckets.attempts);
  log = new AttemptsLog(bucket, names);
  id = `t${tasks++}`;
});

const begin = (attempts: number): Promise<void> => log.write("p", id, { attempts });
const close = (execution: number, on = log): Promise<boolean> =>
  on.close("p", id, execution, { attempts: execution, ended: true });

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
    expect(await log.read("p", id)).toEqual({ v: 1, attempts: 1, ended: true });
    await begin(2);
    expect(await close(2)).toBe(true);
    expect(await log.read("p", id)).toEqual({ v: 1, attempts: 2, ended: true });
  });

  test("P1: an execution that ends late takes the place of no later one, so that none is run once more", async () => {
    await begin(2);
    expect(await close(1)).toBe(false);
    expect(await log.read("p", id)).toEqual({ v: 1, attempts: 2 });
    await begin(3);
    expect(await close(2)).toBe(false);
    expect(await log.read("p", id)).toEqual({ v: 1, attempts: 3 });
  });

  test("an answer that is lost is looked for, also when a later execution began meanwhile", async () => {
    expect(await close(1, losing(true))).toBe(true);
    expect(await close(1, losing(false))).toBe(true);
    expect(await log.read("p", id)).toEqual({ v: 1, attempts: 1, ended: true });
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
    expect(await log.read("p", id)).toEqual({ v: 1, attempts: 2 });
  });

  test("a record that was deleted or damaged counts as nothing", async () => {
    await begin(2);
    await bucket.delete(names.taskKey("p", id));
    expect(await log.read("p", id)).toBeUndefined();
    expect(await close(1)).toBe(true);
    await bucket.put(names.taskKey("p", id), new Uint8Array([0xc1]));
    expect(await log.read("p", id)).toBeUndefined();
    expect(await close(1)).toBe(true);
  });

  test("fails where the bucket does", async () => {
    const failing = logWith(() => Promise.reject(new VgasError("STREAM_FULL", "as ordered")));
    expect(await rejection(close(1, failing))).toMatchObject({ code: "STREAM_FULL" });
  });
});
