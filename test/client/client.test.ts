import { expect, onTestFinished, test } from "vitest";
import { encode } from "../../src/bus/codec/codec.ts";
import { KvBucket } from "../../src/bus/kv.ts";
import { streamInfo } from "../../src/bus/topology.ts";
import type { ClientOptions } from "../../src/client/connect-to-swarm.ts";
import { PartialSubmitError } from "../../src/client/many-tasks.ts";
import type { SubmitOptions } from "../../src/client/submit-options.ts";
import { MAX_BODY_BYTES } from "../../src/client/task-message.ts";
import { type Client, connect } from "../../src/client.ts";
import type { TaskResult } from "../../src/protocols/result.ts";
import { objectStream } from "../../src/protocols/subjects.ts";
import { heartbeatOf } from "../support/heartbeat.ts";
import { holdTimers } from "../support/held-timers.ts";
import { startBroker, temporaryDirectory, temporaryHome } from "../support/home.ts";
import { freePort, useNats } from "../support/nats.ts";
import { TcpProxy } from "../support/proxy.ts";
import { rejection, until } from "../support/wait.ts";
import { FakeSwarm } from "./fake-swarm.ts";

const nats = useNats();
let swarms = 0;
/** For so long a client listens to who offers a kind. */
const LISTEN_MS = 1_300;

/** A swarm with streams of its own, for each test. */
async function swarm(
  options: Parameters<typeof FakeSwarm.start>[1] = {},
): Promise<{ fake: FakeSwarm; prefix: string }> {
  const prefix = `swarm${swarms++}`;
  return { fake: await FakeSwarm.start(nats, { prefix, ...options }), prefix };
}

async function client(options: ClientOptions): Promise<Client> {
  const made = await connect(options.home === undefined ? { url: nats.url, ...options } : options);
  onTestFinished(() => made.close());
  return made;
}

async function listOf(results: AsyncIterable<TaskResult>): Promise<TaskResult[]> {
  const list: TaskResult[] = [];
  for await (const result of results) list.push(result);
  return list;
}

test("a task gets its automatic id from the sequence under which it is stored, and its result", async () => {
  const { fake, prefix } = await swarm();
  await fake.offer("echo");
  const user = await client({ prefix });
  const task = await user.submit("echo", { hello: "world" });
  expect(task.id).toMatch(/^s\d+$/);
  expect({ pool: task.pool, kind: task.kind }).toEqual({ pool: "default", kind: "echo" });
  const result = await task.result();
  expect(result).toMatchObject({ id: task.id, status: "ok", output: { hello: "world" } });
  expect(await task.result(), "asked again").toBe(result);
});

test("every field of a task reaches the swarm, and what is not given is left out", async () => {
  const { fake, prefix } = await swarm();
  await fake.offer("echo");
  const user = await client({ prefix });
  const options = {
    id: "mine",
    context: [1],
    timeoutMs: 5,
    expiresMs: 60_000,
    maxAttempts: 1,
    extra: { colour: "red" },
  };
  const task = await user.submit("echo", 1, options);
  expect(task.id).toBe("mine");
  await task.result();
  const { replyTo, ...fields } = fake.taken[0]?.fields ?? {};
  expect(replyTo).toMatch(/^_INBOX\.client\./);
  const { extra, ...rest } = options;
  expect(fields).toEqual({ ...rest, ...extra, input: 1 });
  const bare = await user.submit("echo", undefined, { track: false });
  await bare.result();
  expect(fake.taken[1]?.fields).toEqual({});
});

test("many inputs become arrays of a hundred, and each task has its own id, in order", async () => {
  const { fake, prefix } = await swarm();
  const user = await client({ prefix });
  const tasks = await user.submitMany(
    "echo",
    Array.from({ length: 250 }, (_, i) => i),
  );
  expect(await fake.queued()).toBe(3);
  await fake.offer("echo");
  const results = await Promise.all(tasks.map((task) => task.result()));
  expect(results.map(({ output }) => output)).toEqual(Array.from({ length: 250 }, (_, i) => i));
  expect(results.map(({ id }) => id)).toEqual(tasks.map(({ id }) => id));
  expect(tasks[249]?.id).toMatch(/^s\d+-49$/);
});

