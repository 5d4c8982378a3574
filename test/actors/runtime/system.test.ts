import { encode as pack, decode as unpack } from "@msgpack/msgpack";
import { expect, test } from "vitest";
import { assign, setup } from "xstate";
import { z } from "zod";
import type { MailOf } from "../../../src/actors/runtime/definition.ts";
import { RestartIntensity } from "../../../src/actors/runtime/restart-intensity.ts";
import type { BusMessage } from "../../../src/bus/bus.ts";
import { ActorHost } from "../../support/actor-host.ts";
import { counter, counterMachine, type counterProtocol } from "../../support/actors.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { useNats } from "../../support/nats.ts";
import { rejection, until } from "../../support/wait.ts";

const nats = useNats();
const guarded = useNats({
  config: `
    authorization { users: [{ user: limited, password: limited, permissions: {
      publish: ">", subscribe: { allow: ">", deny: "vgas.actors.secret" } } }] }
    no_auth_user: limited`,
});
let hosts = 0;

/** A name of its own for each test: they share one server. */
function host(options: Parameters<typeof ActorHost.start>[2] = {}): Promise<ActorHost> {
  hosts++;
  return ActorHost.start(nats, `h${hosts}`, options);
}

async function raw(from: ActorHost, subject: string, data: Uint8Array): Promise<BusMessage> {
  return from.bus.request("raw", subject, data, { timeoutMs: 10_000 });
}

test("asks and tells an actor from its own host and from another, by name", async () => {
  const [a, b] = [await host(), await host()];
  const handle = await a.system.spawn("asked", { ...counter, scope: "swarm", input: { start: 40 } });
  expect(await handle.ask({ type: "add", by: 1 })).toEqual({ n: 41 });
  expect(await b.system.ask("asked", { type: "add", by: 1 })).toEqual({ n: 42 });
  expect(
    await b.system.ref<typeof counterProtocol>("asked").ask({ type: "add", by: 1 }, { host: a.system.hostId }),
  ).toEqual({ n: 43 });
  await b.system.ref<typeof counterProtocol>("asked").tell({ type: "note", text: "from afar" });
  await handle.tell({ type: "note", text: "from here" });
  expect(handle.status()).toMatchObject({
    name: "asked",
    scope: "swarm",
    phase: "active",
    value: "open",
    mailbox: 0,
    restarts: 0,
  });
});

test("a one-way message that is asked is answered with null once it is processed", async () => {
  const a = await host();
  const handle = await a.system.spawn("oneway", { ...counter, scope: "node" });
  expect(await handle.ask({ type: "note", text: "x" })).toBeNull();
});

test("an actor of a node is reached by name and host only, and on its own host by name too", async () => {
  const [a, b] = [await host(), await host()];
  await a.system.spawn("local", { ...counter, scope: "node" });
  await b.system.spawn("local", { ...counter, scope: "node", input: { start: 10 } });
  const elsewhere = await host();
  const ref = elsewhere.system.ref<typeof counterProtocol>("local");
  expect(await rejection(ref.ask({ type: "add", by: 1 }))).toMatchObject({ code: "UNDELIVERABLE" });
  expect(await ref.ask({ type: "add", by: 1 }, { host: a.system.hostId })).toEqual({ n: 1 });
  expect(await ref.ask({ type: "add", by: 1 }, { host: b.system.hostId })).toEqual({ n: 11 });
  expect(await b.system.ref<typeof counterProtocol>("local").ask({ type: "add", by: 1 })).toEqual({ n: 12 });
});

test("an ask that nobody can take fails at once, and a tell is a dead letter too", async () => {
  const a = await host();
  // A clock that stands still: a failure by timeout would never come.
  const still = await host({ clock: new ManualClock() });
  expect(await rejection(still.system.ask("nobody", { type: "x" }))).toMatchObject({ code: "UNDELIVERABLE" });
  expect(await rejection(a.system.tell("nobody", { type: "x" }))).toMatchObject({ code: "UNDELIVERABLE" });
  expect(a.deadLetters).toMatchObject([{ name: "nobody", message: "x", error: { code: "UNDELIVERABLE" } }]);
  expect(a.system.deadLetters).toBe(1);
});

