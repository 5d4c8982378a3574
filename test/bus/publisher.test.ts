import { DiscardPolicy, jetstreamManager } from "@nats-io/jetstream";
import { createUser } from "@nats-io/nkeys";
import { afterEach, describe, expect, onTestFinished, test, vi } from "vitest";
import type { Bus, BusStatus } from "../../src/bus/bus.ts";
import { Publisher, type PublisherOptions, PublishRefused } from "../../src/bus/publisher.ts";
import { useNats } from "../support/nats.ts";
import { TcpProxy } from "../support/proxy.ts";
import { PATIENT } from "../support/publishers.ts";
import { makeStream, readStream } from "../support/streams.ts";
import { rejection } from "../support/wait.ts";

const full = createUser();
const limited = createUser();
const nats = useNats({
  config: `authorization { users: [
    { nkey: ${full.getPublicKey()} }
    { nkey: ${limited.getPublicKey()}, permissions: { publish: ["open.>"], subscribe: ["_INBOX.limited.>"] } }
  ] }`,
});
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of cleanup.splice(0).reverse()) await step();
});

async function open(options: PublisherOptions = {}, url = nats.url): Promise<{ bus: Bus; publisher: Publisher }> {
  const bus = await nats.bus({ seed: full.getSeed(), url });
  const publisher = new Publisher(bus, { ...PATIENT, ...options });
  cleanup.push(() => publisher.close());
  return { bus, publisher };
}

async function openThroughProxy(options: PublisherOptions = {}) {
  const proxy = await TcpProxy.to(nats.port);
  cleanup.push(() => proxy.close());
  return { proxy, ...(await open(options, proxy.url)), direct: await nats.bus({ seed: full.getSeed() }) };
}

const nextStatus = (bus: Bus, type: BusStatus["type"]): Promise<void> =>
  new Promise((resolve) => {
    const stop = bus.onStatus((status) => {
      if (status.type !== type) return;
      stop();
      resolve();
    });
  });

/** The moment in which a refusal may change does not end, however long this test takes. */
function noTimePasses(): void {
  const spy = vi.spyOn(performance, "now").mockReturnValue(performance.now());
  onTestFinished(() => spy.mockRestore());
}

describe("a windowed publish", () => {
  test("stores in order, answers each with its sequence, and never exceeds the window", async () => {
    const { bus, publisher } = await open({ maxMessages: 16 });
    await makeStream(bus, "order");
    let highest = 0;
    const acks = await Promise.all(
      Array.from({ length: 2_000 }, (_, i) => {
        const ack = publisher.publish(`order.${i % 7}`, bytes(String(i)));
        highest = Math.max(highest, publisher.inFlight);
        return ack.then((stored) => {
          highest = Math.max(highest, publisher.inFlight);
          return stored;
        });
      }),
    );
    expect(highest).toBe(16);
    expect(acks.map((ack) => ack.sequence)).toEqual(Array.from({ length: 2_000 }, (_, i) => i + 1));
    expect(new Set(acks.map((ack) => ack.stream))).toEqual(new Set(["order"]));
    expect((await readStream(bus, "order")).map((message) => message.text)).toEqual(acks.map((_, i) => String(i)));
  });

  test("holds back what exceeds the window's bytes, and sends one larger than it alone", async () => {
    const { bus, publisher } = await open({ maxBytes: 10_000 });
    await makeStream(bus, "heavy");
    const results = [publisher.publish("heavy.a", new Uint8Array(50_000))];
    for (let i = 0; i < 20; i++) results.push(publisher.publish("heavy.b", new Uint8Array(4_000)));
    expect(publisher.inFlight).toBe(1);
    expect(publisher.waiting).toBe(20);
    await Promise.all(results);
    expect(publisher.waiting).toBe(0);
  });

  test("de-duplicates by message id", async () => {
    const { bus, publisher } = await open();
    await makeStream(bus, "dedup");
    const first = await publisher.publish("dedup.a", bytes("1"), { msgId: "x" });
    const second = await publisher.publish("dedup.a", bytes("2"), { msgId: "x" });
    expect(first).toEqual({ stream: "dedup", sequence: 1, duplicate: false });
    expect(second).toEqual({ stream: "dedup", sequence: 1, duplicate: true });
  });

  test("tells several streams' answers apart", async () => {
    const { bus, publisher } = await open();
    await makeStream(bus, "left");
    await makeStream(bus, "right");
    await publisher.publish("left.x", bytes(""));
    const acks = await Promise.all(["left.x", "right.x", "left.x"].map((s) => publisher.publish(s, bytes(""))));
    expect(acks.map(({ stream, sequence }) => `${stream} ${sequence}`)).toEqual(["left 2", "right 1", "left 3"]);
  });

  test("idle resolves when everything is answered, and at once when nothing is under way", async () => {
    const { bus, publisher } = await open();
    await makeStream(bus, "idle");
    await publisher.idle();
    let answered = 0;
    for (let i = 0; i < 100; i++) publisher.send("idle.x", bytes(""), undefined, () => void answered++);
    await publisher.idle();
    expect(answered).toBe(100);
  });

  test("a callback that throws harms nobody else and is counted", async () => {
    const { bus, publisher } = await open();
    await makeStream(bus, "throws");
    publisher.send("throws.x", bytes(""), undefined, () => {
      throw new Error("not mine");
    });
    expect((await publisher.publish("throws.x", bytes(""))).sequence).toBe(2);
    expect(bus.counters.handlerErrors).toBe(1);
  });
});