test("many inputs can have a message each, and fields of their own", async () => {
  const { fake, prefix } = await swarm();
  const user = await client({ prefix });
  const tasks = await user.submitMany("echo", new Set(["a", "b", "c"]), {
    array: false,
    maxAttempts: 1,
    task: (input, i) => ({ id: `${input}${i}` }),
  });
  expect(await fake.queued()).toBe(3);
  expect(tasks.map(({ id }) => id)).toEqual(["a0", "b1", "c2"]);
  await fake.offer("echo");
  await Promise.all(tasks.map((task) => task.result()));
  expect(fake.taken.map(({ fields }) => fields["maxAttempts"])).toEqual([1, 1, 1]);
  expect(await user.submitMany("echo", [])).toEqual([]);
});

test("an array is split where it would not fit into a message", async () => {
  const { fake, prefix } = await swarm();
  const user = await client({ prefix });
  const input = new Uint8Array(400_000);
  const tasks = await user.submitMany("echo", [input, input, input, input, input]);
  expect(await fake.queued()).toBe(3);
  await fake.offer("echo");
  const results = await Promise.all(tasks.map((task) => task.result()));
  expect(results.map(({ output }) => (output as Uint8Array).length)).toEqual([
    400_000, 400_000, 400_000, 400_000, 400_000,
  ]);
});

test("what only fits in part is told with the handles of what was stored", async () => {
  const { fake, prefix } = await swarm({ topology: { maxTaskBytes: 500_000 } });
  const user = await client({ prefix });
  const input = new Uint8Array(200_000);
  const error = await rejection(user.submitMany("echo", [input, input, input, input], { array: false }));
  expect(error).toBeInstanceOf(PartialSubmitError);
  const { code, message, handles } = error as PartialSubmitError;
  expect(code).toBe("STREAM_FULL");
  expect(message).toMatch(/^2 of 4 tasks were stored, then: /);
  expect(handles.map((handle) => handle !== undefined)).toEqual([true, true, false, false]);
  await fake.offer("echo");
  expect(await handles[0]?.result()).toMatchObject({ status: "ok" });
});

test("a largest task is taken as it is, and one of a byte more goes by the object store", async () => {
  const { fake, prefix } = await swarm();
  const user = await client({ prefix });
  const overhead = encode({ input: new Uint8Array(70_000) }).length - 70_000;
  const largest = MAX_BODY_BYTES - overhead;
  await user.submit("echo", new Uint8Array(largest), { track: false, msgId: "m".repeat(128) });
  await user.submitMany("echo", [new Uint8Array(largest)], { track: false });
  expect(await fake.queued()).toBe(2);
  expect((await streamInfo(fake.bus, objectStream(fake.names.objectStores.inputs)))?.messages).toBe(0);
  await user.submit("echo", new Uint8Array(largest + 1), { track: false });
  expect(await fake.queued()).toBe(3);
  expect((await streamInfo(fake.bus, objectStream(fake.names.objectStores.inputs)))?.messages).toBeGreaterThan(1);
});

test("what the contract does not allow is INVALID before anything is sent, and names the field", async () => {
  const { fake, prefix } = await swarm();
  const user = await client({ prefix });
  const wrong: readonly [field: string, kind: string, input: unknown, options: SubmitOptions][] = [
    ["kind", "a.b", 1, {}],
    ["kind", "", 1, {}],
    ["kind", ">", 1, {}],
    ["pool", "echo", 1, { pool: "a b" }],
    ["id", "echo", 1, { id: "s123" }],
    ["id", "echo", 1, { id: "s123-4" }],
    ["id", "echo", 1, { id: "a/b" }],
    ["timeoutMs", "echo", 1, { timeoutMs: 0 }],
    ["timeoutMs", "echo", 1, { timeoutMs: 86_400_001 }],
    ["expiresMs", "echo", 1, { expiresMs: 1.5 }],
    ["maxAttempts", "echo", 1, { maxAttempts: 101 }],
    ["extra", "echo", 1, { extra: { input: 2 } }],
    ["msgId", "echo", 1, { msgId: "a\r\nb" }],
    ["encoded", "echo", () => 1, {}],
    ["encoded", "echo", 1, { context: Symbol("x") }],
  ];
  for (const [field, kind, input, options] of wrong) {
    const error = await rejection(user.submit(kind, input, options));
    expect(error, `${field} ${JSON.stringify(options)}`).toMatchObject({ code: "INVALID" });
    expect((error as Error).message).toContain(field);
  }
  const many = await rejection(user.submitMany("echo", [1, 2, () => 3], { array: 1 }));
  expect(many).toMatchObject({ code: "INVALID", message: expect.stringContaining("task 2: ") });
  for (const array of [0, 1.5, 10_001]) {
    expect(await rejection(user.submitMany("echo", [1], { array }))).toMatchObject({ code: "INVALID" });
  }
  expect(() => user.handle("default", "a.b")).toThrow(expect.objectContaining({ code: "INVALID" }));
  expect(await fake.queued()).toBe(0);
});

