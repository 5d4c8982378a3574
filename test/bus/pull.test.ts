import { AckPolicy, jetstreamManager } from "@nats-io/jetstream";
import { createUser } from "@nats-io/nkeys";
import { afterEach, describe, expect, test } from "vitest";
import type { Bus } from "../../src/bus/bus.ts";
import { parseDelivery } from "../../src/bus/delivery.ts";
import { Publisher } from "../../src/bus/publisher.ts";
import {
  ackTask,
  nakTask,
  type PulledMessage,
  PullSubscription,
  type PullTiming,
  type PullTrouble,
  workingOnTask,
} from "../../src/bus/pull.ts";
import { PullLedger } from "../../src/bus/pull-ledger.ts";
import { consumerInfo } from "../../src/bus/topology.ts";
import { useNats } from "../support/nats.ts";
import { TcpProxy } from "../support/proxy.ts";
import { makeStream } from "../support/streams.ts";
import { eventually } from "../support/wait.ts";

const full = createUser();
const limited = createUser();
const nats = useNats({
  config: `authorization { users: [
    { nkey: ${full.getPublicKey()} }
    { nkey: ${limited.getPublicKey()}, permissions: { publish: ["open.>"], subscribe: ["_INBOX.limited.>"] } }
  ] }`,
});
/** An ack wait that no test outlives, so that a message comes again only if the server knows that it did not arrive. */
const NEVER_NANOS = 3_600_000 * 1_000_000;
const EMPTY = new Uint8Array(0);
const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of cleanup.splice(0).reverse()) await step();
});

async function makeConsumer(bus: Bus, stream: string): Promise<void> {
  const manager = await jetstreamManager(bus.native);
  await manager.consumers.add(stream, {
    durable_name: "c",
    ack_policy: AckPolicy.Explicit,
    ack_wait: NEVER_NANOS,
    max_ack_pending: -1,
  });
}

/** A stream with a consumer `c`, and a bus and publisher that stay connected whatever happens to others. */
async function open(stream: string) {
  const bus = await nats.bus({ seed: full.getSeed() });
  await makeStream(bus, stream);
  await makeConsumer(bus, stream);
  const publisher = new Publisher(bus);
  cleanup.push(() => publisher.close());
  const fill = async (count: number): Promise<void> => {
    await Promise.all(
      Array.from({ length: count }, (_, i) => publisher.publish(`${stream}.x`, EMPTY, { msgId: `${i}` })),
    );
  };
  return { bus, publisher, fill };
}

/** A pull whose messages and troubles are collected; `reach` and `trouble` resolve when they are there. */
function pull(bus: Bus, stream: string, timing?: PullTiming) {
  const messages: PulledMessage[] = [];
  const troubles: PullTrouble[] = [];
  const checks = new Set<() => void>();
  const when = (holds: () => boolean): Promise<void> =>
    new Promise((resolve) => {
      const check = (): void => {
        if (!holds()) return;
        checks.delete(check);
        resolve();
      };
      checks.add(check);
      check();
    });
  const handlers = {
    onMessage: (message: PulledMessage): void => {
      messages.push(message);
      for (const check of checks) check();
    },
    onTrouble: (reason: PullTrouble): void => {
      troubles.push(reason);
      for (const check of checks) check();
    },
  };
  const subscription = new PullSubscription(bus, stream, "c", handlers, timing);
  cleanup.push(() => subscription.stop());
  const reach = (count: number): Promise<void> => when(() => messages.length >= count);
  const trouble = (reason: PullTrouble): Promise<void> => when(() => troubles.includes(reason));
  return { subscription, messages, troubles, reach, trouble };
}

/** Resolves when what the server had to deliver has arrived: everything in its hands was sent before its answer. */
async function settled(bus: Bus, stream: string): Promise<number> {
  const state = await consumerInfo(bus, stream, "c");
  await bus.flush();
  return state?.ackPending ?? 0;
}