test("refuses what the protocol does not know, to the sender, whether near or far", async () => {
  const [a, b] = [await host(), await host()];
  await a.system.spawn("strict", { ...counter, scope: "swarm" });
  for (const { system } of [a, b]) {
    const ask = (message: object): Promise<unknown> => rejection(system.ask("strict", message as { type: string }));
    expect(await ask({ type: "unheard" })).toMatchObject({ code: "UNKNOWN_MESSAGE" });
    expect(await ask({ type: "toString" })).toMatchObject({ code: "UNKNOWN_MESSAGE" });
    expect(await ask({ type: "xstate.stop" })).toMatchObject({ code: "UNKNOWN_MESSAGE" });
    const fields = await ask({ type: "add", by: "two" });
    expect(fields).toMatchObject({ code: "UNKNOWN_MESSAGE", message: expect.stringContaining("by: ") });
    expect(await ask({ by: 1 })).toMatchObject({ code: "INVALID" });
    expect(await ask({ type: "echo", value: () => 1 })).toMatchObject({ code: "INVALID_OUTPUT" });
    expect(await ask({ type: "echo", value: new Uint8Array(2 ** 20) })).toMatchObject({ code: "TOO_LARGE" });
  }
  expect(await b.system.ask("strict", { type: "add", by: 1 })).toEqual({ n: 1 });
});

test("any bytes at its address are answered with a typed error, and the actor goes on", async () => {
  const [a, b] = [await host(), await host()];
  await a.system.spawn("garbage", { ...counter, scope: "swarm" });
  const good = pack({ type: "add", by: 1 });
  const bad = [
    new Uint8Array(),
    new Uint8Array([0xc1]),
    pack(null),
    pack([]),
    pack("add"),
    pack({ type: 7 }),
    Buffer.from("{"),
  ];
  for (let cut = 1; cut < good.length; cut++) bad.push(good.subarray(0, cut));
  for (const bytes of bad) {
    const reply = await raw(b, a.names.actor("garbage"), bytes);
    const text = Buffer.from(reply.data).toString();
    const { error } = (text.startsWith("{") ? JSON.parse(text) : unpack(reply.data)) as { error: { code: string } };
    expect(error.code).toBe("INVALID");
  }
  expect(unpack((await raw(b, a.names.actor("garbage"), good)).data)).toEqual({ value: { n: 1 } });
});

test("a stranger asks in JSON and is answered in JSON", async () => {
  const [a, b] = [await host(), await host()];
  await a.system.spawn("json", { ...counter, scope: "swarm" });
  const reply = await raw(b, a.names.actor("json"), Buffer.from(JSON.stringify({ type: "add", by: 5 })));
  expect(JSON.parse(Buffer.from(reply.data).toString())).toEqual({ value: { n: 5 } });
});

test("a message whose reply subject is no inbox is not taken, and is a dead letter", async () => {
  const [a, b] = [await host(), await host()];
  const handle = await a.system.spawn("inboxes", { ...counter, scope: "swarm" });
  b.bus.publish(a.names.actor("inboxes"), pack({ type: "add", by: 1 }), { reply: a.names.task("default", "echo") });
  await a.when(() => a.deadLetters.length > 0);
  expect(a.deadLetters).toMatchObject([{ name: "inboxes", error: { code: "INVALID" } }]);
  expect(await handle.ask({ type: "add", by: 0 })).toEqual({ n: 0 });
});

test("a bad message that nobody can be told of is a dead letter", async () => {
  const [a, b] = [await host(), await host()];
  await a.system.spawn("mute", { ...counter, scope: "swarm" });
  b.bus.publish(a.names.actor("mute"), pack({ type: "unheard" }));
  await a.when(() => a.deadLetters.length > 0);
  expect(a.deadLetters).toMatchObject([{ name: "mute", message: "unheard", error: { code: "UNKNOWN_MESSAGE" } }]);
});