describe("a refusal", () => {
  const refused = async (work: Promise<unknown>): Promise<PublishRefused> => {
    const error = await rejection(work);
    expect(error).toBeInstanceOf(PublishRefused);
    return error as PublishRefused;
  };

  test("of a wrong last sequence is CONFLICT, 10071 or 10164", async () => {
    const { bus, publisher } = await open();
    await makeStream(bus, "cas");
    const put = (expectLastSubjectSequence: number) =>
      publisher.publish("cas.key", bytes(""), { expectLastSubjectSequence });
    expect((await put(0)).sequence).toBe(1);
    expect(await refused(put(0))).toMatchObject({ code: "CONFLICT", retryable: true, apiCode: 10_071 });
    expect((await put(1)).sequence).toBe(2);
    // Contenders in flight together: exactly one wins, by whichever code the others lose.
    const outcomes = await Promise.allSettled(Array.from({ length: 20 }, () => put(2)));
    const losers = outcomes.filter((outcome) => outcome.status === "rejected").map((outcome) => outcome.reason);
    expect(losers).toHaveLength(19);
    for (const loser of losers) {
      expect(loser).toMatchObject({ code: "CONFLICT" });
      expect([10_071, 10_164]).toContain((loser as PublishRefused).apiCode);
    }
  });

  test("by a full stream is STREAM_FULL 10077", async () => {
    const { bus, publisher } = await open();
    await makeStream(bus, "full", { max_msgs: 2, discard: DiscardPolicy.New });
    await publisher.publish("full.x", bytes(""));
    await publisher.publish("full.x", bytes(""));
    expect(await refused(publisher.publish("full.x", bytes("")))).toMatchObject({
      code: "STREAM_FULL",
      apiCode: 10_077,
      description: "maximum messages exceeded",
    });
  });

  test("of a second message for a subject is STREAM_FULL 10077 and says so", async () => {
    const { bus, publisher } = await open();
    const once = { max_msgs_per_subject: 1, discard: DiscardPolicy.New, discard_new_per_subject: true };
    await makeStream(bus, "once", once);
    await publisher.publish("once.x", bytes("first"));
    expect(await refused(publisher.publish("once.x", bytes("second")))).toMatchObject({
      code: "STREAM_FULL",
      apiCode: 10_077,
      description: "maximum messages per subject exceeded",
    });
    expect((await readStream(bus, "once")).map((message) => message.text)).toEqual(["first"]);
  });

  test("of what the stream finds too large is TOO_LARGE 10054, and of what the server does, TOO_LARGE", async () => {
    const { bus, publisher } = await open();
    await makeStream(bus, "small", { max_msg_size: 100 });
    expect(await refused(publisher.publish("small.x", new Uint8Array(200)))).toMatchObject({
      code: "TOO_LARGE",
      apiCode: 10_054,
    });
    const inner = rejection(publisher.publish("small.x", new Uint8Array(bus.maxPayload + 1)));
    expect(publisher.inFlight).toBe(0);
    expect(await inner).toMatchObject({ code: "TOO_LARGE" });
  });

  test("by no stream at all is UNDELIVERABLE", async () => {
    const { publisher } = await open();
    expect(await rejection(publisher.publish("nowhere.x", bytes("")))).toMatchObject({ code: "UNDELIVERABLE" });
    expect(await rejection(publisher.publish("nowhere.x", bytes(""), { retry: false }))).toMatchObject({
      code: "UNDELIVERABLE",
    });
  });

  test("by the credential is PERMISSION_DENIED", async () => {
    const bus = await nats.bus({ seed: limited.getSeed(), user: "limited" });
    const publisher = new Publisher(bus);
    expect(await rejection(publisher.publish("secret.x", bytes("")))).toMatchObject({ code: "PERMISSION_DENIED" });
    publisher.close();
  });

  test("is never told from within send", async () => {
    const { publisher } = await open();
    let inside = true;
    const told = new Promise<boolean>((resolve) => {
      publisher.send("a b", bytes(""), undefined, () => resolve(inside));
    });
    const alsoTold = new Promise<boolean>((resolve) => {
      publisher.send("x", bytes(""), { bad: "a\nb" }, () => resolve(inside));
    });
    inside = false;
    expect(await told).toBe(false);
    expect(await alsoTold).toBe(false);
  });
});

