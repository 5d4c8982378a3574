import { beforeAll, expect, onTestFinished, test } from "vitest";
import { GuestGate } from "../../../src/actors/guests/gate.ts";
import type { Bus, BusMessage } from "../../../src/bus/bus.ts";
import { encode } from "../../../src/bus/codec/codec.ts";
import { Publisher } from "../../../src/bus/publisher.ts";
import { lastBySubject } from "../../../src/bus/stored.ts";
import { ensureTopology, streamInfo } from "../../../src/bus/topology.ts";
import { silentLogger } from "../../../src/protocols/logger.ts";
import { TOPOLOGY_DEFAULTS } from "../../../src/protocols/streams.ts";
import { jsApi } from "../../../src/protocols/subjects.ts";
import { useGuestSwarm } from "../../support/guests.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { eventually, rejection, until } from "../../support/wait.ts";

const swarm = useGuestSwarm(["gaaaaaaaaa", "gbbbbbbbbb"]);
const { names } = swarm;
const ANN = "gaaaaaaaaa";
const BOB = "gbbbbbbbbb";
const text = new TextDecoder();

let system: Bus;
let publisher: Publisher;
let ann: Bus;
let bob: Bus;

beforeAll(async () => {
  system = await swarm.bus("system");
  await ensureTopology(system, names, TOPOLOGY_DEFAULTS);
  publisher = new Publisher(system);
  [ann, bob] = await Promise.all([swarm.bus(ANN), swarm.bus(BOB)]);
});

interface Parts {
  readonly gate: GuestGate;
  readonly clock: ManualClock;
  /** What the gate is told there is. */
  guests: string[];
}

async function open(guests: string[] = [ANN, BOB]): Promise<Parts> {
  const clock = new ManualClock();
  const parts = { guests, clock } as Parts & { gate: GuestGate };
  const gate = new GuestGate({
    bus: system,
    publisher,
    names,
    clock,
    logger: silentLogger,
    guests: async () => parts.guests,
  });
  onTestFinished(() => gate.stop());
  await gate.start();
  return Object.assign(parts, { gate });
}

/** What a guest is answered for these bytes. */
async function submit(
  guest: Bus,
  body: Uint8Array | object,
  headers?: Record<string, string>,
  subject = names.task("default", "echo"),
): Promise<{ stream?: string; seq?: number; duplicate?: boolean; error?: { code: number; description: string } }> {
  const data = body instanceof Uint8Array ? body : encode(body);
  const answer = await guest.request("submitting", subject, data, { timeoutMs: 60_000, ...(headers && { headers }) });
  return JSON.parse(text.decode(answer.data)) as object;
}

async function stored(sequence: number): Promise<BusMessage> {
  const request = new TextEncoder().encode(JSON.stringify({ seq: sequence }));
  return await system.request("looking", jsApi.directGet(names.streams.tasks), request, { timeoutMs: 60_000 });
}

async function queued(): Promise<number> {
  return (await streamInfo(system, names.streams.tasks))?.messages ?? 0;
}

test("a task with an id of the guest's own is stored as it came, and acknowledged as JetStream does", async () => {
  await open();
  const body = encode({ id: `${ANN}-1`, input: [1], replyTo: `_INBOX.${ANN}.x.1` });
  const ack = await submit(ann, body);
  expect(ack).toEqual({ stream: names.streams.tasks, seq: expect.any(Number) });
  const message = await stored(ack.seq ?? 0);
  expect(message.header("Nats-Subject")).toBe(names.task("default", "echo"));
  expect(new Uint8Array(message.data)).toEqual(new Uint8Array(body));
  const json = new TextEncoder().encode(`[{"id":"${ANN}-2"},{"id":"${ANN}-3","input":{"id":"s1"}}]`);
  expect(await submit(ann, json)).toMatchObject({ seq: (ack.seq ?? 0) + 1 });
});

