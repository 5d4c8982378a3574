/** What is done while nobody leads: in a cluster until it has elected another, on one server until it has stopped. */
import { TimeoutError } from "@nats-io/transport-node";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Bus, BusMessage } from "../../src/bus/bus.ts";
import { jsApiCall } from "../../src/bus/js-api.ts";
import { KvBucket } from "../../src/bus/kv.ts";
import { askLeader, ELECTION_MS } from "../../src/bus/leader.ts";
import { Publisher } from "../../src/bus/publisher.ts";
import { type PulledMessage, PullSubscription, type PullTrouble } from "../../src/bus/pull.ts";
import { lastAtLeader } from "../../src/bus/stored.ts";
import { VgasError } from "../../src/protocols/errors.ts";
import { FakeBus } from "../support/fake-bus.ts";
import { rejection } from "../support/wait.ts";

const NO_RESPONDERS = { status: 503 };
/** Longer than any call waits. */
const LONG_ELECTION_MS = 15_000;
const TRY_MS = 6_000;
const bytes = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

describe("a question to a leader", () => {
  const timeout = (): VgasError => new VgasError("TIMEOUT", "it was asked of one that is gone");

  // Time stands still, or a slow machine would use up some of what a question has.
  beforeEach(() => void vi.spyOn(performance, "now").mockReturnValue(0));
  afterEach(() => vi.restoreAllMocks());

  test("is asked again after a second in a cluster, of whoever leads then", async () => {
    const tries: number[] = [];
    const answer = await askLeader(new FakeBus({ cluster: true }).bus, 10_000, async (tryMs) => {
      tries.push(tryMs);
      if (tries.length === 1) throw timeout();
      return "led";
    });
    expect(answer).toBe("led");
    expect(tries).toEqual([1_000, 1_000]);
  });

  test("has all its time on a single server, and is asked once", async () => {
    const tries: number[] = [];
    const asked = askLeader(new FakeBus().bus, 10_000, async (tryMs) => {
      tries.push(tryMs);
      throw timeout();
    });
    expect(await rejection(asked)).toMatchObject({ code: "TIMEOUT" });
    expect(tries).toEqual([10_000]);
  });

  test("is over when its time is, in a cluster too", async () => {
    const asked = askLeader(new FakeBus({ cluster: true }).bus, 100, () => Promise.reject(timeout()));
    expect(await rejection(asked)).toMatchObject({ code: "TIMEOUT" });
  });

  test("of a record, and of the management API, is such a question", async () => {
    const times: number[] = [];
    const fake = new FakeBus({ cluster: true });
    const found = { message: { seq: 3, time: "2026-01-01T00:00:00Z" } };
    const request = async (_operation: string, _subject: string, _data: Uint8Array, how: { timeoutMs: number }) => {
      times.push(how.timeoutMs);
      if (times.length === 1) throw timeout();
      return { data: bytes(found) } as BusMessage;
    };
    expect(await lastAtLeader(Object.assign(fake, { request }).bus, "S", "s.x", 5_000)).toMatchObject({ sequence: 3 });
    let calls = 0;
    const work = async (): Promise<string> => {
      if (++calls === 1) throw timeout();
      return "made";
    };
    expect(await jsApiCall(apiBus(fake), "making it", work)).toBe("made");
    expect(times).toEqual([1_000, 1_000]);
  });
});

/** With what the API's manager wants of a connection. */
function apiBus(fake: FakeBus): Bus {
  Object.assign(fake.native, { options: {}, isClosed: () => false });
  return fake.bus;
}

