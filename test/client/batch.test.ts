import { expect, onTestFinished, test } from "vitest";
import { encode } from "../../src/bus/codec/codec.ts";
import { KvBucket } from "../../src/bus/kv.ts";
import { BatchRecords } from "../../src/client/batch-records.ts";
import type { TaskResult } from "../../src/protocols/result.ts";
import { TcpProxy } from "../support/proxy.ts";
import { rejection } from "../support/wait.ts";
import type { FakeSwarm } from "./fake-swarm.ts";
import { useClientRig } from "./rig.ts";

const { nats, swarm, client } = useClientRig();

const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

async function listOf(results: AsyncIterable<TaskResult>): Promise<TaskResult[]> {
  const list: TaskResult[] = [];
  for await (const result of results) list.push(result);
  return list;
}

function records(fake: FakeSwarm): BatchRecords {
  return new BatchRecords(new KvBucket(fake.bus, fake.publisher, fake.names.buckets.batches), fake.names);
}

test("a batch is an array of handles, and what is made of it is a plain one", async () => {
  const fake = await swarm();
  const user = await client(fake);
  const batch = await user.submitMany("echo", numbers(3));
  expect(batch).toHaveLength(3);
  expect(Array.isArray(batch)).toBe(true);
  const ids = batch.map(({ id }) => id);
  expect(ids.constructor).toBe(Array);
  expect(batch.filter(({ id }) => id === ids[1]).constructor).toBe(Array);
  expect({ id: batch.id, pool: batch.pool }).toEqual({ id: expect.stringMatching(/^b[\w-]{20}$/), pool: "default" });
});

test("one progress counts all tasks by what became of them, here and from another process", async () => {
  const fake = await swarm();
  const user = await client(fake);
  const batch = await user.submitMany("echo", numbers(250), { track: false });
  await batch.recorded;
  const other = await client(fake);
  const found = await other.batch("default", batch.id);
  expect(found.map(({ id, kind }) => [id, kind])).toEqual(batch.map(({ id }) => [id, "echo"]));
  const none = { total: 250, open: 250, ok: 0, failed: 0, cancelled: 0, expired: 0 };
  expect(await found.progress()).toEqual(none);
  const ends = ["ok", "ok", "failed", "cancelled", "expired"] as const;
  await Promise.all(ends.map((status, i) => fake.store(String(batch[i * 50]?.id), i, "default", status)));
  const some = { total: 250, open: 245, ok: 2, failed: 1, cancelled: 1, expired: 1 };
  expect(await found.progress()).toEqual(some);
  expect(await batch.progress()).toEqual(some);
  expect(await found.progress({ timeoutMs: 60_000 }), "what has ended stays ended").toEqual(some);
});

test("a batch of tasks with ids of their own, or a message each, is found again too", async () => {
  const fake = await swarm();
  const user = await client(fake);
  for (const array of [false, 2] as const) {
    const task = (_: number, i: number) => (i % 2 === 0 ? { id: `own${array}${i}` } : {});
    const batch = await user.submitMany("echo", numbers(5), { array, task });
    await batch.recorded;
    const found = await user.batch("default", batch.id);
    expect(found.map(({ id }) => id)).toEqual(batch.map(({ id }) => id));
    expect(found[2]?.id).toBe(`own${array}2`);
  }
});

test("a record larger than a message is kept in parts", async () => {
  const fake = await swarm();
  const ids = numbers(20_000).map((i) => `${i}`.padStart(60, "x"));
  const record = { kind: "echo", at: 1, array: true, messages: [{ sequence: 1, tasks: ids.length }], ids };
  await records(fake).write("default", "large", record);
  expect(await records(fake).read("default", "large")).toEqual({ kind: "echo", ids });
  const bucket = new KvBucket(fake.bus, fake.publisher, fake.names.buckets.batches);
  expect(await bucket.keys()).toHaveLength(3);
  await bucket.delete(fake.names.batchKey("default", "large", 2));
  expect(await rejection(records(fake).read("default", "large"))).toMatchObject({ code: "INTERNAL" });
  await bucket.put(fake.names.batchKey("default", "rubbish"), new Uint8Array([0xc1]));
  expect(await rejection(records(fake).read("default", "rubbish"))).toMatchObject({ code: "INTERNAL" });
});

test("results come as tasks end, each once, also to who attached later", async () => {
  const fake = await swarm();
  const user = await client(fake);
  const batch = await user.submitMany("echo", numbers(120), { array: 50 });
  await batch.recorded;
  const first = batch.results();
  await fake.offer("echo");
  const found = await (await client(fake)).batch("default", batch.id);
  for (const results of [await listOf(first), await listOf(found.results()), await listOf(batch.results())]) {
    expect(results.map(({ output }) => output).sort((a, b) => Number(a) - Number(b))).toEqual(numbers(120));
  }
  expect(await batch.progress()).toMatchObject({ total: 120, ok: 120, open: 0 });
  expect(await listOf((await user.submitMany("echo", [])).results())).toEqual([]);
});

