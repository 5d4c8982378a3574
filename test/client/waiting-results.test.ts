import { setImmediate as turn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, onTestFinished, test } from "vitest";
import type { Bus } from "../../src/bus/bus.ts";
import { encode } from "../../src/bus/codec/codec.ts";
import { lastBySubject } from "../../src/bus/stored.ts";
import { Asker } from "../../src/client/asker.ts";
import { type HandleParts, TaskHandle } from "../../src/client/handle.ts";
import { TaskQuestions } from "../../src/client/task-questions.ts";
import { WaitingResults } from "../../src/client/waiting-results.ts";
import { VgasError } from "../../src/protocols/errors.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { useNats } from "../support/nats.ts";
import { RecordingLogger } from "../support/recording-logger.ts";
import { rejection, until } from "../support/wait.ts";
import { FakeSwarm } from "./fake-swarm.ts";

const nats = useNats();
let swarms = 0;

interface Parts {
  readonly fake: FakeSwarm;
  readonly bus: Bus;
  readonly clock: ManualClock;
  readonly logger: RecordingLogger;
  readonly waiting: WaitingResults;
}

/** Of these tests no handle asks a dispatcher. */
function handles(waiting: WaitingResults): HandleParts {
  return { waiting } as HandleParts;
}

async function parts(): Promise<Parts> {
  const fake = await FakeSwarm.start(nats, { prefix: `waiting${swarms++}` });
  const bus = await nats.bus({ user: "client" });
  const clock = new ManualClock();
  const logger = new RecordingLogger();
  const waiting = new WaitingResults({ bus, names: fake.names, logger, clock });
  await waiting.start();
  onTestFinished(() => waiting.close(new VgasError("SHUTTING_DOWN", "the test is over")));
  return { fake, bus, clock, logger, waiting };
}

/** Whatever the client has asked the stream for so far is answered before this. */
async function answeredAll(fake: FakeSwarm, bus: Bus): Promise<void> {
  await lastBySubject(bus, fake.names.streams.results, fake.names.result("default", "none"));
}

test("an answer that was never sent is made up for by a look-up, and then nothing is left armed", async () => {
  const { fake, bus, clock, waiting } = await parts();
  const pending = waiting.expect("default", "t1");
  const task = new TaskHandle(handles(waiting), { id: "t1", pool: "default", kind: "echo" }, pending);
  const result = task.result();
  await fake.store("t1", "stored");
  await clock.advance(4_900);
  await answeredAll(fake, bus);
  expect(pending.outcome, "nobody looked yet").toBeUndefined();
  await clock.advance(1_000);
  expect(await result).toMatchObject({ output: "stored" });
  expect(waiting.size).toBe(0);
  expect(clock.armed).toBe(0);
});

test("what nobody waits for is not looked up; when somebody does, it is looked up at once", async () => {
  const { fake, bus, clock, waiting } = await parts();
  const pending = waiting.expect("default", "t1");
  await fake.store("t1", 1);
  await clock.advance(60_000);
  await answeredAll(fake, bus);
  expect(pending.outcome).toBeUndefined();
  const task = new TaskHandle(handles(waiting), { id: "t1", pool: "default", kind: "echo" }, pending);
  expect(await task.result()).toMatchObject({ output: 1 });
});

test("an answer is found by its inbox, before its id is known", async () => {
  const { fake, waiting } = await parts();
  const pending = waiting.expect("default", undefined);
  const replyTo = waiting.replyTo(pending) as string;
  fake.bus.publish(replyTo, encode({ id: "s1", status: "ok" }));
  await until(() => pending.outcome !== undefined);
  expect(pending.outcome).toMatchObject({ id: "s1" });
});

test("what is no result changes nothing, and is logged", async () => {
  const { fake, bus, logger, waiting } = await parts();
  const pending = waiting.expect("default", "t1");
  const replyTo = waiting.replyTo(pending) as string;
  const nonsense = [
    new Uint8Array(0),
    new Uint8Array([0xc1]),
    encode(null),
    encode({ id: 1 }),
    encode({ id: "t1", status: "fine" }),
  ];
  for (const bytes of nonsense) fake.bus.publish(replyTo, bytes);
  fake.bus.publish(`${replyTo.slice(0, replyTo.lastIndexOf("."))}.unknown`, encode({ id: "x", status: "ok" }));
  await fake.bus.flush();
  await bus.flush();
  expect(logger.lines).toHaveLength(nonsense.length);
  expect(pending.outcome).toBeUndefined();
  expect(bus.counters.handlerErrors).toBe(0);
  fake.bus.publish(replyTo, encode({ id: "t1", status: "ok" }));
  await until(() => pending.outcome !== undefined);
});

test("a thousand results that were missed are found in one sweep", async () => {
  const { fake, clock, waiting } = await parts();
  const ids = Array.from({ length: 1_500 }, (_, i) => `t${i}`);
  const results = ids.map((id) => {
    const pending = waiting.expect("default", id);
    return new TaskHandle(handles(waiting), { id, pool: "default", kind: "echo" }, pending).result();
  });
  await Promise.all(ids.map((id, i) => fake.store(id, i)));
  await clock.advance(6_000);
  expect((await Promise.all(results)).map(({ output }) => output)).toEqual(ids.map((_, i) => i));
  expect(waiting.size).toBe(0);
});

