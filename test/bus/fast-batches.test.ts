/** Publishes that the server stores as they come and answers together, with a real nats-server: P1 and P2 hold as with an answer for each. */
import { DiscardPolicy, jetstreamManager, type StreamConfig } from "@nats-io/jetstream";
import { describe, expect, test } from "vitest";
import type { Bus } from "../../src/bus/bus.ts";
import type { PubAck, Publisher } from "../../src/bus/publisher.ts";
import { ResultStore, type StoreOutcome } from "../../src/bus/results.ts";
import { ensureTopology } from "../../src/bus/topology.ts";
import { systemClock } from "../../src/protocols/clock.ts";
import { silentLogger } from "../../src/protocols/logger.ts";
import { TOPOLOGY_DEFAULTS } from "../../src/protocols/streams.ts";
import { Names } from "../../src/protocols/subjects.ts";
import { useNats } from "../support/nats.ts";
import { numbers, sorted, usePublishers } from "../support/publishers.ts";
import { makeStream, readStream } from "../support/streams.ts";
import { until } from "../support/wait.ts";

const nats = useNats();
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const { cleanup, open, openThroughProxy } = usePublishers(nats);

const FAST: Partial<StreamConfig> & { readonly allow_batched: boolean } = { allow_batched: true };
const ONCE = { max_msgs_per_subject: 1, discard: DiscardPolicy.New, discard_new_per_subject: true };

/** Publishes to so many subjects of the stream `name` in one turn. */
function publishAll(publisher: Publisher, name: string, count: number, first = 0): Promise<PubAck>[] {
  return Array.from({ length: count }, (_, i) =>
    publisher.publish(`${name}.${first + i}`, bytes(String(first + i)), { together: name, as: "fast" }),
  );
}

/** Counts what comes on the stream's subjects in fast batches, and how many of these there are. */
async function watchBatches(bus: Bus, name: string): Promise<{ messages: number; readonly batches: Set<string> }> {
  const seen = { messages: 0, batches: new Set<string>() };
  await bus.subscribe(`${name}.>`, ({ reply }) => {
    if (reply?.endsWith(".$FI") !== true) return;
    seen.messages++;
    seen.batches.add(reply.split(".").slice(0, -5).join("."));
  });
  return seen;
}

describe("what comes in one turn", () => {
  test("is stored in order, in batches, and each is told so", async () => {
    const { bus, publisher } = await open();
    await makeStream(bus, "many", { ...ONCE, ...FAST });
    const seen = await watchBatches(bus, "many");
    const acks = await Promise.all(publishAll(publisher, "many", 1_200));
    const stored = await readStream(bus, "many");
    expect(stored.map(({ text }) => text)).toEqual(numbers(1_200));
    for (const [i, { sequence }] of acks.entries()) expect(sequence).toBeGreaterThan(i);
    await bus.flush();
    expect(seen.messages).toBe(1_200);
    expect(seen.batches.size).toBe(3);
    expect(publisher.inFlight + publisher.waiting).toBe(0);
  });

  test("is not held back by what is in flight, of whomever, and comes one by one where it is little", async () => {
    const { bus, publisher } = await open();
    const other = await open();
    await makeStream(bus, "turns", { ...ONCE, ...FAST });
    const seen = await watchBatches(bus, "turns");
    const all: Promise<PubAck>[] = [];
    for (let turn = 0; turn < 30; turn++) {
      all.push(...publishAll(turn % 2 === 0 ? publisher : other.publisher, "turns", turn % 7, 10 * turn));
      await undefined;
      await undefined;
    }
    await Promise.all(all);
    const expected = numbers(30).flatMap((turn) => numbers(Number(turn) % 7, 10 * Number(turn)));
    expect(sorted((await readStream(bus, "turns")).map(({ text }) => text))).toEqual(expected);
    await other.bus.flush();
    await bus.flush();
    expect(seen.messages).toBe(4 * (4 + 5 + 6));
  });

  test("of several publishers at once is never taken for that of another (P1)", async () => {
    const publishers = await Promise.all(numbers(4).map(() => open()));
    const { bus } = publishers[0] as (typeof publishers)[number];
    await makeStream(bus, "crowd", { ...ONCE, ...FAST });
    await Promise.all(publishers.flatMap(({ publisher }, i) => publishAll(publisher, "crowd", 500, 500 * i)));
    expect(sorted((await readStream(bus, "crowd")).map(({ text }) => text))).toEqual(numbers(2_000));
  });

  test("goes one by one to a stream that takes no such batches, which is asked once", async () => {
    const { bus, publisher } = await open();
    await makeStream(bus, "plain", ONCE);
    const seen = await watchBatches(bus, "plain");
    await Promise.all(publishAll(publisher, "plain", 200));
    await bus.flush();
    const tried = seen.messages;
    expect(tried).toBeGreaterThan(0);
    await Promise.all(publishAll(publisher, "plain", 200, 200));
    await bus.flush();
    expect(seen.messages).toBe(tried);
    expect(sorted((await readStream(bus, "plain")).map(({ text }) => text))).toEqual(numbers(400));
  });

  test("is stored once by a server that knows no batches and answers each message as it comes", async () => {
    const { publisher } = await open();
    const old = await nats.bus();
    const stored = new Map<string, number>();
    await old.subscribe("old.>", (message) => {
      const id = message.header("Nats-Msg-Id") ?? "";
      const duplicate = stored.has(id);
      if (!duplicate) stored.set(id, stored.size + 1);
      const ack = { stream: "old", seq: stored.get(id), ...(duplicate && { duplicate }) };
      if (message.reply !== undefined) old.respond(message, bytes(JSON.stringify(ack)));
    });
    const acks = await Promise.all(
      numbers(100).map((n) => publisher.publish(`old.${n}`, bytes(n), { together: "old", as: "fast", msgId: n })),
    );
    expect(acks.map((ack) => ack.sequence)).toEqual(numbers(100).map((n) => stored.get(n)));
    expect(stored.size).toBe(100);
  });
});