describe("with hours that pass at once", () => {
  const watching = (cluster: boolean): Promise<string> => {
    const fake = new FakeBus({ cluster });
    const began = performance.now();
    // What is known of the stream, and of the consumer that is made.
    const answer = {
      ...{ config: {}, state: { last_seq: 0 } },
      ...{ stream_name: "KV_b", name: "c", num_pending: 0, delivered: { consumer_seq: 0 } },
    };
    const request = async () => {
      if (performance.now() - began < LONG_ELECTION_MS) {
        vi.advanceTimersByTime(TRY_MS);
        throw new TimeoutError();
      }
      return { data: bytes(answer), json: () => answer };
    };
    Object.assign(fake.native, { request, features: { get: () => ({ ok: true }) } });
    const bucket = new KvBucket(apiBus(fake), undefined as never, "b");
    return bucket
      .watch(">", () => undefined)
      .then(
        (stop) => {
          stop();
          return "watches";
        },
        ({ code }: VgasError) => code,
      );
  };

  test("a bucket that is watched from the start of a node on waits for an election that takes long, and only in a cluster", async () => {
    expect(await watching(true)).toBe("watches");
    expect(await watching(false)).toBe("TIMEOUT");
  });

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "performance"] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  function pulling(cluster: boolean) {
    const fake = new FakeBus({ cluster });
    const troubles: PullTrouble[] = [];
    const messages: PulledMessage[] = [];
    const pull = new PullSubscription(fake.bus, "S", "c", {
      onMessage: (message) => messages.push(message),
      onTrouble: (reason) => troubles.push(reason),
    });
    pull.want(1);
    return { fake, pull, troubles, messages };
  }

  test("a consumer that nobody answers for is asked for anew for the time of an election, and then it is gone", () => {
    const { fake, troubles } = pulling(true);
    let asked = 0;
    for (let ms = 0; ms < ELECTION_MS - 1_000; ms += 1_000) {
      asked += fake.answerAll(NO_RESPONDERS);
      vi.advanceTimersByTime(1_000);
    }
    expect(troubles).toEqual([]);
    expect(asked).toBeGreaterThanOrEqual(15);
    vi.advanceTimersByTime(2_000);
    fake.answerAll(NO_RESPONDERS);
    expect(troubles).toEqual(["consumer-gone"]);
  });

  test("on a single server it is gone at once", () => {
    const { fake, troubles } = pulling(false);
    fake.answerAll(NO_RESPONDERS);
    expect(troubles).toEqual(["consumer-gone"]);
  });

  test("a leader that died with the pulls is missed within six seconds in a cluster", () => {
    const { fake, pull, troubles } = pulling(true);
    // A pull of a consumer that is not busy waits for long: its heartbeats are what is missed.
    vi.advanceTimersByTime(6_000);
    fake.published.length = 0;
    pull.restart(1);
    expect(JSON.parse(new TextDecoder().decode(fake.published[0]?.data))).toMatchObject({ batch: 1 });
    troubles.length = 0;
    vi.advanceTimersByTime(4_900);
    expect(troubles).toEqual([]);
    vi.advanceTimersByTime(1_200);
    expect(troubles).toEqual(["lost"]);
    expect(pull.outstanding).toBe(1);
  });

  test("what a server that stands still for a while had on its way comes before a stop is over, and is lost to nobody", async () => {
    const { fake, pull, messages } = pulling(false);
    let over = false;
    const stopping = pull.stop().then(() => {
      over = true;
    });
    await vi.advanceTimersByTimeAsync(4_000);
    expect(over).toBe(false);
    fake.answerAll({ ack: "$JS.ACK.S.c.1.1.1.1.0" });
    await stopping;
    expect(messages).toHaveLength(1);
  });

  function submitting(cluster: boolean) {
    const fake = new FakeBus({ cluster });
    const publisher = new Publisher(fake.bus);
    const told: (string | number)[] = [];
    publisher.send("vgas.tasks.p.k", new Uint8Array(1), undefined, (error, ack) => {
      told.push(error?.code ?? ack?.sequence ?? "nothing");
    });
    /** So much time, in which no stream takes it. */
    const refuse = async (forMs: number): Promise<number> => {
      let tries = 0;
      for (let ms = 0; ms < forMs; ms += 250) {
        tries += fake.answerAll(NO_RESPONDERS);
        await vi.advanceTimersByTimeAsync(250);
      }
      return tries;
    };
    return { fake, publisher, told, refuse };
  }

  test("a submission that no stream takes waits for an election, and for it only in a cluster", async () => {
    const single = submitting(false);
    await single.refuse(2_000);
    expect(single.told).toEqual(["UNDELIVERABLE"]);
    const { fake, told, refuse } = submitting(true);
    expect(await refuse(ELECTION_MS - 1_000)).toBeGreaterThan(10);
    expect(told).toEqual([]);
    await vi.advanceTimersByTimeAsync(1_000);
    fake.answerAll({ data: bytes({ stream: "S", seq: 7 }) });
    expect(told).toEqual([7]);
  });

  test("a submission to a single server that is about to stop waits for the reconnect", async () => {
    const { fake, publisher, told, refuse } = submitting(false);
    fake.say({ type: "lame-duck", server: "s" });
    await refuse(10_000);
    expect(told).toEqual([]);
    fake.state = "disconnected";
    fake.say({ type: "disconnected" });
    await vi.advanceTimersByTimeAsync(5_000);
    fake.state = "connected";
    fake.published.length = 0;
    fake.say({ type: "reconnected", serverId: "other", restarted: true });
    expect(fake.answerAll({ data: bytes({ stream: "S", seq: 9 }) })).toBe(1);
    expect(told).toEqual([9]);
    // The next server is not about to stop.
    publisher.send("vgas.tasks.p.k", new Uint8Array(1), undefined, (error) => told.push(error?.code ?? "stored"));
    await refuse(2_000);
    expect(told).toEqual([9, "UNDELIVERABLE"]);
  });
});
