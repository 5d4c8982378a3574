import { expect, onTestFinished, test } from "vitest";
import { GuestGate } from "../../src/actors/guests/gate.ts";
import { subjectCounts } from "../../src/bus/subject-counts.ts";
import { PartialSubmitError } from "../../src/client/many-tasks.ts";
import { Client, connect } from "../../src/client.ts";
import { silentLogger } from "../../src/protocols/logger.ts";
import { useGuestSwarm } from "../support/guests.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { TcpProxy } from "../support/proxy.ts";
import { rejection, until } from "../support/wait.ts";
import { FakeSwarm } from "./fake-swarm.ts";

const ANN = "gaaaaaaaaa";
const BOB = "gbbbbbbbbb";
const swarm = useGuestSwarm([ANN, BOB]);
const { names } = swarm;

interface Parts {
  readonly fake: FakeSwarm;
  readonly gate: GuestGate;
}

async function start(): Promise<Parts> {
  const fake = await FakeSwarm.on(await swarm.bus("system"), names);
  const gate = new GuestGate({
    ...{ bus: fake.bus, publisher: fake.publisher, names, clock: new ManualClock(), logger: silentLogger },
    guests: async () => [ANN, BOB],
  });
  onTestFinished(() => gate.stop());
  await gate.start();
  return { fake, gate };
}

/** By the description that `vgas connection` prints for a guest. */
async function guest(user = ANN, url = swarm.nats.url): Promise<Client> {
  const nkeySeed = new TextDecoder().decode(swarm.seedOf(user));
  const client = await connect({ connection: { url, nkeySeed, inboxPrefix: `_INBOX.${user}`, role: "guest" } });
  onTestFinished(() => client.close());
  return client;
}

test("a guest submits and gets its results, under ids of its own", async () => {
  const { fake } = await start();
  await fake.offer("echo");
  const ann = await guest();
  const task = await ann.submit("echo", { hello: "world" });
  expect(task.id).toMatch(new RegExp(`^${ANN}-[\\w-]{12}-[0-9a-z]+$`));
  expect(await task.result()).toMatchObject({ id: task.id, status: "ok", output: { hello: "world" } });
  const named = await ann.submit("echo", 1, { id: `${ANN}-mine`, track: false });
  expect(await named.result(), "without replyTo").toMatchObject({ id: `${ANN}-mine`, output: 1 });
  expect(await ann.handle("default", `${ANN}-mine`).result(), "looked up later").toMatchObject({ output: 1 });
});

test("many tasks go in arrays, and come back in their order", async () => {
  const { fake } = await start();
  await fake.offer("echo");
  const ann = await guest();
  const inputs = Array.from({ length: 250 }, (_, i) => i);
  const tasks = await ann.submitMany("echo", inputs);
  const results = await Promise.all(tasks.map((task) => task.result()));
  expect(results.map(({ output }) => output)).toEqual(inputs);
  expect(new Set(results.map(({ id }) => id)).size).toBe(250);
  expect(results.every(({ id }) => id.startsWith(`${ANN}-`))).toBe(true);
});

test("results that pass by are read one by one, however many are waited for", async () => {
  const { fake } = await start();
  fake.replies = false;
  const ann = await guest();
  // More than the server lets a guest have subscriptions.
  const ids = Array.from({ length: 1_200 }, (_, i) => `${ANN}-late-${i}`);
  const waits = ids.map((id) => ann.handle("default", id).result());
  await Promise.all(ids.map((id) => fake.store(id, id)));
  expect((await Promise.all(waits)).map(({ output }) => output)).toEqual(ids);
});

test("a submission made again with its message id is the task of the first, whoever else used that message id", async () => {
  const { fake } = await start();
  await fake.offer("echo");
  const [ann, other, bob] = await Promise.all([guest(), guest(), guest(BOB)]);
  const task = await ann.submit("echo", 1, { msgId: "once" });
  const again = await other.submit("echo", 2, { msgId: "once" });
  const bobs = await bob.submit("echo", 3, { msgId: "once" });
  expect(again.id).toBe(task.id);
  expect(await task.result()).toMatchObject({ output: 1 });
  expect(await again.result()).toMatchObject({ output: 1 });
  expect(await bobs.result()).toMatchObject({ output: 3 });
});