describe("what the stream refuses", () => {
  test.each([0, 1, 100, 198, 199])("at place %i is told so, and all others are stored once (P1, P2)", async (place) => {
    const { bus, publisher } = await open();
    const name = `second${place}`;
    await makeStream(bus, name, { ...ONCE, ...FAST });
    await publisher.publish(`${name}.${place}`, bytes("first"));
    const outcomes = await Promise.allSettled(publishAll(publisher, name, 200));
    expect(outcomes.flatMap(({ status }, i) => (status === "rejected" ? [i] : []))).toEqual([place]);
    expect(outcomes[place]).toMatchObject({ reason: { code: "STREAM_FULL", apiCode: 10_077 } });
    const stored = await readStream(bus, name);
    expect(sorted(stored.slice(1).map(({ text }) => text))).toEqual(numbers(200).filter((n) => n !== String(place)));
    expect(stored[0]?.text).toBe("first");
  });

  test("for being full is never told to be stored (P1)", async () => {
    const { bus, publisher } = await open();
    await makeStream(bus, "full", { ...ONCE, ...FAST, max_bytes: 20_000 });
    const outcomes = (
      await Promise.all(
        numbers(8).map((round) => Promise.allSettled(publishAll(publisher, "full", 100, 100 * Number(round)))),
      )
    ).flat();
    const told = outcomes.flatMap(({ status }, i) => (status === "fulfilled" ? [String(i)] : []));
    expect(told.length).toBeGreaterThan(100);
    expect(told.length).toBeLessThan(800);
    expect(sorted((await readStream(bus, "full")).map(({ text }) => text))).toEqual(told);
    for (const outcome of outcomes)
      if (outcome.status === "rejected") expect(outcome).toMatchObject({ reason: { code: "STREAM_FULL" } });
  });
});

test("a message that is too large for the server is told so, and those of its batch are stored once (P1, P2)", async () => {
  const { bus, publisher } = await open();
  await makeStream(bus, "large", { ...ONCE, ...FAST });
  const outcomes = await Promise.allSettled(
    numbers(60).map((n) =>
      publisher.publish(`large.${n}`, n === "30" ? new Uint8Array(bus.maxPayload + 1) : bytes(n), {
        together: "large",
        as: "fast",
      }),
    ),
  );
  expect(outcomes[30]).toMatchObject({ reason: { code: "TOO_LARGE" } });
  expect(sorted((await readStream(bus, "large")).map(({ text }) => text))).toEqual(
    numbers(60).filter((n) => n !== "30"),
  );
  for (const outcome of outcomes.slice(31)) expect(outcome.status).toBe("fulfilled");
});