describe("credit", () => {
  test("is exact: never more than wanted, and all of it", async () => {
    const { bus, fill } = await open("exact");
    await fill(500);
    const { subscription, messages, reach } = pull(bus, "exact");
    let wantedInAll = 0;
    for (const wanted of [1, 7, 100, 250]) {
      subscription.want(wanted);
      wantedInAll += wanted;
      await reach(wantedInAll);
      expect(await settled(bus, "exact")).toBe(wantedInAll);
      expect(messages).toHaveLength(wantedInAll);
      expect(subscription.outstanding).toBe(0);
      expect(subscription.wanted).toBe(0);
    }
    expect(messages.map((message) => message.sequence)).toEqual(Array.from({ length: 358 }, (_, i) => i + 1));
  });

  test("asks only for the difference when more is wanted, and for nothing when less is", async () => {
    const { bus, fill } = await open("difference");
    const { subscription, messages, reach } = pull(bus, "difference");
    subscription.want(10);
    subscription.want(10);
    subscription.want(4);
    expect(subscription.outstanding).toBe(10);
    subscription.want(25);
    expect(subscription.outstanding).toBe(25);
    await fill(100);
    await reach(25);
    expect(await settled(bus, "difference")).toBe(25);
    expect(messages).toHaveLength(25);
  });

  test("of several subscriptions adds up over one consumer", async () => {
    const { bus, fill } = await open("shared");
    const pulls = [30, 20, 10].map((wanted) => ({ wanted, ...pull(bus, "shared") }));
    for (const { subscription, wanted } of pulls) subscription.want(wanted);
    await fill(200);
    await Promise.all(pulls.map(({ reach, wanted }) => reach(wanted)));
    expect(await settled(bus, "shared")).toBe(60);
    expect(pulls.map(({ messages }) => messages.length)).toEqual([30, 20, 10]);
  });

  test("stays exact while it is raised as messages come", async () => {
    const { bus, fill } = await open("raised");
    const slots = 16;
    let highest = 0;
    let running = 0;
    let finished = 0;
    const total = 2_000;
    const done = new Promise<void>((resolve) => {
      const subscription: PullSubscription = new PullSubscription(bus, "raised", "c", {
        onMessage: (message) => {
          highest = Math.max(highest, ++running);
          setImmediate(() => {
            running--;
            ackTask(bus, message.ack);
            if (++finished === total) resolve();
            subscription.want(slots - running);
          });
        },
        onTrouble: (reason, detail) => {
          throw new Error(`${reason}: ${detail}`);
        },
      });
      cleanup.push(() => subscription.stop());
      subscription.want(slots);
    });
    await fill(total);
    await done;
    expect(highest).toBeLessThanOrEqual(slots);
    // The server counts acknowledgements after it has answered other things.
    await eventually(async () => ((await settled(bus, "raised")) === 0 ? true : undefined), "all to be acknowledged");
    expect(bus.counters.handlerErrors).toBe(0);
  });

  test("survives expiries: what is still wanted is asked for again, and not twice", async () => {
    const { bus, fill } = await open("expiry");
    const asked: string[] = [];
    const heard = new Promise<void>((resolve) => {
      bus.subscribeNow("$JS.API.CONSUMER.MSG.NEXT.expiry.c", (message) => {
        asked.push(new TextDecoder().decode(message.data));
        if (asked.length === 4) resolve();
      });
    });
    // Of a consumer that is new they end after a quarter of a second.
    const { subscription, messages, reach, troubles } = pull(bus, "expiry", { expiresMs: 10_000, heartbeatMs: 5_000 });
    subscription.want(5);
    await heard;
    expect(asked.map((request) => JSON.parse(request).batch)).toEqual([5, 5, 5, 5]);
    expect(subscription.outstanding).toBe(5);
    await fill(50);
    await reach(5);
    expect(await settled(bus, "expiry")).toBe(5);
    expect(messages).toHaveLength(5);
    expect(troubles).toEqual([]);
  });
});