test("only the message id, which becomes the guest's own, and the trace context go into the stream", async () => {
  await open();
  const traceparent = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;
  const headers = {
    "Nats-Msg-Id": "one",
    traceparent,
    "Vgas-Task-Id": "s1",
    "Vgas-Attempts": "3",
    "Vgas-Submitted-At": "1",
    "Nats-Expected-Last-Sequence": "999999",
    other: "x",
  };
  const first = await submit(ann, { id: `${ANN}-h1` }, headers);
  const message = await stored(first.seq ?? 0);
  for (const name of ["Vgas-Task-Id", "Vgas-Attempts", "Vgas-Submitted-At", "Nats-Expected-Last-Sequence", "other"])
    expect(message.header(name), name).toBeUndefined();
  expect(message.header("Nats-Msg-Id")).toBe(`${ANN}.one`);
  expect(message.header("traceparent")).toBe(traceparent);
  expect(await submit(ann, { id: `${ANN}-h1` }, headers), "again").toEqual({ ...first, duplicate: true });
  const other = await submit(bob, { id: `${BOB}-h1` }, { "Nats-Msg-Id": "one" });
  expect(other.duplicate, "the same message id of another guest").toBeUndefined();
  const bad = await submit(ann, { id: `${ANN}-h2` }, { traceparent: "rubbish" });
  expect((await stored(bad.seq ?? 0)).header("traceparent")).toBeUndefined();
});

const tooLong = `${ANN}-${"x".repeat(60)}`;
const refusals: readonly [what: string, body: object, says: string, headers?: Record<string, string>][] = [
  ["no id", {}, `begins with "${ANN}-", got none`],
  ["another guest's id", { id: `${BOB}-1` }, `got "${BOB}-1"`],
  ["an id that is only the prefix", { id: `${ANN}-` }, "begins with"],
  ["an id without the dash", { id: `${ANN}1` }, "begins with"],
  ["an automatic id", { id: "s1" }, "reserved"],
  ["an id that is too long", { id: tooLong }, "token"],
  ["an id that is a number", { id: 7 }, "token"],
  ["another's replyTo", { id: `${ANN}-1`, replyTo: `_INBOX.${BOB}.x` }, `must begin with "_INBOX.${ANN}."`],
  ["a replyTo that only begins alike", { id: `${ANN}-1`, replyTo: `_INBOX.${ANN}x.y` }, "must begin"],
  ["a replyTo into a bucket", { id: `${ANN}-1`, replyTo: "$KV.vgas_rotation.default.echo" }, "inbox"],
  ["a replyTo that is its own task subject", { id: `${ANN}-1`, replyTo: "vgas.tasks.default.echo" }, "inbox"],
  ["another kind", { id: `${ANN}-1`, kind: "sleep" }, "kind"],
  ["a field out of bounds", { id: `${ANN}-1`, maxAttempts: 0 }, "maxAttempts"],
  ["an empty array", [], "must not be empty"],
  ["an array with an element of another's", [{ id: `${ANN}-1` }, { id: `${BOB}-1` }], "element 1 of the array"],
  ["an array with an element that is no task", [{ id: `${ANN}-1` }, 7], "element 1"],
  ["an array with an element without id", [{ id: `${ANN}-1` }, {}], "element 1"],
  ["bytes that are no task", new TextEncoder().encode('{"id":'), "JSON"],
  ["a message id that is too long", { id: `${ANN}-1` }, "message id", { "Nats-Msg-Id": "x".repeat(101) }],
];

test.each(refusals)("refuses %s, and stores nothing", async (_what, body, says, headers) => {
  const { gate } = await open();
  const before = await queued();
  const { error } = await submit(ann, body, headers);
  expect(error).toMatchObject({ code: 400, description: expect.stringContaining("INVALID: ") });
  expect(error?.description).toContain(says);
  expect(await queued()).toBe(before);
  expect(gate.counters).toMatchObject({ stored: 0, refused: 1 });
});

test("refuses names of pool and kind that are no tokens", async () => {
  await open();
  const { error } = await submit(ann, { id: `${ANN}-1` }, undefined, "vgas.tasks.default.a=b");
  expect(error?.description).toContain("kind must be a token");
});