test("an actor fails a question with a code of its own, near and far", async () => {
  const [a, b] = [await host(), await host()];
  await a.system.spawn("refusing", { ...counter, scope: "swarm" });
  for (const { system } of [a, b]) {
    const error = await rejection(system.ask("refusing", { type: "refuse" }));
    expect(error).toMatchObject({ name: "TaskError", code: "NOT_TODAY", message: "come back", retryable: false });
  }
});

test("a reply that breaks the protocol reaches nobody", async () => {
  const a = await host();
  const handle = await a.system.spawn("liar", { ...counter, scope: "node" });
  expect(await rejection(handle.ask({ type: "lie" }))).toMatchObject({ code: "INVALID_OUTPUT" });
});

test("an event that the machine does not take in its state is refused, not swallowed", async () => {
  const a = await host();
  const handle = await a.system.spawn("closing", { ...counter, scope: "node" });
  await handle.tell({ type: "close" });
  const error = await rejection(handle.ask({ type: "add", by: 1 }));
  expect(error).toMatchObject({ code: "UNDELIVERABLE", message: expect.stringContaining('"closed"') });
  await handle.tell({ type: "note", text: "too late" });
  expect(a.deadLetters).toMatchObject([{ name: "closing", message: "note", error: { code: "UNDELIVERABLE" } }]);
});

test("a full mailbox refuses, and an answer makes room", async () => {
  const [a, b] = [await host(), await host()];
  const handle = await a.system.spawn("bounded", { ...counter, scope: "swarm", mailboxLimit: 2 });
  const held = [rejection(handle.ask({ type: "hold" })), rejection(handle.ask({ type: "hold" }))];
  expect(handle.status().mailbox).toBe(2);
  expect(await rejection(b.system.ask("bounded", { type: "hold" }))).toMatchObject({ code: "MAILBOX_FULL" });
  expect(await rejection(handle.tell({ type: "note", text: "x" }))).toMatchObject({ code: "MAILBOX_FULL" });
  await rejection(handle.tell({ type: "release" }));
  expect(a.deadLetters.map(({ error }) => error.code)).toEqual(["MAILBOX_FULL", "MAILBOX_FULL"]);
  await handle.stop({ graceMs: 0 });
  for (const answer of held) expect(await answer).toMatchObject({ code: "SHUTTING_DOWN" });
});

test("a question that is never answered stops counting when its sender stops waiting", async () => {
  const clock = new ManualClock();
  const a = await host({ clock });
  const handle = await a.system.spawn("silent", { ...counter, scope: "node", mailboxLimit: 1 });
  const unanswered = rejection(handle.ask({ type: "hold" }, { timeoutMs: 2_000 }));
  await clock.advance(1_999);
  expect(handle.status().mailbox).toBe(1);
  await clock.advance(1);
  expect(await unanswered).toMatchObject({ code: "TIMEOUT", message: "silent.hold timed out after 2000 ms" });
  expect(handle.status().mailbox).toBe(0);
  expect(await handle.ask({ type: "add", by: 1 })).toEqual({ n: 1 });
  expect(clock.armed).toBe(0);
});

test("an ask can be aborted", async () => {
  const [a, b] = [await host(), await host()];
  const handle = await a.system.spawn("aborted", { ...counter, scope: "swarm" });
  for (const { system } of [a, b]) {
    const abort = new AbortController();
    const error = rejection(system.ask("aborted", { type: "hold" }, { signal: abort.signal }));
    abort.abort();
    expect(await error).toMatchObject({ code: "ABORTED" });
    expect(await rejection(system.ask("aborted", { type: "hold" }, { signal: AbortSignal.abort() }))).toMatchObject({
      code: "ABORTED",
    });
  }
  await handle.stop({ graceMs: 0 });
});

