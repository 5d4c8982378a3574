/** Publishes that are stored together, with a real nats-server: P1 and P2 hold as they do for those that go by themselves. */
import { DiscardPolicy, jetstreamManager } from "@nats-io/jetstream";
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

const BATCHES = { allow_atomic: true };
const ONCE = { max_msgs_per_subject: 1, discard: DiscardPolicy.New, discard_new_per_subject: true };

/** Publishes to so many subjects of the stream `name`, to be stored together. */
function publishAll(publisher: Publisher, name: string, count: number, first = 0): Promise<PubAck>[] {
  return Array.from({ length: count }, (_, i) =>
    publisher.publish(`${name}.${first + i}`, bytes(String(first + i)), { together: name }),
  );
}

/** How many messages each batch in the stream has, and how many came by themselves. */
async function batchesOf(bus: Bus, name: string): Promise<{ readonly sizes: readonly number[]; alone: number }> {
  const manager = await jetstreamManager(bus.native);
  const { state } = await manager.streams.info(name);
  const sizes = new Map<string, number>();
  let alone = 0;
  for (let seq = state.first_seq; seq <= state.last_seq; seq++) {
    const id = (await manager.streams.getMessage(name, { seq }))?.header.get("Nats-Batch-Id");
    if (id === undefined || id === "") alone++;
    else sizes.set(id, (sizes.get(id) ?? 0) + 1);
  }
  return { sizes: [...sizes.values()], alone };
}

describe("what is to be stored together", () => {
  test("goes in batches where many wait, and each has the answer of its own place", async () => {
    const { bus, publisher } = await open();
    await makeStream(bus, "many", { ...ONCE, ...BATCHES });
    const acks = await Promise.all(publishAll(publisher, "many", 300));
    const stored = await readStream(bus, "many");
    expect(sorted(stored.map(({ text }) => text))).toEqual(numbers(300));
    for (const { text, sequence } of stored)
      expect(acks[Number(text)]).toEqual({ stream: "many", sequence, duplicate: false });
    const { sizes, alone } = await batchesOf(bus, "many");
    expect(sizes.length).toBeGreaterThan(0);
    for (const size of sizes) expect(size).toBeGreaterThanOrEqual(16);
    expect(sizes.reduce((sum, size) => sum + size, alone)).toBe(300);
    expect(publisher.inFlight + publisher.waiting).toBe(0);
  });

  test("goes by itself where few come at once", async () => {
    const { bus, publisher } = await open();
    await makeStream(bus, "few", { ...ONCE, ...BATCHES });
    for (let i = 0; i < 3; i++) await Promise.all(publishAll(publisher, "few", 5, 5 * i));
    expect(await batchesOf(bus, "few")).toEqual({ sizes: [], alone: 15 });
  });

  test("goes by itself to a stream that takes no batches, which is asked once", async () => {
    const { bus, publisher } = await open();
    await makeStream(bus, "plain", ONCE);
    let tried = 0;
    await bus.subscribe("plain.>", (message) => {
      if (message.header("Nats-Batch-Id") !== undefined) tried++;
    });
    await Promise.all(publishAll(publisher, "plain", 200));
    await bus.flush();
    const first = tried;
    expect(first).toBeGreaterThan(0);
    await Promise.all(publishAll(publisher, "plain", 200, 200));
    await bus.flush();
    expect(tried).toBe(first);
    expect(sorted((await readStream(bus, "plain")).map(({ text }) => text))).toEqual(numbers(400));
    expect(await batchesOf(bus, "plain")).toEqual({ sizes: [], alone: 400 });
  });

  test("is stored once by a server that knows no batches and stores each message as it comes", async () => {
    const { publisher } = await open();
    const old = await nats.bus();
    const stored = new Map<string, number>();
    await old.subscribe("old.>", (message) => {
      const id = message.header("Nats-Msg-Id") ?? "";
      const duplicate = stored.has(id);
      // Others publish in between.
      if (!duplicate) stored.set(id, 2 * stored.size + 1);
      const ack = { stream: "old", seq: stored.get(id), ...(duplicate && { duplicate }) };
      if (message.reply !== undefined) old.respond(message, bytes(JSON.stringify(ack)));
    });
    const acks = await Promise.all(
      numbers(100).map((n) => publisher.publish(`old.${n}`, bytes(n), { together: "old", msgId: n })),
    );
    expect(acks.map((ack) => ack.sequence)).toEqual(numbers(100).map((n) => stored.get(n)));
    expect(stored.size).toBe(100);
  });
});