test("a reply subject that a guest names reaches nothing outside its account", async () => {
  await open();
  const task = names.task("default", "echo");
  const seen: string[] = [];
  for (const [bus, subject] of [
    [system, ">"],
    [bob, `_INBOX.${BOB}.>`],
  ] as const) {
    const listening = await bus.subscribe(subject, (message) => void seen.push(message.subject));
    onTestFinished(() => listening.unsubscribe());
  }
  const before = await queued();
  const targets = [
    "$KV.vgas_rotation.default.echo",
    "$JS.API.STREAM.DELETE.VGAS_TASKS",
    names.result("default", "s1"),
    `_INBOX.${BOB}.x`,
    task,
  ];
  for (const [i, reply] of targets.entries()) ann.publish(task, encode({ id: `${ANN}-r${i}` }), { reply });
  // Not even delivered: the server keeps these to itself.
  ann.publish(task, encode({ id: `${ANN}-r` }), { reply: "_R_.abc.def" });
  // Its own answer comes behind whatever the others set off.
  await submit(ann, { id: `${ANN}-last` });
  await Promise.all([system.flush(), bob.flush()]);
  expect(await queued()).toBe(before + targets.length + 1);
  expect(seen.filter((subject) => subject === task)).toHaveLength(targets.length + 1);
  expect(seen.filter((subject) => subject === names.guest(ANN, "tasks", "default", "echo"))).toHaveLength(
    targets.length + 1,
  );
  expect(seen.filter((subject) => subject !== task && targets.includes(subject))).toEqual([]);
  expect((await streamInfo(system, `KV_${names.buckets.rotation}`))?.messages).toBe(0);
  expect((await streamInfo(system, names.streams.results))?.messages).toBe(0);
});

test("a guest reads the stored results of its own tasks as by direct get; others are as if they were not there", async () => {
  await open();
  const subject = names.result("default", `${ANN}-read`);
  const { streams } = names;
  expect(await lastBySubject(ann, streams.results, subject)).toBeUndefined();
  const bytes = encode({ id: `${ANN}-read`, status: "ok" });
  await publisher.publish(subject, bytes);
  const direct = await lastBySubject(system, streams.results, subject);
  const read = await lastBySubject(ann, streams.results, subject);
  expect(read).toMatchObject({ subject, sequence: direct?.sequence, timestampMs: direct?.timestampMs });
  expect(read?.header("Nats-Stream")).toBe(streams.results);
  expect(new Uint8Array(read?.data ?? [])).toEqual(new Uint8Array(bytes));
  expect(await lastBySubject(bob, streams.results, subject)).toBeUndefined();
  await publisher.publish(names.result("default", "s77"), bytes);
  expect(await lastBySubject(ann, streams.results, names.result("default", "s77"))).toBeUndefined();
});

test("results of guests are shown to them, and to nobody else, as long as there are guests", async () => {
  const parts = await open([]);
  const seen: string[] = [];
  for (const [who, bus] of [
    ["ann", ann],
    ["bob", bob],
  ] as const) {
    const subscription = await bus.subscribe(
      names.result("*", "*"),
      ({ subject }) => void seen.push(`${who} ${subject}`),
    );
    onTestFinished(() => subscription.unsubscribe());
  }
  const put = async (id: string): Promise<unknown> => publisher.publish(names.result("default", id), encode({ id }));
  await put(`${ANN}-l0`);
  parts.guests = [ANN];
  await parts.clock.advance(30_000);
  await until(() => {
    system.publish(names.result("probe", `${ANN}-p`), encode({ id: `${ANN}-p` }));
    return seen.includes(`ann ${names.result("probe", `${ANN}-p`)}`);
  });
  seen.length = 0;
  for (const id of [`${BOB}-l1`, "s99", "plain", `${ANN}-l1`]) await put(id);
  await until(() => seen.includes(`ann ${names.result("default", `${ANN}-l1`)}`));
  expect(seen.filter((line) => !line.includes(".probe."))).toEqual([`ann ${names.result("default", `${ANN}-l1`)}`]);
  parts.guests = [ANN, BOB];
  // Whatever a guest submits, well or badly, says that it is there.
  await submit(bob, { id: "of nobody" });
  await until(() => {
    system.publish(names.result("probe", `${BOB}-p`), encode({ id: `${BOB}-p` }));
    return seen.includes(`bob ${names.result("probe", `${BOB}-p`)}`);
  });
  expect(parts.gate.counters.shown).toBeGreaterThan(2);
});

test("more than a guest may have under way is refused for now, and another guest goes on", async () => {
  const held = new Publisher(system);
  onTestFinished(() => held.close());
  const release: (() => void)[] = [];
  const send = held.send.bind(held);
  held.send = (...args) => void release.push(() => send(...args));
  const gate = new GuestGate({
    ...{ bus: system, publisher: held, names, clock: new ManualClock(), logger: silentLogger },
    guests: async () => [],
  });
  onTestFinished(() => gate.stop());
  await gate.start();
  const answers = Array.from({ length: 1_100 }, (_, i) => submit(ann, { id: `${ANN}-b${i}` }));
  await until(() => gate.counters.refused === 1_100 - 1_024);
  const bobs = submit(bob, { id: `${BOB}-b` });
  await until(() => release.length === 1_025);
  for (const go of release.splice(0)) go();
  const refused = (await Promise.all(answers)).filter(({ error }) => error !== undefined);
  expect(refused).toHaveLength(76);
  expect(refused[0]?.error).toMatchObject({ code: 429, description: expect.stringContaining("RESOURCE_LIMIT: ") });
  expect(await bobs).toMatchObject({ seq: expect.any(Number) });
  const again = submit(ann, { id: `${ANN}-again` });
  await until(() => release.length === 1);
  for (const go of release.splice(0)) go();
  expect(await again, "there is room again").toMatchObject({ seq: expect.any(Number) });
});