test("a failed actor answers what it had with its error, keeps what waits, and goes on after the restart", async () => {
  const clock = new ManualClock();
  const [a, b] = [await host({ clock, random: () => 1 }), await host()];
  const handle = await a.system.spawn("fragile", { ...counter, scope: "swarm", mailboxLimit: 3 });
  const held = rejection(handle.ask({ type: "hold" }));
  expect(await rejection(b.system.ask("fragile", { type: "boom" }))).toMatchObject({
    code: "AGENT_ERROR",
    message: expect.stringContaining("boom"),
  });
  expect(await held).toMatchObject({ code: "AGENT_ERROR" });
  const waiting = [1, 2, 3].map(() => handle.ask({ type: "add", by: 1 }));
  expect(handle.status()).toMatchObject({ machine: "restarting", mailbox: 3 });
  expect(await rejection(b.system.ask("fragile", { type: "add", by: 1 }))).toMatchObject({
    code: "MAILBOX_FULL",
  });
  await clock.advance(100);
  expect(await Promise.all(waiting)).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }]);
  expect(handle.status()).toMatchObject({ machine: "running", restarts: 1 });
});

test("a told message that its actor failed over is a dead letter", async () => {
  const a = await host();
  const handle = await a.system.spawn("lossy", { ...counter, scope: "node" });
  await handle.tell({ type: "boom" });
  expect(a.deadLetters).toMatchObject([{ name: "lossy", message: "boom", error: { code: "AGENT_ERROR" } }]);
});

test("an actor that fails too often is escalated; without its host's wish it ends and cannot be reached", async () => {
  const clock = new ManualClock();
  const escalated: string[] = [];
  const intensity = new RestartIntensity(clock, { limit: 1, windowMs: 60_000 });
  const a = await host({
    clock,
    // The clock runs ahead of the network, so a lease of the usual length could not be renewed in time.
    limits: { leaseMs: 3_600_000 },
    onEscalate: ({ name }) => {
      escalated.push(name);
      return intensity.allow() ? "restart" : "stop";
    },
  });
  const b = await host();
  const handle = await a.system.spawn("hopeless", { ...counter, scope: "swarm" });
  for (let failure = 1; failure <= 12; failure++) {
    expect(await rejection(handle.ask({ type: "boom" }))).toMatchObject({ code: "AGENT_ERROR" });
    if (failure < 12) await clock.advance(failure === 6 ? 5_000 : 2_000);
  }
  expect(escalated).toEqual(["hopeless", "hopeless"]);
  expect(handle.status()).toMatchObject({ phase: "ended", endReason: "failed" });
  expect(await rejection(b.system.ask("hopeless", { type: "add", by: 1 }))).toMatchObject({
    code: "UNDELIVERABLE",
  });
  const again = await a.system.spawn("hopeless", { ...counter, scope: "swarm" });
  expect(await again.ask({ type: "add", by: 1 })).toEqual({ n: 1 });
});

test("an actor at its final state answers what it has, then nobody owns the name", async () => {
  const a = await host();
  const handle = await a.system.spawn("mortal", { ...counter, scope: "node" });
  const held = rejection(handle.ask({ type: "hold" }));
  expect(await rejection(handle.ask({ type: "finish" }))).toMatchObject({ code: "UNDELIVERABLE" });
  expect(await held).toMatchObject({ code: "UNDELIVERABLE" });
  expect(handle.status()).toMatchObject({ phase: "ended", endReason: "done" });
  expect(await rejection(handle.ask({ type: "add", by: 1 }))).toMatchObject({ code: "UNDELIVERABLE" });
});

test("stop lets the actor answer within its grace and takes nothing new meanwhile", async () => {
  const clock = new ManualClock();
  const [a, b] = [await host({ clock, limits: { leaseMs: 3_600_000 } }), await host()];
  const protocol = { work: { schema: z.object({}), reply: z.string() }, more: { schema: z.object({}) } };
  const machine = setup({
    types: { context: {} as { asked?: { reply(value: string): void } }, events: {} as MailOf<typeof protocol> },
  }).createMachine({
    context: {},
    initial: "idle",
    states: {
      idle: { on: { work: { target: "working", actions: assign({ asked: ({ event }) => event }) } } },
      working: { after: { 1000: { target: "idle", actions: ({ context }) => context.asked?.reply("worked") } } },
    },
    on: { more: {} },
  });
  const handle = await a.system.spawn("graceful", { machine, protocol, scope: "swarm" });
  const answer = b.system.ask("graceful", { type: "work" });
  await until(() => handle.status().mailbox === 1);
  const stopped = a.system.stop({ graceMs: 5_000 });
  expect(handle.status()).toMatchObject({ phase: "stopping", mailbox: 1 });
  expect(await rejection(handle.ask({ type: "more" }))).toMatchObject({ code: "SHUTTING_DOWN" });
  expect(await rejection(a.system.spawn("late", { ...counter, scope: "node" }))).toMatchObject({
    code: "SHUTTING_DOWN",
  });
  expect(() => a.system.spawnLocal("late", counterMachine)).toThrow("its host is stopping");
  await clock.advance(1_000);
  expect(await answer).toBe("worked");
  await stopped;
  expect(await rejection(b.system.ask("graceful", { type: "work" }))).toMatchObject({ code: "UNDELIVERABLE" });
});