test("what a guest may not is said before anything is sent", async () => {
  const { gate } = await start();
  const ann = await guest();
  for (const id of ["mine", `${BOB}-1`, `${ANN}-`, "s1"]) {
    const rule = { code: "INVALID", message: expect.stringContaining(`begins with "${ANN}-"`) };
    expect(await rejection(ann.submit("echo", 1, { id })), id).toMatchObject(rule);
    expect(() => ann.handle("default", id), id).toThrowError(expect.objectContaining(rule));
    expect(await rejection(ann.submitMany("echo", [1, 2], { task: (_, i) => (i === 1 ? { id } : {}) }))).toMatchObject({
      code: "INVALID",
      message: expect.stringMatching(/^task 1: /),
    });
  }
  expect(await rejection(ann.submit("echo", 1, { msgId: "x".repeat(101) }))).toMatchObject({ code: "INVALID" });
  const denied = { code: "PERMISSION_DENIED", message: expect.stringContaining("guest") };
  expect(() => ann.results()).toThrowError(expect.objectContaining(denied));
  expect(await rejection(ann.offered("default", "echo"))).toMatchObject(denied);
  expect(await rejection(ann.submit("echo", 1, { priority: "high" }))).toMatchObject(denied);
  expect(await rejection(ann.submit("echo", 1, { onEvent: () => undefined }))).toMatchObject(denied);
  expect(() => ann.handle("default", `${ANN}-1`).events()).toThrowError(expect.objectContaining(denied));
  expect(await rejection(ann.batch("default", "b1"))).toMatchObject(denied);
  expect(await rejection(ann.now("echo", 1))).toMatchObject(denied);
  expect(await rejection(ann.cancel("default", `${ANN}-1`))).toMatchObject(denied);
  expect(await rejection(ann.handle("default", `${ANN}-1`).status())).toMatchObject(denied);
  expect(gate.counters).toMatchObject({ stored: 0, refused: 0 });
});

test("a refusal of the gate has its own code, and so has a swarm that does not answer guests", async () => {
  const { gate } = await start();
  const ann = await guest();
  // The library would not send this: a client that calls itself another guest, with this one's connection.
  const bus = await swarm.bus(ANN);
  const liar = new Client(Object.defineProperty(bus, "user", { value: BOB }), names, "default", silentLogger, "guest");
  onTestFinished(() => liar.close());
  await liar.start();
  expect(await rejection(liar.submit("echo", 1))).toMatchObject({
    code: "INVALID",
    message: expect.stringContaining(`begins with "${ANN}-"`),
  });
  expect(await rejection(liar.submitMany("echo", [1, 2]))).not.toBeInstanceOf(PartialSubmitError);
  await gate.stop();
  expect(await rejection(ann.submit("echo", 1))).toMatchObject({ code: "NO_SWARM" });
});

test("a connection that is lost loses no submission and no result", async () => {
  const { fake } = await start();
  await fake.offer("echo");
  const proxy = await TcpProxy.to(swarm.nats.port);
  onTestFinished(() => proxy.close());
  const ann = await guest(ANN, proxy.url);
  const submitting = Promise.all(Array.from({ length: 300 }, (_, i) => ann.submit("echo", i)));
  await until(() => fake.taken.length > 0);
  proxy.cut();
  const results = await Promise.all((await submitting).map((task) => task.result()));
  expect(results.map(({ output }) => output)).toEqual(Array.from({ length: 300 }, (_, i) => i));
  const ids = fake.taken.map(({ id }) => id);
  expect(new Set(ids).size, "nothing was stored twice").toBe(ids.length);
});

test("more than the gate takes at once is sent as it takes it", async () => {
  const { fake, gate } = await start();
  const ann = await guest();
  await Promise.all(Array.from({ length: 3_000 }, (_, i) => ann.submit("later", i, { track: false })));
  // Of a kind of its own: tasks of the tests before may still leave the stream.
  const later = names.task("default", "later");
  expect(await subjectCounts(fake.bus, names.streams.tasks, later)).toEqual(new Map([[later, 3_000]]));
  expect(gate.counters).toEqual({ stored: 3_000, refused: 0, shown: 0 });
});