test("the end of the connection fails what is waited for", async () => {
  const { bus, waiting } = await parts();
  const pending = waiting.expect("default", "t1");
  const task = new TaskHandle(handles(waiting), { id: "t1", pool: "default", kind: "echo" }, pending);
  const failed = rejection(task.result());
  await bus.close();
  expect(await failed).toMatchObject({ code: "SHUTTING_DOWN" });
  expect(() => waiting.expect("default", "t2")).toThrow(expect.objectContaining({ code: "SHUTTING_DOWN" }));
});

test("a result that is waited for is read as soon as its task is known to be cancelled, without a pause", async () => {
  const { fake, bus, waiting } = await parts();
  const asker = new Asker(bus);
  onTestFinished(() => asker.close());
  const questions = new TaskQuestions({ names: fake.names, asker, waiting, guest: undefined });
  await fake.answers(fake.names.cancel("default", "*"), async (_, { subject }) => {
    const id = String(subject.split(".").at(-1));
    // As if the answer to `replyTo` were lost.
    await fake.store(id, undefined, "default", "cancelled");
    return { id, state: "cancelled" };
  });
  // The clock stands still: whatever waits for a look-up to be due waits for ever.
  for (const given of [true, false]) {
    const id = `t${given}`;
    const pending = waiting.expect("default", id);
    const result = new TaskHandle(handles(waiting), { id, pool: "default" }, pending).result();
    await questions.cancel("default", id, {}, given ? pending : undefined);
    expect(await result).toMatchObject({ id, status: "cancelled" });
  }
});

test("of many, each answer finds its task, whether it comes before somebody asks or after", async () => {
  const { fake, clock, waiting } = await parts();
  const many = waiting.expectMany("default");
  const inboxes = Array.from({ length: 3 }, () => many.next());
  const handle = (place: number): TaskHandle =>
    new TaskHandle(handles(waiting), { id: `t${place}`, pool: "default" }, undefined, many, place);
  const answer = (place: number): void =>
    fake.bus.publish(inboxes[place] as string, encode({ id: `t${place}`, status: "ok", output: place }));
  // Nobody can make many of what was never sent.
  fake.bus.publish(`${(inboxes[0] as string).slice(0, -1)}7`, encode({ id: "t7", status: "ok" }));
  answer(0);
  await until(() => many.get(0) !== undefined);
  expect(waiting.size, "nothing is looked up for it").toBe(0);
  expect(handle(0).outcome).toMatchObject({ output: 0 });
  expect(await handle(0).result()).toMatchObject({ output: 0 });
  expect(many.get(0), "its handle has it now").toBeUndefined();
  expect(many.get(7)).toBeUndefined();
  const asked = handle(1).result();
  answer(1);
  expect(await asked).toMatchObject({ output: 1 });
  // The last answer is lost.
  const lost = handle(2).result();
  await fake.store("t2", "stored");
  await clock.advance(6_000);
  expect(await lost).toMatchObject({ output: "stored" });
  expect([waiting.size, clock.armed, many.get(1), many.get(2)]).toEqual([0, 0, undefined, undefined]);
});

test("of many, what is asked for when the client is closed fails, and what has come is there", async () => {
  const { fake, waiting } = await parts();
  const many = waiting.expectMany("default");
  fake.bus.publish(many.next(), encode({ id: "t0", status: "ok" }));
  many.next();
  await until(() => many.get(0) !== undefined);
  waiting.close(new VgasError("SHUTTING_DOWN", "closed"));
  const [come, open] = [0, 1].map(
    (place) => new TaskHandle(handles(waiting), { id: `t${place}`, pool: "default" }, undefined, many, place),
  );
  expect(await come?.result()).toMatchObject({ id: "t0" });
  expect(await rejection(open?.result() ?? Promise.resolve())).toMatchObject({ code: "SHUTTING_DOWN" });
});

test("many that nobody has a handle of are forgotten; those that somebody waits for are not", async () => {
  const { fake, logger, waiting } = await parts();
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  let result: Promise<unknown> | undefined;
  const submitted = (wait: boolean): string => {
    const many = waiting.expectMany("default");
    if (wait) result = new TaskHandle(handles(waiting), { id: "t1", pool: "default" }, undefined, many, 0).result();
    return many.next();
  };
  const dropped = submitted(false);
  const waited = submitted(true);
  await turn();
  collect();
  // No result: only for what may still be asked for it is worth a word.
  fake.bus.publish(dropped, encode("nonsense"));
  fake.bus.publish(waited, encode("nonsense"));
  await until(() => logger.lines.length > 0);
  fake.bus.publish(waited, encode({ id: "t1", status: "ok" }));
  expect(await result).toMatchObject({ id: "t1" });
  expect(logger.lines).toHaveLength(1);
});
