import { jetstreamManager } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { afterEach, describe, expect, test } from "vitest";
import type { Bus } from "../../src/bus/bus.ts";
import { KvBucket, type KvEntry } from "../../src/bus/kv.ts";
import { Publisher, type PublisherOptions } from "../../src/bus/publisher.ts";
import { useNats } from "../support/nats.ts";
import { TcpProxy } from "../support/proxy.ts";
import { PATIENT } from "../support/publishers.ts";
import { eventually, rejection } from "../support/wait.ts";

const nats = useNats();
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (entry: KvEntry | undefined): string | undefined => entry && new TextDecoder().decode(entry.value);
const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of cleanup.splice(0).reverse()) await step();
});

interface Opened {
  readonly bus: Bus;
  readonly bucket: KvBucket;
}

async function bind(name: string, url = nats.url, options: PublisherOptions = PATIENT): Promise<Opened> {
  const bus = await nats.bus({ url });
  return { bus, bucket: new KvBucket(bus, new Publisher(bus, options), name) };
}

/** A bucket that the library made, and the library's own view of it. */
async function open(name: string, history = 8) {
  const opened = await bind(name);
  const theirs = await new Kvm(opened.bus.native).create(name, { history, allow_direct: false });
  return { ...opened, theirs };
}

/** Collects what a watch hands over; `reach` resolves when `count` entries are there. */
function collector() {
  const entries: KvEntry[] = [];
  let wake: () => void = () => undefined;
  return {
    entries,
    add: (entry: KvEntry): void => {
      entries.push(entry);
      wake();
    },
    reach: (count: number): Promise<void> =>
      new Promise((resolve) => {
        wake = () => {
          if (entries.length >= count) resolve();
        };
        wake();
      }),
  };
}

describe("get", () => {
  test("returns the value, its revision, its time and its headers", async () => {
    const { bucket } = await open("get");
    const before = Date.now();
    const revision = await bucket.cas("a.b", bytes("1"), 0, { "Vgas-Dealt": "7" });
    const entry = await bucket.get("a.b");
    expect(entry).toMatchObject({ key: "a.b", revision, deleted: false });
    expect(text(entry)).toBe("1");
    expect(entry?.header("Vgas-Dealt")).toBe("7");
    expect(entry?.header("other")).toBeUndefined();
    expect(entry?.timestampMs).toBeGreaterThan(before - 60_000);
  });

  test("is undefined for what was never written, and NOT_FOUND for no bucket", async () => {
    const { bucket } = await open("empty");
    expect(await bucket.get("none")).toBeUndefined();
    expect(await bucket.getEntry("none")).toBeUndefined();
    const { bucket: nowhere } = await bind("nowhere");
    expect(await rejection(nowhere.get("x"))).toMatchObject({ code: "NOT_FOUND" });
  });

  test("keeps binary and empty values as they are", async () => {
    const { bucket } = await open("binary");
    const all = Uint8Array.from({ length: 256 }, (_, i) => i);
    await bucket.put("all", all);
    await bucket.put("none", new Uint8Array(0));
    expect(Uint8Array.from((await bucket.get("all"))?.value ?? [])).toEqual(all);
    expect((await bucket.get("none"))?.value).toHaveLength(0);
  });

  test("of a deleted key is undefined, getEntry gives the marker's revision, and cas goes on from it", async () => {
    const { bucket, theirs } = await open("deleted");
    await bucket.put("key", bytes("1"));
    const marker = await bucket.delete("key");
    expect(await bucket.get("key")).toBeUndefined();
    expect(await bucket.getEntry("key")).toMatchObject({ revision: marker, deleted: true });
    expect(await theirs.get("key")).toMatchObject({ operation: "DEL" });
    expect(await rejection(bucket.cas("key", bytes("2"), 0))).toMatchObject({ code: "CONFLICT" });
    await bucket.cas("key", bytes("2"), marker);
    expect(text(await bucket.get("key"))).toBe("2");
    await theirs.purge("key");
    expect(await bucket.getEntry("key")).toMatchObject({ deleted: true });
  });
});