describe("a fault", () => {
  test("a cut connection loses no credit and adds none", async () => {
    const { bus: direct, publisher, fill } = await open("cut");
    const proxy = await TcpProxy.to(nats.port);
    cleanup.push(() => proxy.close());
    const bus = await nats.bus({ seed: full.getSeed(), url: proxy.url });
    const { subscription, messages, reach, trouble } = pull(bus, "cut");
    subscription.want(10);
    await fill(4);
    await reach(4);
    proxy.cut();
    await trouble("lost");
    expect(subscription.outstanding).toBe(0);
    for (let i = 0; i < 100; i++) await publisher.publish("cut.y", EMPTY);
    await reach(10);
    await settled(direct, "cut");
    await bus.flush();
    expect(messages).toHaveLength(10);
    expect(subscription.outstanding).toBe(0);
  });

  test("a killed server loses no credit and adds none", async () => {
    const { bus, fill, publisher } = await open("killed");
    const { subscription, messages, reach, trouble } = pull(bus, "killed");
    subscription.want(10);
    await fill(3);
    await reach(3);
    await nats.kill();
    await trouble("lost");
    await nats.start();
    for (let i = 0; i < 50; i++) await publisher.publish("killed.y", EMPTY, { msgId: `y${i}` });
    await reach(10);
    await settled(bus, "killed");
    expect(messages).toHaveLength(10);
  });

  test("a deleted consumer is told once; resume asks again for what is still wanted", async () => {
    const { bus, publisher } = await open("deleted");
    const { subscription, messages, troubles, reach, trouble } = pull(bus, "deleted");
    subscription.want(10);
    await bus.flush();
    const manager = await jetstreamManager(bus.native);
    await manager.consumers.delete("deleted", "c");
    await trouble("consumer-gone");
    expect(subscription.outstanding).toBe(0);
    subscription.want(10);
    expect(subscription.outstanding).toBe(0);
    await makeConsumer(bus, "deleted");
    for (let i = 0; i < 30; i++) await publisher.publish("deleted.y", EMPTY);
    subscription.resume();
    await reach(10);
    expect(await settled(bus, "deleted")).toBe(10);
    expect(messages).toHaveLength(10);
    expect(troubles).toEqual(["consumer-gone"]);
  });

  test("a consumer that never was is consumer-gone", async () => {
    const bus = await nats.bus({ seed: full.getSeed() });
    await makeStream(bus, "never");
    const { subscription, trouble } = pull(bus, "never");
    subscription.want(1);
    await trouble("consumer-gone");
    expect(subscription.outstanding).toBe(0);
  });

  test("silence is lost credit, asked for again", async () => {
    const { fill } = await open("silent");
    const proxy = await TcpProxy.to(nats.port);
    cleanup.push(() => proxy.close());
    const bus = await nats.bus({ seed: full.getSeed(), url: proxy.url });
    const { subscription, messages, reach, trouble } = pull(bus, "silent", { expiresMs: 30_000, heartbeatMs: 300 });
    await bus.flush();
    const struck = proxy.nextDrop();
    proxy.deaf = true;
    subscription.want(5);
    await trouble("lost");
    await struck;
    // A stream of bytes with a hole in it cannot go on.
    proxy.deaf = false;
    proxy.cut();
    await fill(20);
    await reach(5);
    expect(messages).toHaveLength(5);
  });

  test("a credential that does not open the pull is permission", async () => {
    const bus = await nats.bus({ seed: limited.getSeed(), user: "limited" });
    const { subscription, trouble, troubles } = pull(bus, "secret");
    subscription.want(5);
    await trouble("permission");
    expect(subscription.outstanding).toBe(0);
    subscription.want(6);
    expect(troubles).toEqual(["permission"]);
  });
});