describe("a batch whose answer is lost", () => {
  test("is found stored, result by result, and stored once (P1, P2)", async () => {
    const { proxy, bus, publisher, direct } = await openThroughProxy({ ackTimeoutMs: 300 });
    const names = new Names("lost");
    await ensureTopology(direct, names, TOPOLOGY_DEFAULTS);
    const results = new ResultStore({ bus, publisher, names, clock: systemClock, logger: silentLogger });
    cleanup.push(() => results.close());
    await until(() => results.batches === "fast");
    // What comes one by one is sent again.
    let again = 0;
    await direct.subscribe(names.result("p", "*"), ({ reply }) => {
      if (reply?.endsWith(".$FI") !== true) again++;
    });
    proxy.deaf = true;
    const store = (id: string): Promise<StoreOutcome | undefined> =>
      new Promise((resolve) => {
        const address = { replyTo: undefined, traceparent: undefined };
        results.store("p", id, bytes(id), address, (_error, outcome) => resolve(outcome));
      });
    const outcomes = numbers(100).map(store);
    await until(() => again > 0);
    proxy.deaf = false;
    expect(await Promise.all(outcomes)).toEqual(new Array(100).fill("stored"));
    const stored = await readStream(direct, names.streams.results);
    expect(stored.map(({ text }) => text)).toEqual(numbers(100));
    expect(await store("next")).toBe("stored");
  });

  test("is TIMEOUT with an unknown outcome for a message that must not be sent again", async () => {
    const { proxy, publisher, direct } = await openThroughProxy({ ackTimeoutMs: 300 });
    await makeStream(direct, "unsure", FAST);
    proxy.deaf = true;
    const told = await Promise.allSettled(
      numbers(60).map((n) =>
        publisher.publish("unsure.x", bytes(n), { together: "unsure.x", as: "fast", retry: false }),
      ),
    );
    proxy.deaf = false;
    for (const outcome of told) expect(outcome).toMatchObject({ reason: { code: "TIMEOUT" } });
    // They are stored, however slow the server is, when one that is behind them is.
    await publisher.publish("unsure.last", bytes("60"), { msgId: "last" });
    expect((await readStream(direct, "unsure")).map(({ text }) => text)).toEqual(numbers(61));
  });

  test("by the server's kill -9 loses nothing and stores nothing twice (P1, P2)", async () => {
    const { bus, publisher } = await open({ maxMessages: 500 });
    await makeStream(bus, "killed", { ...ONCE, ...FAST });
    const total = 3_000;
    let answered = 0;
    let twice = 0;
    await new Promise<void>((resolve) => {
      for (let i = 0; i < total; i++) {
        const done = (error: Error | undefined): void => {
          if (error !== undefined) twice++;
          if (++answered === 1_000) resolve();
        };
        publisher.send(`killed.${i}`, bytes(String(i)), undefined, done, { together: "killed", as: "fast" });
      }
    });
    await nats.kill();
    expect(answered).toBeLessThan(total);
    await nats.start();
    await publisher.idle();
    expect(answered).toBe(total);
    // Stored before the kill, and refused when they came again: at most what was in flight.
    expect(twice).toBeLessThanOrEqual(500);
    expect(sorted((await readStream(bus, "killed")).map(({ text }) => text))).toEqual(numbers(total));
  });
});

describe("whatever somebody sends to the inbox that answers come to, a result is stored only if the stream says so (P9)", () => {
  test.each(
    [
      "",
      "{",
      "[]",
      '{"type":"ack","seq":1e99,"msgs":-1}',
      '{"type":"err","seq":0,"error":null}',
      '{"stream":"rubbish","seq":"x","count":5}',
      '{"error":{"code":400,"err_code":10208,"description":"unknown"}}',
    ].map((text, i) => ({ text, name: `rubbish${i}` })),
  )("$text", async ({ text, name }) => {
    const { bus, publisher } = await open({ ackTimeoutMs: 500 });
    // There is no stream until the rubbish has come: nobody else can have answered before.
    const listener = await nats.bus();
    let inbox: string | undefined;
    await listener.subscribe(`${name}.>`, ({ reply }) => {
      if (inbox !== undefined || reply === undefined) return;
      inbox = reply.split(".").slice(0, 3).join(".");
      for (const subject of [reply, `${inbox}.B`, `${inbox}.Bx.y.z`, `${inbox}.0`])
        listener.publish(subject, bytes(text));
    });
    let told = 0;
    const all = publishAll(publisher, name, 300);
    for (const each of all) void each.catch(() => undefined).finally(() => told++);
    await until(() => inbox !== undefined);
    await listener.flush();
    await bus.flush();
    expect(told).toBe(0);
    await makeStream(bus, name, { ...ONCE, ...FAST });
    const outcomes = await Promise.allSettled(all);
    expect(sorted((await readStream(bus, name)).map((stored) => stored.text))).toEqual(numbers(300));
    // One that waited so long for its answer that it was sent again is refused as the second of its subject.
    for (const outcome of outcomes)
      if (outcome.status === "rejected") expect(outcome).toMatchObject({ reason: { code: "STREAM_FULL" } });
    expect(bus.counters.handlerErrors).toBe(0);
  });
});

test("results of a swarm on one server may come so, and other streams may not; a server that is too old is not asked for it", async () => {
  const { bus } = await open();
  const names = new Names("fast");
  await ensureTopology(bus, names, TOPOLOGY_DEFAULTS);
  const manager = await jetstreamManager(bus.native);
  const { tasks, results, dead } = names.streams;
  const infos = await Promise.all([results, tasks, dead].map((stream) => manager.streams.info(stream)));
  expect(infos.map(({ config }) => (config as typeof FAST).allow_batched ?? false)).toEqual([true, false, false]);
});