describe("cas", () => {
  test("of many contenders lets exactly one win each round", async () => {
    const { bucket } = await open("race");
    let revision = 0;
    for (let round = 0; round < 20; round++) {
      const outcomes = await Promise.allSettled(
        Array.from({ length: 8 }, (_, i) => bucket.cas("key", bytes(`${round}-${i}`), revision)),
      );
      const won = outcomes.filter((outcome) => outcome.status === "fulfilled");
      expect(won).toHaveLength(1);
      for (const outcome of outcomes) {
        if (outcome.status === "rejected") expect(outcome.reason).toMatchObject({ code: "CONFLICT" });
      }
      revision = won[0]?.value ?? 0;
    }
    expect((await bucket.get("key"))?.revision).toBe(revision);
  });

  test("whose answer is lost is TIMEOUT, and the history shows that it won", async () => {
    const { bucket: direct } = await open("lost");
    const proxy = await TcpProxy.to(nats.port);
    cleanup.push(() => proxy.close());
    const { bucket } = await bind("lost", proxy.url, { ackTimeoutMs: 300 });
    const lost = proxy.nextDrop('"stream":"KV_lost"');
    proxy.deaf = true;
    expect(await rejection(bucket.cas("key", bytes("nonce"), 0))).toMatchObject({ code: "TIMEOUT" });
    await lost;
    proxy.deaf = false;
    expect((await direct.history("key")).map(text)).toEqual(["nonce"]);
    expect(await rejection(direct.cas("key", bytes("again"), 0))).toMatchObject({ code: "CONFLICT" });
  });

  test("delete with a revision that is not the newest is CONFLICT", async () => {
    const { bucket } = await open("delete");
    const first = await bucket.put("key", bytes("1"));
    const second = await bucket.put("key", bytes("2"));
    expect(await rejection(bucket.delete("key", first))).toMatchObject({ code: "CONFLICT" });
    expect(await bucket.delete("key", second)).toBe(second + 1);
  });
});

describe("history and keys", () => {
  test("history is what the bucket keeps, oldest first, deletions included", async () => {
    const { bucket } = await open("history", 3);
    for (const value of ["1", "2", "3", "4"]) await bucket.put("key", bytes(value));
    await bucket.put("other", bytes("x"));
    await bucket.delete("key");
    const entries = await bucket.history("key");
    expect(entries.map(text)).toEqual(["3", "4", ""]);
    expect(entries.map((entry) => entry.deleted)).toEqual([false, false, true]);
    expect(await bucket.history("none")).toEqual([]);
  });

  test("keys are those with a value, under a filter or all", async () => {
    const { bucket } = await open("keys");
    for (const key of ["a.x", "a.y", "b.x", "gone"]) await bucket.put(key, bytes(key));
    await bucket.delete("gone");
    expect([...(await bucket.keys())].sort()).toEqual(["a.x", "a.y", "b.x"]);
    expect([...(await bucket.keys("a.*"))].sort()).toEqual(["a.x", "a.y"]);
    expect(await bucket.keys("none.*")).toEqual([]);
  });

  test("thousands of keys are listed, more than the server sends without flow control", async () => {
    const { bucket } = await open("many", 1);
    await Promise.all(Array.from({ length: 5_000 }, (_, i) => bucket.put(`k${i}`, new Uint8Array(500))));
    expect(await bucket.keys()).toHaveLength(5_000);
  });

  // What is left behind goes after 30 s by itself: the limit is below that.
  test("leave no consumer behind", async () => {
    const { bus, bucket } = await open("tidy");
    const manager = await jetstreamManager(bus.native);
    const consumers = async () => (await manager.streams.info("KV_tidy")).state.consumer_count;
    await bucket.put("key", bytes("1"));
    await bucket.history("key");
    await bucket.keys();
    // The server works on requests of one client at the same time, so the last delete may end after this question.
    await eventually(async () => ((await consumers()) === 0 ? true : undefined), "consumers to be deleted");
  }, 20_000);
});

