import { expect, expectTypeOf, onTestFinished, test } from "vitest";
import { encode } from "../../src/bus/codec/codec.ts";
import { readBody } from "../../src/bus/codec/task.ts";
import type { EventsDropped } from "../../src/client/event-feed.ts";
import type { SubmitOptions } from "../../src/client/submit-options.ts";
import type { TaskEvent } from "../../src/protocols/result.ts";
import type { WireError } from "../../src/protocols/wire-error.ts";
import { TcpProxy } from "../support/proxy.ts";
import { RecordingLogger } from "../support/recording-logger.ts";
import { rejection, until } from "../support/wait.ts";
import type { FakeSwarm } from "./fake-swarm.ts";
import { useClientRig } from "./rig.ts";

const { nats, swarm, client } = useClientRig();

type Heard = TaskEvent | EventsDropped;

async function listOf(events: AsyncIterable<Heard>): Promise<Heard[]> {
  const list: Heard[] = [];
  for await (const event of events) list.push(event);
  return list;
}

function say(fake: FakeSwarm, id: string, type: string, data: unknown): void {
  fake.bus.publish(fake.names.event("default", id), encode({ id, type, at: 1, attempt: 1, data }));
}

test("a task's events come in order and typed, and end with its result", async () => {
  const fake = await swarm();
  const user = await client(fake);
  const events = user.handle("default", "t").events();
  const task = await user.submit("echo", 1, { id: "t", track: false });
  const error = { code: "AGENT_ERROR", message: "boom", retryable: true };
  say(fake, "t", "progress", 50);
  say(fake, "t", "retrying", { error, delayMs: 5 });
  // What is no event of this task is left out.
  for (const rubbish of [7, { id: "t" }, { id: "other", type: "progress", at: 1, attempt: 1 }])
    fake.bus.publish(fake.names.event("default", "t"), encode(rubbish));
  fake.bus.publish(fake.names.event("default", "t"), new Uint8Array([0xc1]));
  say(fake, "t", "output", "no map");
  say(fake, "t", "unheard-of", 1);
  say(fake, "t", "output", { seq: 0, chunk: "once" });
  await fake.bus.flush();
  await fake.store("t", "done");
  const heard = await listOf(events);
  expect(heard.map(({ type }) => type)).toEqual(["progress", "retrying", "output"]);
  for (const event of heard) {
    if (event.type === "retrying") expectTypeOf(event.data.error).toEqualTypeOf<WireError>();
    if (event.type === "output") expect(event.data).toEqual({ seq: 0, chunk: "once" });
    if (event.type === "dropped") expectTypeOf(event.count).toEqualTypeOf<number | undefined>();
  }
  expect(await task.result()).toMatchObject({ output: "done" });
  expect(await listOf(task.events()), "it has ended").toEqual([]);
});

test("no event of a fast task is missed by who listens before it is sent", async () => {
  const fake = await swarm();
  const logger = new RecordingLogger();
  const user = await client(fake, { logger });
  await fake.bus.subscribe(fake.names.task("default", "fast"), async ({ data }) => {
    const { id, replyTo } = readBody(data).fields as Record<string, string>;
    for (let i = 0; i < 100; i++) say(fake, String(id), "progress", i);
    fake.bus.publish(String(replyTo), await fake.store(String(id), 1));
  });
  const heard: Heard[] = [];
  const task = await user.submit("fast", 1, { onEvent: (event) => heard.push(event) });
  await task.result();
  await until(() => heard.length === 100);
  expect(heard.map((event) => (event.type === "progress" ? event.data : event.type))).toEqual(
    Array.from({ length: 100 }, (_, i) => i),
  );
  const throwing = await user.submit("fast", 2, {
    onEvent: () => {
      throw new Error("mine");
    },
  });
  expect(await throwing.result(), "its failure is its own").toMatchObject({ status: "ok" });
  await until(() => logger.lines.length >= 100);
});

test("a reader that is too slow loses the oldest events, and is told how many", async () => {
  const fake = await swarm();
  const user = await client(fake);
  const task = await user.submit("echo", 1, { track: false });
  const events = task.events();
  // Over the same connection, so the server has the subscription now.
  await user.submit("echo", 2, { track: false });
  for (let i = 0; i < 1_010; i++) say(fake, task.id, "progress", i);
  await fake.bus.flush();
  await fake.store(task.id, 1);
  await user.handle("default", task.id).result();
  await until(() => true);
  const heard = await listOf(events);
  expect(heard[0]).toMatchObject({ type: "dropped", id: task.id, reason: "overflow", count: 10 });
  expect(heard[1]).toMatchObject({ type: "progress", data: 10 });
  expect(heard).toHaveLength(1_001);
});

test("a lost connection is a gap that is told, and what follows is heard", async () => {
  const fake = await swarm();
  const proxy = await TcpProxy.to(nats.port);
  onTestFinished(() => proxy.close());
  const user = await client(fake, { url: proxy.url });
  const task = await user.submit("echo", 1);
  const events = task.events();
  await user.submit("echo", 2);
  say(fake, task.id, "progress", "before");
  expect((await events.next()).value).toMatchObject({ data: "before" });
  proxy.cut();
  expect((await events.next()).value).toMatchObject({ type: "dropped", reason: "disconnected" });
  await user.submit("echo", 3);
  say(fake, task.id, "progress", "after");
  expect((await events.next()).value).toMatchObject({ data: "after" });
  await events.return?.();
});

test("listening ends with ABORTED, TIMEOUT, the loop or the client, and holds nothing then", async () => {
  const fake = await swarm();
  const user = await client(fake);
  const task = user.handle("default", "t");
  const controller = new AbortController();
  const aborted = rejection(listOf(task.events({ signal: controller.signal })));
  controller.abort(new Error("enough"));
  expect(await aborted).toMatchObject({ code: "ABORTED", message: "listening to the events of t was aborted" });
  expect(await rejection(listOf(task.events({ signal: AbortSignal.abort() })))).toMatchObject({ code: "ABORTED" });
  expect(await rejection(listOf(task.events({ timeoutMs: 1 })))).toMatchObject({
    code: "TIMEOUT",
    message: "listening to the events of t timed out after 1 ms",
  });
  expect(() => task.events({ timeoutMs: -1 })).toThrow(expect.objectContaining({ code: "INVALID" }));
  const left = task.events();
  await user.submit("echo", 1, { track: false });
  say(fake, "t", "progress", 1);
  for await (const event of left) {
    expect(event).toMatchObject({ data: 1 });
    break;
  }
  expect(await left.next()).toEqual({ done: true, value: undefined });
  const closed = rejection(listOf(task.events()));
  await user.close();
  expect(await closed).toMatchObject({ code: "SHUTTING_DOWN" });
});

test("onEvent is refused where it could not be kept", async () => {
  const fake = await swarm();
  const user = await client(fake);
  const onEvent = (): void => undefined;
  const wrong: readonly Record<string, unknown>[] = [
    { onEvent: 1 },
    { onEvent, track: false },
    { onEvent, msgId: "m" },
  ];
  for (const options of wrong)
    expect(await rejection(user.submit("echo", 1, options as SubmitOptions))).toMatchObject({
      code: "INVALID",
      message: expect.stringContaining("onEvent"),
    });
  expect(await rejection(user.submitMany("echo", [1], { onEvent } as object))).toMatchObject({ code: "INVALID" });
  expect(await fake.queued()).toBe(0);
});