describe("a fault", () => {
  test("kill -9 of the server under a windowed publish loses nothing and stores nothing twice (P1)", async () => {
    const { bus, publisher } = await open({ maxMessages: 500 });
    await makeStream(bus, "killed");
    const total = 5_000;
    let answered = 0;
    const killAt = new Promise<void>((resolve) => {
      for (let i = 0; i < total; i++) {
        const done = (error: unknown): void => {
          if (error !== undefined) throw error;
          if (++answered === 1_000) resolve();
        };
        publisher.send("killed.x", bytes(String(i)), undefined, done, { msgId: `m${i}` });
      }
    });
    await killAt;
    const inFlight = publisher.inFlight;
    await nats.kill();
    const answeredAtKill = answered;
    await nats.start();
    await publisher.idle();
    expect(inFlight).toBeGreaterThan(0);
    expect(answeredAtKill).toBeLessThan(total);
    expect(answered).toBe(total);
    expect(bus.counters.handlerErrors).toBe(0);
    const texts = (await readStream(bus, "killed")).map((message) => message.text);
    expect(texts).toHaveLength(total);
    expect(new Set(texts).size).toBe(total);
  });

  test("what is handed in while disconnected is stored after the reconnect, in order", async () => {
    const { proxy, bus, publisher, direct } = await openThroughProxy();
    await makeStream(direct, "offline");
    const gone = nextStatus(bus, "disconnected");
    proxy.cut();
    await gone;
    const acks = await Promise.all(["a", "b", "c"].map((text) => publisher.publish("offline.x", bytes(text))));
    expect(acks.map((ack) => ack.sequence)).toEqual([1, 2, 3]);
    expect((await readStream(direct, "offline")).map((message) => message.text)).toEqual(["a", "b", "c"]);
  });

  test("a lost answer is asked for again with the same message id", async () => {
    const { proxy, publisher, direct } = await openThroughProxy({ ackTimeoutMs: 300 });
    await makeStream(direct, "lost");
    const lost = proxy.nextDrop('"stream":"lost"');
    proxy.deaf = true;
    const ack = publisher.publish("lost.x", bytes("once"), { msgId: "m" });
    await lost;
    proxy.deaf = false;
    expect(await ack).toEqual({ stream: "lost", sequence: 1, duplicate: true });
    expect(await readStream(direct, "lost")).toHaveLength(1);
  });

  test("without retry a lost answer is TIMEOUT with an unknown outcome, and is not sent again", async () => {
    const { proxy, publisher, direct } = await openThroughProxy({ ackTimeoutMs: 300 });
    await makeStream(direct, "unknown");
    const lost = proxy.nextDrop('"stream":"unknown"');
    proxy.deaf = true;
    const options = { expectLastSubjectSequence: 0 };
    const error = await rejection(publisher.publish("unknown.x", bytes("stored"), options));
    await lost;
    proxy.deaf = false;
    expect(error).toMatchObject({ code: "TIMEOUT", message: expect.stringContaining("is unknown") });
    expect(await readStream(direct, "unknown")).toMatchObject([{ text: "stored" }]);
  });

  test("without retry a lost connection is TIMEOUT at once", async () => {
    const { proxy, bus, publisher, direct } = await openThroughProxy();
    await makeStream(direct, "cut");
    const dropped = proxy.nextDrop('"stream":"cut"');
    proxy.deaf = true;
    const pending = rejection(publisher.publish("cut.x", bytes("x"), { retry: false }));
    await dropped;
    const back = nextStatus(bus, "reconnected");
    proxy.deaf = false;
    proxy.cut();
    expect(await pending).toMatchObject({ code: "TIMEOUT", message: expect.stringContaining("lost connection") });
    await back;
    expect(await readStream(direct, "cut")).toHaveLength(1);
  });

  test("a stream that appears within a moment takes what was published before", async () => {
    noTimePasses();
    const { bus, publisher } = await open();
    const late = publisher.publish("late.x", bytes("x"));
    await makeStream(bus, "late");
    expect((await late).stream).toBe("late");
  });
});