test("what is unanswered when the grace is over gets SHUTTING_DOWN", async () => {
  const clock = new ManualClock();
  const [a, b] = [await host({ clock }), await host()];
  const handle = await a.system.spawn("slow", { ...counter, scope: "node" });
  const near = rejection(handle.ask({ type: "hold" }));
  const far = rejection(b.system.ask("slow", { type: "hold" }, { host: a.system.hostId }));
  await until(() => handle.status().mailbox === 2);
  let over = false;
  const stopped = handle.stop({ graceMs: 5_000 }).then(() => {
    over = true;
  });
  await clock.advance(4_999);
  expect(over).toBe(false);
  await clock.advance(1);
  await stopped;
  expect(await near).toMatchObject({ code: "SHUTTING_DOWN" });
  expect(await far).toMatchObject({ code: "SHUTTING_DOWN" });
  expect(clock.armed).toBe(0);
});

test("actors stop in the reverse order of their start; stop works before anything was spawned, and twice", async () => {
  const a = await host();
  for (const name of ["first", "second"]) await a.system.spawn(name, { ...counter, scope: "node" });
  a.system.spawnLocal("third", counterMachine, undefined);
  expect(a.system.status().map(({ name, scope }) => [name, scope])).toEqual([
    ["first", "node"],
    ["second", "node"],
    ["third", "local"],
  ]);
  await Promise.all([a.system.stop(), a.system.stop()]);
  expect(a.events.filter(({ type }) => type === "stopped").map(({ name }) => name)).toEqual([
    "third",
    "second",
    "first",
  ]);
  await (await host()).system.stop();
});

test("a spawn that fails at its start says why, and leaves the name free", async () => {
  const a = await host();
  let broken = true;
  const machine = setup({}).createMachine({
    entry: () => {
      if (broken) throw new Error("no database");
    },
  });
  for (const scope of ["node", "swarm"] as const) {
    broken = true;
    const error = await rejection(a.system.spawn("stillborn", { machine, protocol: {}, scope }));
    expect(error).toMatchObject({ message: "no database" });
    expect(a.system.status()).toEqual([]);
    broken = false;
    const handle = await a.system.spawn("stillborn", { machine, protocol: {}, scope });
    expect(handle.status().phase).toBe("active");
    await handle.stop();
  }
});

test("names and definitions are checked at the door", async () => {
  const a = await host();
  const spawn = (name: string, extra: object = {}): Promise<unknown> =>
    rejection(a.system.spawn(name, { ...counter, scope: "node", ...extra }));
  expect(await spawn("a.b")).toMatchObject({ code: "INVALID" });
  expect(await spawn("x", { scope: "galaxy" })).toMatchObject({
    code: "INVALID",
    message: expect.stringContaining("scope"),
  });
  expect(await spawn("x", { mailboxLimit: 0 })).toMatchObject({
    code: "INVALID",
    message: expect.stringContaining("mailboxLimit"),
  });
  const schema = z.object({});
  expect(await spawn("x", { protocol: { "xstate.stop": { schema } } })).toMatchObject({ code: "INVALID" });
  expect(await spawn("x", { protocol: { a: { schema: z.object({ reply: z.string() }) } } })).toMatchObject({
    code: "INVALID",
  });
  await a.system.spawn("taken", { ...counter, scope: "node" });
  expect(await spawn("taken")).toMatchObject({ code: "CONFLICT" });
  expect(() => a.system.spawnLocal("taken", counterMachine)).toThrow("already");
  expect(await rejection(a.system.ask("a.b", { type: "x" }))).toMatchObject({ code: "INVALID" });
  expect(await rejection(a.system.ask("x", { type: "x" }, { host: "*" }))).toMatchObject({ code: "INVALID" });
});