describe("a message that the stream refuses", () => {
  test("refuses no other of its batch: the second for a subject is told so, the others are stored once (P1, P2)", async () => {
    const { bus, publisher } = await open();
    await makeStream(bus, "second", { ...ONCE, ...BATCHES });
    await publisher.publish("second.50", bytes("first"));
    const outcomes = await Promise.allSettled(publishAll(publisher, "second", 200));
    const refused = outcomes.flatMap(({ status }, i) => (status === "rejected" ? [i] : []));
    expect(refused).toEqual([50]);
    expect(outcomes[50]).toMatchObject({ reason: { code: "STREAM_FULL", apiCode: 10_077 } });
    const stored = await readStream(bus, "second");
    expect(sorted(stored.slice(1).map(({ text }) => text))).toEqual(numbers(200).filter((n) => n !== "50"));
    expect(stored[0]?.text).toBe("first");
  });

  test("and one of a known message id is answered as a duplicate (P1)", async () => {
    const { bus, publisher } = await open();
    await makeStream(bus, "ids", BATCHES);
    const publish = (n: string): Promise<PubAck> =>
      publisher.publish("ids.x", bytes(n), { together: "ids.x", msgId: n });
    const first = await publish("50");
    const acks = await Promise.all(numbers(200).map(publish));
    expect(acks[50]).toEqual({ ...first, duplicate: true });
    const stored = await readStream(bus, "ids");
    expect(sorted(stored.map(({ text }) => text))).toEqual(numbers(200));
    expect(acks.map(({ sequence }) => stored.find((each) => each.sequence === sequence)?.text)).toEqual(numbers(200));
  });

  test("is never in a batch with another one of its subject (P2)", async () => {
    const { bus, publisher } = await open();
    await makeStream(bus, "twice", { ...ONCE, ...BATCHES });
    const members: string[] = [];
    await bus.subscribe("twice.>", (message) => {
      const batch = message.header("Nats-Batch-Id");
      if (batch !== undefined) members.push(`${batch} ${message.subject}`);
    });
    const outcomes = await Promise.allSettled(
      [...numbers(60), ...numbers(60)].map((n, i) =>
        publisher.publish(`twice.${n}`, bytes(i < 60 ? "first" : "second"), { together: "twice" }),
      ),
    );
    expect(outcomes.map(({ status }) => status)).toEqual([
      ...new Array(60).fill("fulfilled"),
      ...new Array(60).fill("rejected"),
    ]);
    const stored = await readStream(bus, "twice");
    expect(members.length).toBeGreaterThan(60);
    expect(new Set(members).size).toBe(members.length);
    expect(stored).toHaveLength(60);
    expect(new Set(stored.map(({ text }) => text))).toEqual(new Set(["first"]));
  });
});

test("a stream that takes no batches is sent none: whoever listens hears each result once", async () => {
  const { bus, publisher, direct } = await openThroughProxy();
  const names = new Names("single");
  await ensureTopology(direct, names, { ...TOPOLOGY_DEFAULTS, batches: false });
  const results = new ResultStore({ bus, publisher, names, clock: systemClock, logger: silentLogger });
  cleanup.push(() => results.close());
  const heard: string[] = [];
  await direct.subscribe(names.result("p", "*"), ({ subject }) => void heard.push(subject));
  const address = { replyTo: undefined, traceparent: undefined };
  await Promise.all(
    numbers(100).map((id) => new Promise<void>((done) => results.store("p", id, bytes(id), address, () => done()))),
  );
  await bus.flush();
  await direct.flush();
  expect(sorted(heard)).toEqual(sorted(numbers(100).map((id) => names.result("p", id))));
});