test("the same message id is stored once, and both handles get the one result", async () => {
  const { fake, prefix } = await swarm();
  const user = await client({ prefix });
  const first = await user.submit("echo", 1, { msgId: "order-7" });
  const second = await user.submit("echo", 1, { msgId: "order-7" });
  expect(second.id).toBe(first.id);
  expect(await fake.queued()).toBe(1);
  const waiting = [first.result(), second.result()];
  await fake.offer("echo");
  expect((await Promise.all(waiting)).map(({ id }) => id)).toEqual([first.id, first.id]);
});

test("a handle without an answer of its own finds results stored before and after it is asked", async () => {
  const { fake, prefix } = await swarm();
  await fake.store("early", 1);
  const user = await client({ prefix });
  expect(await user.handle("default", "early").result()).toMatchObject({ output: 1 });
  const late = user.handle("default", "late").result();
  await fake.store("late", 2);
  expect(await late).toMatchObject({ output: 2 });
});

test("waiting ends with TIMEOUT or ABORTED, and can be taken up again", async () => {
  const { fake, prefix } = await swarm();
  const user = await client({ prefix });
  for (const task of [await user.submit("answered", 1), await user.submit("stored", 1, { track: false })]) {
    const late = await rejection(task.result({ timeoutMs: 1 }));
    expect(late).toMatchObject({
      code: "TIMEOUT",
      message: `waiting for the result of ${task.id} timed out after 1 ms`,
    });
    const cause = new Error("enough");
    expect(await rejection(task.result({ signal: AbortSignal.abort(cause) }))).toMatchObject({
      code: "ABORTED",
      cause,
    });
    const controller = new AbortController();
    const waiting = rejection(task.result({ signal: controller.signal }));
    controller.abort();
    expect(await waiting).toMatchObject({ code: "ABORTED" });
    expect(await rejection(task.result({ timeoutMs: -1 }))).toMatchObject({ code: "INVALID" });
    const again = task.result();
    await fake.offer(task.kind ?? "");
    expect(await again).toMatchObject({ id: task.id });
  }
  const aborted = user.submit("echo", 1, { signal: AbortSignal.abort() });
  expect(await rejection(aborted)).toMatchObject({ code: "ABORTED" });
});

test("a result that came while the client was cut off is there when it is back, and submissions go on", async () => {
  const { fake, prefix } = await swarm();
  const proxy = await TcpProxy.to(nats.port);
  onTestFinished(() => proxy.close());
  const user = await client({ url: proxy.url, prefix });
  const task = await user.submit("echo", "before");
  const result = task.result();
  proxy.cut();
  const during = user.submit("echo", "during");
  fake.replies = false;
  await fake.offer("echo");
  await until(() => fake.taken.length > 0);
  expect(await result).toMatchObject({ output: "before" });
  fake.replies = true;
  expect(await (await during).result()).toMatchObject({ output: "during" });
});

test("a submission whose acknowledgement was lost is sent again, and stored once", async () => {
  const { fake, prefix } = await swarm();
  const proxy = await TcpProxy.to(nats.port);
  onTestFinished(() => proxy.close());
  const user = await client({ url: proxy.url, prefix });
  proxy.deaf = true;
  const struck = proxy.nextDrop(`"stream":"${fake.names.streams.tasks}"`);
  const submitted = user.submit("echo", 1);
  await struck;
  proxy.deaf = false;
  proxy.cut();
  const task = await submitted;
  expect(await fake.queued()).toBe(1);
  await fake.offer("echo");
  expect(await task.result()).toMatchObject({ id: task.id, output: 1 });
});

test("stored results come in order, once each, also to a reader slower than the stream", async () => {
  const { fake, prefix } = await swarm();
  const ids = Array.from({ length: 2_500 }, (_, i) => `r${i}`);
  await Promise.all(ids.map((id, i) => fake.store(id, i)));
  await fake.store("elsewhere", 0, "other");
  const user = await client({ prefix });
  expect((await listOf(user.results({ pool: "default" }))).map(({ id }) => id)).toEqual(ids);
  expect(await listOf(user.results())).toHaveLength(2_501);
  expect((await listOf(user.results({ pool: "other" }))).map(({ id }) => id)).toEqual(["elsewhere"]);
  expect(await listOf(user.results({ pool: "empty" }))).toEqual([]);
  expect(() => user.results({ pool: "a.b" })).toThrow(expect.objectContaining({ code: "INVALID" }));
});