describe("watch", () => {
  test("hands over the newest of each key, tells that it caught up, then every change until it is stopped", async () => {
    const { bus, bucket } = await open("watch");
    for (const value of ["1", "2"]) await bucket.put("a.x", bytes(value));
    await bucket.put("b.x", bytes("not mine"));
    const seen = collector();
    let entriesWhenCaughtUp = -1;
    const stop = await bucket.watch("a.>", seen.add, { onCaughtUp: () => (entriesWhenCaughtUp = seen.entries.length) });
    await seen.reach(1);
    expect(text(seen.entries[0])).toBe("2");
    expect(entriesWhenCaughtUp).toBe(1);
    await bucket.put("a.y", bytes("3"));
    await bucket.delete("a.x");
    await seen.reach(3);
    expect(seen.entries.slice(1).map((entry) => [entry.key, entry.deleted])).toEqual([
      ["a.y", false],
      ["a.x", true],
    ]);
    const other = collector();
    cleanup.push(await bucket.watch("a.z", other.add));
    stop();
    await bucket.put("a.z", bytes("unseen"));
    await other.reach(1);
    await bus.flush();
    expect(seen.entries).toHaveLength(3);
  });

  test("of an empty bucket catches up at once", async () => {
    const { bucket } = await open("blank");
    const caughtUp = new Promise<void>((resolve) => {
      void bucket
        .watch(">", () => undefined, { onCaughtUp: resolve })
        .then((stop) => {
          cleanup.push(stop);
        });
    });
    await caughtUp;
  });

  test("of no bucket is NOT_FOUND", async () => {
    const { bucket } = await bind("absent");
    expect(await rejection(bucket.watch(">", () => undefined))).toMatchObject({ code: "NOT_FOUND" });
  });

  test("goes on after a cut connection, without a gap and without a repetition", async () => {
    const { bucket: direct } = await open("resume", 64);
    const proxy = await TcpProxy.to(nats.port);
    cleanup.push(() => proxy.close());
    const { bus, bucket } = await bind("resume", proxy.url);
    const seen = collector();
    cleanup.push(await bucket.watch(">", seen.add));
    for (let i = 0; i < 10; i++) await direct.put("key", bytes(String(i)));
    await seen.reach(10);
    const gone = new Promise<void>((resolve) => {
      bus.onStatus((status) => {
        if (status.type === "disconnected") resolve();
      });
    });
    proxy.cut();
    await gone;
    for (let i = 10; i < 20; i++) await direct.put("key", bytes(String(i)));
    await seen.reach(20);
    expect(seen.entries.map(text)).toEqual(Array.from({ length: 20 }, (_, i) => String(i)));
  });

  // Side by side: either waits until silence tells it, which takes five seconds.
  test("goes on after its consumer was deleted and after the server was killed, and begins anew when the bucket was made anew", async () => {
    const { bus, bucket } = await open("killed");
    const seen = collector();
    cleanup.push(await bucket.watch(">", seen.add));
    await bucket.put("key", bytes("1"));
    await seen.reach(1);
    const other = await open("anew");
    const anew = collector();
    cleanup.push(await other.bucket.watch(">", anew.add));
    for (const value of ["1", "2", "3"]) await other.bucket.put("key", bytes(value));
    await anew.reach(3);
    const manager = await jetstreamManager(bus.native);
    for await (const info of manager.consumers.list("KV_killed"))
      await manager.consumers.delete("KV_killed", info.name);
    await manager.streams.delete("KV_anew");
    await new Kvm(other.bus.native).create("anew");
    await bucket.put("key", bytes("2"));
    await other.bucket.put("key", bytes("first again"));
    await seen.reach(2);
    await anew.reach(4);
    expect(text(anew.entries[3])).toBe("first again");
    await nats.kill();
    await nats.start();
    await bucket.put("key", bytes("3"));
    await seen.reach(3);
    expect(seen.entries.map(text)).toEqual(["1", "2", "3"]);
  });
});