describe("a batch whose answer is lost", () => {
  test("is found stored, message by message, and stored once (P1, P2)", async () => {
    const { proxy, bus, publisher, direct } = await openThroughProxy({ ackTimeoutMs: 300 });
    const names = new Names("lost");
    await ensureTopology(direct, names, { ...TOPOLOGY_DEFAULTS, batches: true });
    const results = new ResultStore({ bus, publisher, names, clock: systemClock, logger: silentLogger });
    cleanup.push(() => results.close());
    await until(() => results.batches === "atomic");
    const lost = proxy.nextDrop(names.streams.results);
    proxy.deaf = true;
    const store = (id: string): Promise<StoreOutcome | undefined> =>
      new Promise((resolve) => {
        const address = { replyTo: undefined, traceparent: undefined };
        results.store("p", id, bytes(id), address, (_error, outcome) => resolve(outcome));
      });
    const outcomes = numbers(100).map(store);
    await lost;
    proxy.deaf = false;
    expect(await Promise.all(outcomes)).toEqual(new Array(100).fill("stored"));
    const stored = await readStream(direct, names.streams.results);
    expect(sorted(stored.map(({ text }) => text))).toEqual(numbers(100));
    expect(await batchesOf(direct, names.streams.results)).toEqual({ sizes: [100], alone: 0 });
    // What comes next waits for nothing of it.
    expect(await store("next")).toBe("stored");
  });

  test("is TIMEOUT with an unknown outcome for a message that must not be sent again", async () => {
    const { proxy, publisher, direct } = await openThroughProxy({ ackTimeoutMs: 300 });
    await makeStream(direct, "unsure", BATCHES);
    proxy.deaf = true;
    const outcomes = numbers(60).map((n) =>
      publisher.publish("unsure.x", bytes(n), { together: "unsure.x", retry: false }),
    );
    const told = await Promise.allSettled(outcomes);
    proxy.deaf = false;
    for (const outcome of told) expect(outcome).toMatchObject({ reason: { code: "TIMEOUT" } });
    // They are stored, however slow the server is, when one that is behind them is.
    await publisher.publish("unsure.last", bytes("60"), { msgId: "last" });
    expect((await readStream(direct, "unsure")).map(({ text }) => text)).toEqual(numbers(61));
  });

  test("by the server's kill -9 loses nothing and stores nothing twice (P1)", async () => {
    const { bus, publisher } = await open({ maxMessages: 500 });
    await makeStream(bus, "killed", BATCHES);
    const total = 3_000;
    let answered = 0;
    await new Promise<void>((resolve) => {
      for (let i = 0; i < total; i++) {
        const done = (error: unknown): void => {
          if (error !== undefined) throw error;
          if (++answered === 1_000) resolve();
        };
        publisher.send("killed.x", bytes(String(i)), undefined, done, { msgId: `m${i}`, together: "killed.x" });
      }
    });
    await nats.kill();
    expect(answered).toBeLessThan(total);
    await nats.start();
    await publisher.idle();
    expect(answered).toBe(total);
    expect(bus.counters.handlerErrors).toBe(0);
    const texts = (await readStream(bus, "killed")).map((message) => message.text);
    expect(sorted(texts)).toEqual(numbers(total));
  });
});

test("a publish that is given up leaves its batch, and the rest goes on", async () => {
  const { proxy, publisher, direct } = await openThroughProxy({ ackTimeoutMs: 300 });
  await makeStream(direct, "leaves", { ...ONCE, ...BATCHES });
  const controller = new AbortController();
  const lost = proxy.nextDrop("leaves");
  proxy.deaf = true;
  const all = numbers(60).map((n) =>
    publisher.publish(`leaves.${n}`, bytes(n), {
      together: "leaves",
      ...(n === "30" && { signal: controller.signal }),
    }),
  );
  const settled = Promise.allSettled(all);
  await lost;
  controller.abort();
  proxy.deaf = false;
  proxy.cut();
  const outcomes = await settled;
  expect(outcomes[30]).toMatchObject({ reason: { code: "ABORTED" } });
  expect(publisher.inFlight + publisher.waiting).toBe(0);
});