test("results are followed until the reader leaves, gives up, or the client closes", async () => {
  const { fake, prefix } = await swarm();
  await fake.store("a", 1);
  const user = await client({ prefix });
  const seen: string[] = [];
  for await (const { id } of user.results({ follow: true })) {
    seen.push(id);
    if (id === "a") await fake.store("b", 2);
    if (id === "b") break;
  }
  expect(seen).toEqual(["a", "b"]);
  const controller = new AbortController();
  const following = rejection(listOf(user.results({ follow: true, signal: controller.signal })));
  controller.abort();
  expect(await following).toMatchObject({ code: "ABORTED" });
  const cut = rejection(listOf(user.results({ follow: true })));
  await user.close();
  expect(await cut).toMatchObject({ code: "SHUTTING_DOWN" });
});

test("a kind is offered when the roster names an agent, or a host that is new says so", async () => {
  const { fake, prefix } = await swarm();
  const user = await client({ prefix });
  const rotation = new KvBucket(fake.bus, fake.publisher, fake.names.buckets.rotation);
  const range = { host: "h1", run: "r1", first: 0, count: 2, slots: 1 };
  await rotation.put(fake.names.rosterKey({ pool: "default", kind: "known" }), encode({ v: 1, ranges: [range] }));
  await rotation.put(fake.names.rosterKey({ pool: "default", kind: "empty" }), encode({ v: 1, ranges: [] }));
  expect(await user.offered("default", "known")).toBe(true);
  expect(await user.offered("default", "empty")).toBe(false);
  expect(await user.offered("other", "known")).toBe(false);
  const heartbeat = heartbeatOf({
    host: "h2",
    groups: [{ pool: "default", kinds: ["new"], first: 0, count: 1, slots: 1 }],
  });
  const beat = setInterval(() => fake.bus.publish(fake.names.heartbeat("h2"), encode(heartbeat)), 20);
  onTestFinished(() => clearInterval(beat));
  // It listens until the heartbeat has come.
  holdTimers(LISTEN_MS);
  expect(await user.offered("default", "new")).toBe(true);
  const aborted = user.offered("default", "nothing", { signal: AbortSignal.abort() });
  expect(await rejection(aborted)).toMatchObject({ code: "ABORTED" });
  expect(await rejection(user.offered("default", "a.b"))).toMatchObject({ code: "INVALID" });
});

test("closing is idempotent, stores what was submitted, and fails what still waits", async () => {
  const { fake, prefix } = await swarm();
  const user = await connect({ url: nats.url, prefix });
  const task = await user.submit("echo", 1);
  const waiting = rejection(task.result());
  const submitted = user.submit("echo", 2);
  await Promise.all([user.close(), user.close()]);
  expect(await waiting).toMatchObject({ code: "SHUTTING_DOWN" });
  expect((await submitted).id).toMatch(/^s\d+$/);
  expect(await fake.queued()).toBe(2);
  expect(await rejection(user.submit("echo", 3))).toMatchObject({ code: "SHUTTING_DOWN" });
  expect(await rejection(user.handle("default", "x").result())).toMatchObject({ code: "SHUTTING_DOWN" });
});

test("no swarm is said at once, with what to do", async () => {
  const dir = await temporaryDirectory();
  const port = await freePort();
  for (const options of [{ home: dir }, { home: `${dir}/none` }, { url: `nats://127.0.0.1:${port}` }]) {
    expect(await rejection(connect(options))).toMatchObject({
      code: "NO_SWARM",
      message: expect.stringContaining("vgas up"),
    });
  }
  const user = await client({ prefix: "nobody" });
  expect(await rejection(user.submit("echo", 1))).toMatchObject({ code: "NO_SWARM" });
  expect(await rejection(listOf(user.results()))).toMatchObject({ code: "NO_SWARM" });
  expect(await rejection(user.offered("default", "echo"))).toMatchObject({ code: "NO_SWARM" });
  expect(await rejection(connect({ url: nats.url, signal: AbortSignal.abort() }))).toMatchObject({ code: "ABORTED" });
});

test("a home is enough to reach its swarm, with the client's credential and the home's own prefix", async () => {
  const home = await temporaryHome("own");
  await startBroker(home);
  const user = await client({ home: home.dir });
  expect(await rejection(user.submit("echo", 1))).toMatchObject({
    code: "NO_SWARM",
    message: expect.stringContaining("own.tasks.default.echo"),
  });
});