describe("giving up", () => {
  test("one that is still being stored in a cluster, under its message id, is asked for again", async () => {
    noTimePasses();
    const { publisher } = await open();
    const stream = await nats.bus({ seed: full.getSeed(), user: "stream" });
    const asked: (string | undefined)[] = [];
    await stream.subscribe("replicating.a", (message) => {
      asked.push(message.header("Nats-Msg-Id"));
      const refusal = { error: { code: 409, err_code: 10158, description: "duplicate message id is in process" } };
      const answer = asked.length < 3 ? refusal : { stream: "replicating", seq: 7, duplicate: true };
      stream.respond(message, bytes(JSON.stringify(answer)));
    });
    const ack = await publisher.publish("replicating.a", bytes("x"), { msgId: "m1" });
    expect(ack).toEqual({ stream: "replicating", sequence: 7, duplicate: true });
    expect(asked).toEqual(["m1", "m1", "m1"]);
  });

  test("a signal ends a publish that waits, and one in flight; the rest goes on", async () => {
    const { proxy, publisher, direct } = await openThroughProxy({ maxMessages: 1 });
    await makeStream(direct, "abort");
    proxy.deaf = true;
    const [first, second] = [new AbortController(), new AbortController()];
    const inFlight = rejection(publisher.publish("abort.x", bytes("1"), { signal: first.signal }));
    const waiting = rejection(publisher.publish("abort.x", bytes("2"), { signal: second.signal }));
    const third = publisher.publish("abort.x", bytes("3"), { msgId: "3" });
    second.abort();
    expect(await waiting).toMatchObject({ code: "ABORTED" });
    expect(publisher.inFlight).toBe(1);
    first.abort();
    expect(await inFlight).toMatchObject({ code: "ABORTED" });
    proxy.deaf = false;
    proxy.cut();
    await third;
    const aborted = publisher.publish("abort.x", bytes("4"), { signal: first.signal });
    expect(await rejection(aborted)).toMatchObject({ code: "ABORTED" });
    expect((await readStream(direct, "abort")).map((message) => message.text)).not.toContain("2");
  });

  test("close fails what is in flight and what waits, and resolves idle", async () => {
    const { proxy, publisher, direct } = await openThroughProxy({ maxMessages: 10 });
    await makeStream(direct, "close");
    proxy.deaf = true;
    const all = Promise.allSettled(Array.from({ length: 50 }, () => publisher.publish("close.x", bytes(""))));
    const idle = publisher.idle();
    publisher.close();
    publisher.close();
    await idle;
    for (const outcome of await all) expect(outcome).toMatchObject({ reason: { code: "SHUTTING_DOWN" } });
    expect(await rejection(publisher.publish("close.x", bytes("")))).toMatchObject({ code: "SHUTTING_DOWN" });
  });

  test("a bus that is closed closes its publisher", async () => {
    const { bus, publisher } = await open();
    await bus.close();
    expect(await rejection(publisher.publish("x", bytes("")))).toMatchObject({ code: "SHUTTING_DOWN" });
  });
});

test("the manager's own view agrees that nothing waits for an acknowledgement", async () => {
  const { bus, publisher } = await open();
  await makeStream(bus, "view");
  await Promise.all(Array.from({ length: 300 }, (_, i) => publisher.publish("view.x", bytes(String(i)))));
  const { state } = await (await jetstreamManager(bus.native)).streams.info("view");
  expect(state.messages).toBe(300);
  expect(publisher.inFlight + publisher.waiting).toBe(0);
});