describe("the end", () => {
  test("what is on the way at a stop still comes before it resolves, and nothing after; nothing is lost", async () => {
    const { bus, fill } = await open("stop");
    await fill(1_000);
    const first = pull(bus, "stop");
    first.subscription.want(1_000);
    await first.reach(1);
    const again = first.subscription.stop();
    await first.subscription.stop();
    await again;
    const kept = first.messages.length;
    const second = pull(bus, "stop");
    second.subscription.want(1_000 - kept);
    await second.reach(1_000 - kept);
    expect(await settled(bus, "stop")).toBe(1_000);
    expect(first.messages).toHaveLength(kept);
    const seen = [...first.messages, ...second.messages].map((message) => message.sequence);
    expect([...seen].sort((a, b) => a - b)).toEqual(Array.from({ length: 1_000 }, (_, i) => i + 1));
  });

  test("nothing that was given up comes as a second delivery, while messages come and at the stop", async () => {
    const { bus, publisher } = await open("given-up");
    let id = 0;
    const fill = (messages: number): Promise<unknown> =>
      Promise.all(Array.from({ length: messages }, () => publisher.publish("given-up.x", EMPTY, { msgId: `${id++}` })));
    const subscriptions = [pull(bus, "given-up"), pull(bus, "given-up")];
    const count = (): number => subscriptions.reduce((sum, { messages }) => sum + messages.length, 0);
    const rounds = 60;
    const acked = new Set<number>();
    const ack = (): void => {
      for (const { messages } of subscriptions)
        for (const { sequence, ack } of messages) if (!acked.has(sequence)) ackTask(bus, ack) && acked.add(sequence);
    };
    for (let round = 1; round <= rounds; round++) {
      const filling = fill(100);
      while (count() < 100 * round) {
        for (const { subscription } of subscriptions) subscription.restart(20);
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      await filling;
      ack();
    }
    const last = fill(100);
    for (const { subscription } of subscriptions) subscription.want(20);
    await Promise.all(subscriptions.map(({ subscription }) => subscription.stop()));
    await last;
    const left = 100 * (rounds + 1) - count();
    const rest = pull(bus, "given-up");
    rest.subscription.want(left);
    await rest.reach(left);
    const all = [...subscriptions, rest].flatMap(({ messages }) => messages);
    expect(all.filter(({ deliveries }) => deliveries > 1)).toEqual([]);
    expect(new Set(all.map(({ sequence }) => sequence)).size).toBe(all.length);
  });

  test("a stopped subscription asks for nothing", async () => {
    const { bus } = await open("stopped");
    const { subscription } = pull(bus, "stopped");
    await subscription.stop();
    subscription.want(5);
    subscription.resume();
    expect(subscription.outstanding).toBe(0);
  });
});

describe("answers to a delivery", () => {
  test("ack removes it, nak brings it again, working keeps it", async () => {
    const { bus, fill } = await open("answers");
    await fill(3);
    const { subscription, messages, reach } = pull(bus, "answers");
    subscription.want(3);
    await reach(3);
    const [first, second, third] = messages.map((message) => message.ack);
    expect(ackTask(bus, first ?? "")).toBe(true);
    expect(workingOnTask(bus, third ?? "")).toBe(true);
    expect(nakTask(bus, second ?? "")).toBe(true);
    subscription.want(1);
    await reach(4);
    expect(messages[3]).toMatchObject({ sequence: 2, deliveries: 2 });
    expect(await consumerInfo(bus, "answers", "c")).toMatchObject({ ackPending: 2, redelivered: 1, ackFloor: 1 });
  });

  test("a nak with a delay brings it again later", async () => {
    const { bus, fill } = await open("delayed");
    await fill(1);
    const { subscription, messages, reach } = pull(bus, "delayed");
    subscription.want(1);
    await reach(1);
    nakTask(bus, messages[0]?.ack ?? "", 50.5);
    subscription.want(1);
    expect(await settled(bus, "delayed")).toBe(1);
    await reach(2);
    expect(messages[1]).toMatchObject({ sequence: 1, deliveries: 2 });
  });

  test("without a connection nothing is told, and that is said", async () => {
    const bus = await nats.bus({ seed: full.getSeed() });
    await bus.close();
    expect(ackTask(bus, "$JS.ACK.s.c.1.1.1.1.0")).toBe(false);
  });

  test("a message tells its subject, data, headers and delivery", async () => {
    const { bus, publisher } = await open("told");
    const data = new TextEncoder().encode("payload");
    await publisher.publish("told.some.where", data, { headers: { kind: "k" } });
    const { subscription, messages, reach } = pull(bus, "told");
    subscription.want(1);
    await reach(1);
    expect(messages[0]).toMatchObject({ subject: "told.some.where", sequence: 1, deliveries: 1, pending: 0 });
    expect(new TextDecoder().decode(messages[0]?.data)).toBe("payload");
    expect(messages[0]?.header("kind")).toBe("k");
    expect(Math.abs((messages[0]?.timestampMs ?? 0) - Date.now())).toBeLessThan(60_000);
  });
});

describe("parseDelivery", () => {
  const expected = { deliveries: 2, sequence: 33, consumerSequence: 44, timestampMs: 1_700_000_000_123, pending: 5 };
  const numbers = "2.33.44.1700000000123456789.5";

  test.each([
    ["9 tokens", `$JS.ACK.S.c.${numbers}`],
    ["11 tokens", `$JS.ACK._.hash.S.c.${numbers}`],
    ["12 tokens", `$JS.ACK.domain.hash.S.c.${numbers}.random`],
  ])("reads the form with %s", (_form, ack) => {
    expect(parseDelivery(ack)).toEqual(expected);
  });

  test.each(["", "$JS.ACK.S.c.1", `$JS.NAK.S.c.${numbers}`, `$JS.ACK.x.S.c.${numbers}`])("refuses %j", (ack) => {
    expect(() => parseDelivery(ack)).toThrow(expect.objectContaining({ code: "INVALID" }));
  });
});

describe("PullLedger", () => {
  test("forgets what must be over, and then takes no late status for it", () => {
    const ledger = new PullLedger(10_000);
    const old = ledger.issue(5, 0);
    const young = ledger.issue(3, 9_000);
    ledger.forgetExpired(11_000);
    expect(ledger.outstanding).toBe(8);
    ledger.forgetExpired(11_001);
    expect(ledger.outstanding).toBe(3);
    ledger.end(old, 5, 11_002);
    expect(ledger.outstanding).toBe(3);
    ledger.end(young, 1, 11_003);
    expect(ledger.outstanding).toBe(2);
  });

  test("never counts below nothing, nor more than a pull asked for", () => {
    const ledger = new PullLedger(10_000);
    const token = ledger.issue(2, 0);
    ledger.end(token, 3, 1);
    ledger.end(token, -1, 1);
    ledger.end(token, Number.NaN, 1);
    ledger.end("garbage", 1, 1);
    expect(ledger.outstanding).toBe(2);
    ledger.deliver();
    ledger.end(token, 2, 1);
    expect(ledger.outstanding).toBe(0);
    ledger.deliver();
    expect(ledger.outstanding).toBe(0);
  });

  test("a refused pull gives back all it asked for", () => {
    const ledger = new PullLedger(10_000);
    ledger.issue(2, 0);
    ledger.refuse(ledger.issue(7, 0), 1);
    expect(ledger.outstanding).toBe(2);
  });
});