test("a listener that throws breaks nothing", async () => {
  const a = await host();
  a.system.inspect(() => {
    throw new Error("bad listener");
  });
  a.system.onDeadLetter(() => {
    throw new Error("bad listener");
  });
  const handle = await a.system.spawn("heard", { ...counter, scope: "node" });
  await rejection(a.system.tell("nobody", { type: "x" }));
  expect(await handle.ask({ type: "add", by: 1 })).toEqual({ n: 1 });
  expect(a.logger.lines.filter(({ message }) => message.startsWith("A listener threw")).length).toBeGreaterThan(2);
});

test("a local machine is supervised, and says whether it took an event", async () => {
  const clock = new ManualClock();
  const a = await host({ clock });
  const machine = setup({ types: { events: {} as { type: "boom" | "ping" } } }).createMachine({
    on: {
      boom: {
        actions: () => {
          throw new Error("boom");
        },
      },
    },
  });
  const local = a.system.spawnLocal("inner", machine);
  expect(local.send({ type: "ping" })).toBe(true);
  local.send({ type: "boom" });
  expect([local.state, local.send({ type: "ping" }), local.snapshot()]).toEqual(["restarting", false, undefined]);
  await clock.advance(100);
  expect(local.state).toBe("running");
  local.stop();
  local.stop();
  expect(a.system.status()).toEqual([]);
});

test("a machine may send to itself through the system while it handles a message", async () => {
  const a = await host();
  const protocol = {
    outer: { schema: z.object({}), reply: z.string() },
    inner: { schema: z.object({}) },
  };
  const seen: string[] = [];
  const machine = setup({
    types: { events: {} as { type: "outer"; reply(value: string): void } | { type: "inner" } },
  }).createMachine({
    on: {
      outer: {
        actions: ({ event }) => {
          void a.system.tell("self", { type: "inner" });
          seen.push("outer");
          event.reply("done");
        },
      },
      inner: { actions: () => seen.push("inner") },
    },
  });
  const handle = await a.system.spawn("self", { machine, protocol, scope: "node" });
  expect(await handle.ask({ type: "outer" })).toBe("done");
  expect(seen).toEqual(["outer", "inner"]);
  expect(handle.status().mailbox).toBe(0);
});

test("what a machine tells itself from within a transition is judged by the state that it arrives in", async () => {
  const clock = new ManualClock();
  const a = await host({ clock });
  const protocol = { arrived: { schema: z.object({}) } };
  let arrived = false;
  const machine = setup({ types: { events: {} as MailOf<typeof protocol> } }).createMachine({
    initial: "travelling",
    states: {
      travelling: {
        after: { 1000: { target: "there", actions: () => void a.system.tell("traveller", { type: "arrived" }) } },
      },
      there: {
        on: {
          arrived: {
            actions: () => {
              arrived = true;
            },
          },
        },
      },
    },
  });
  await a.system.spawn("traveller", { machine, protocol, scope: "node" });
  await clock.advance(1_000);
  expect(arrived).toBe(true);
  expect(a.system.deadLetters).toBe(0);
});

test("a credential that does not open the address fails the spawn, and leaves neither machine nor lease", async () => {
  const a = await ActorHost.start(guarded, "denied");
  const error = await rejection(a.system.spawn("secret", { ...counter, scope: "swarm" }));
  expect(error).toMatchObject({ code: "PERMISSION_DENIED" });
  expect(a.events.map(({ type }) => type)).toEqual(["started", "stopped"]);
  expect(a.system.status()).toEqual([]);
  const b = await ActorHost.start(guarded, "allowed");
  const handle = await b.system.spawn("public", { ...counter, scope: "swarm" });
  expect(handle.status().phase).toBe("active");
});