test("waiting for a batch ends with ABORTED, TIMEOUT or the loop, and the tasks go on", async () => {
  const fake = await swarm();
  const user = await client(fake);
  const batch = await user.submitMany("echo", numbers(3));
  const aborted = { code: "ABORTED" };
  expect(await rejection(listOf(batch.results({ signal: AbortSignal.abort() })))).toMatchObject(aborted);
  expect(await rejection(batch.progress({ signal: AbortSignal.abort() }))).toMatchObject(aborted);
  expect(await rejection(listOf(batch.results({ timeoutMs: 1 })))).toMatchObject({
    code: "TIMEOUT",
    message: `waiting for the results of batch ${batch.id} timed out after 1 ms`,
  });
  for (const call of [() => listOf(batch.results({ timeoutMs: -1 })), () => batch.progress({ timeoutMs: -1 })])
    expect(await rejection(call())).toMatchObject({ code: "INVALID" });
  await fake.offer("echo");
  for await (const { status } of batch.results()) {
    expect(status).toBe("ok");
    break;
  }
  expect(await listOf(batch.results())).toHaveLength(3);
});

test("cancelling a batch asks for every task that has not ended", async () => {
  const fake = await swarm();
  const user = await client(fake);
  const batch = await user.submitMany("echo", numbers(100));
  expect(await rejection(batch.cancel())).toMatchObject({ code: "NO_SWARM" });
  await fake.store(String(batch[0]?.id), 1);
  await batch.progress();
  const asked: unknown[] = [];
  await fake.answers(fake.names.cancel("default", "*"), (question, { subject }) => {
    asked.push(question);
    return { id: subject.split(".").at(-1), state: asked.length <= 40 ? "cancelled" : "running" };
  });
  const counts = { cancelled: 40, cancelling: 0, finished: 1, running: 59, unknown: 0 };
  expect(await batch.cancel({ onlyWaiting: true })).toEqual(counts);
  expect(asked).toHaveLength(99);
  expect(asked[0]).toEqual({ kind: "echo", waiting: true });
  expect(await rejection(batch.cancel({ signal: AbortSignal.abort() }))).toMatchObject({ code: "ABORTED" });
});

test("a batch that there is not, or no more, is NOT_FOUND, and a name that is none INVALID", async () => {
  const fake = await swarm();
  const user = await client(fake);
  const single = await user.submitMany("echo", [1]);
  await single.recorded;
  for (const id of ["nothing", single.id])
    expect(await rejection(user.batch("default", id))).toMatchObject({ code: "NOT_FOUND" });
  expect(await rejection(user.batch("default", "a.b"))).toMatchObject({ code: "INVALID" });
  expect(await rejection(user.batch("default", "b", { signal: AbortSignal.abort() }))).toMatchObject({
    code: "ABORTED",
  });
});

test("a batch outlives a lost connection: it is recorded, found, counted and awaited", async () => {
  const fake = await swarm();
  const proxy = await TcpProxy.to(nats.port);
  onTestFinished(() => proxy.close());
  const user = await client(fake, { url: proxy.url });
  proxy.cut();
  const batch = await user.submitMany("echo", numbers(50), { array: 10 });
  proxy.cut();
  await batch.recorded;
  proxy.cut();
  const found = await user.batch("default", batch.id);
  const results = listOf(found.results());
  proxy.cut();
  expect(await found.progress({ timeoutMs: 60_000 })).toMatchObject({ total: 50, open: 50 });
  proxy.cut();
  await fake.offer("echo");
  expect(await results).toHaveLength(50);
});

test("P9: what is kept of a batch and is no record of one is INTERNAL, however many tasks it claims", async () => {
  const fake = await swarm();
  const user = await client(fake);
  const bucket = new KvBucket(fake.bus, fake.publisher, fake.names.buckets.batches);
  const rubbish = ["1+999999999999", "1+1000000 2+1000001", "x+1", "1", "1+1+1", "-1+1", "1+0.5", "", " "];
  for (const messages of rubbish) {
    const data = encode({ kind: "echo", at: 0, array: true, messages });
    await bucket.put(fake.names.batchKey("default", "rubbish"), encode({ v: 1, parts: 1, data }));
    expect(await rejection(user.batch("default", "rubbish")), messages).toMatchObject({ code: "INTERNAL" });
  }
});