test("without a gate a guest is told that nobody takes it, also when the gate has stopped", async () => {
  const { gate } = await open();
  expect(await submit(ann, { id: `${ANN}-s1` })).toMatchObject({ seq: expect.any(Number) });
  await gate.stop();
  await gate.stop();
  expect(await rejection(submit(ann, { id: `${ANN}-s2` }))).toMatchObject({ code: "UNDELIVERABLE" });
});

test("a stop waits for what is under way, and a list of guests that cannot be read ends nothing", async () => {
  let fails = 0;
  const gate = new GuestGate({
    ...{ bus: system, publisher, names, clock: new ManualClock(), logger: silentLogger },
    guests: async () => {
      fails++;
      throw new Error("no list");
    },
  });
  await gate.start();
  expect(fails).toBe(1);
  const answers = Promise.all(Array.from({ length: 50 }, (_, i) => submit(ann, { id: `${ANN}-w${i}` })));
  await ann.flush();
  await gate.stop();
  expect((await answers).every(({ seq }) => seq !== undefined)).toBe(true);
});

test("no guest fills the queue: what it has stored and not finished is bounded, until it ends or is found ended", async () => {
  const { clock } = await open();
  const refusal = /^RESOURCE_LIMIT: a guest may have 10000 tasks stored and not finished, and has 10000/;
  // Of a kind that nobody offers, and some of them had a result before.
  const ids = Array.from({ length: 10_000 }, (_, i) => `${ANN}-q${i}`);
  for (const id of ids.slice(0, 2)) await publisher.publish(names.result("full", id), encode({ id }));
  await system.flush();
  const subject = names.task("full", "nobody");
  const array = ids.map((id) => ({ id }));
  const whole = await submit(ann, array, { "Nats-Msg-Id": "whole" }, subject);
  expect(whole.error).toBeUndefined();
  const before = await queued();
  const more = (id: string): ReturnType<typeof submit> => submit(ann, { id: `${ANN}-${id}` }, undefined, subject);
  expect((await more("q-more")).error).toMatchObject({ code: 429, description: expect.stringMatching(refusal) });
  expect(await queued()).toBe(before);
  expect(await submit(bob, { id: `${BOB}-q` }), "another guest goes on").toMatchObject({ seq: expect.any(Number) });
  // The look that the refusal set off finds the two that have their results.
  await eventually(async () => {
    await clock.advance(1_000);
    return (await more("q-found")).seq;
  }, "a place to be found");
  expect((await more("q-second")).error).toBeUndefined();
  expect((await more("q-third")).error).toMatchObject({ code: 429 });
  // One that ends now, heard as it comes: its turn to be looked up is far away, and the clock stands still.
  await publisher.publish(names.result("full", ids[9_000] ?? ""), encode({ id: ids[9_000] }));
  await eventually(async () => (await more("q-third")).seq, "a place to be free");
});

test("a submission that was stored before, or is refused by the stream, counts for nothing", async () => {
  await open();
  const subject = names.task("full", "twice");
  const array = Array.from({ length: 6_000 }, (_, i) => ({ id: `${BOB}-d${i}` }));
  const first = await submit(bob, array, { "Nats-Msg-Id": "d" }, subject);
  expect(first.seq).toBeDefined();
  // Would be too many if each counted.
  const small = [{ id: `${BOB}-d0` }];
  for (let i = 0; i < 3; i++)
    expect(await submit(bob, small, { "Nats-Msg-Id": "d" }, subject)).toMatchObject({ duplicate: true });
  const rest = Array.from({ length: 4_000 }, (_, i) => ({ id: `${BOB}-e${i}` }));
  expect((await submit(bob, rest, undefined, subject)).seq).toBeDefined();
  expect((await submit(bob, { id: `${BOB}-f` }, undefined, subject)).error).toMatchObject({ code: 429 });
});
