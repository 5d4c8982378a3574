import { expect, test } from "vitest";
import { Publisher } from "../../src/bus/publisher.ts";
import type { StoredMessage } from "../../src/bus/stored.ts";
import { oldestWaiting, waitingMessages } from "../../src/bus/waiting.ts";
import { useNats } from "../support/nats.ts";
import { PATIENT } from "../support/publishers.ts";
import { makeStream } from "../support/streams.ts";
import { rejection } from "../support/wait.ts";

const nats = useNats();

async function open(stream: string) {
  const bus = await nats.bus();
  await makeStream(bus, stream, { retention: "workqueue" });
  const publisher = new Publisher(bus, PATIENT);
  const put = async (subject: string, bytes = new Uint8Array(8), headers = {}): Promise<number> =>
    (await publisher.publish(`${stream}.${subject}`, bytes, { headers })).sequence;
  return { bus, publisher, put };
}

async function collect(messages: AsyncIterable<StoredMessage>): Promise<readonly StoredMessage[]> {
  const all: StoredMessage[] = [];
  for await (const message of messages) all.push(message);
  return all;
}

test("gives subject, sequence, time, data and headers of what the filter covers, in order", async () => {
  const { bus, put } = await open("seen");
  await put("p.a", Buffer.from("1"), { "Vgas-Task-Id": "x" });
  await put("q.a", Buffer.from("2"));
  await put("p.b", Buffer.from("3"));
  const found = await collect(waitingMessages(bus, "seen", { filter: "seen.p.>" }));
  expect(found.map(({ subject, sequence, data }) => [subject, sequence, Buffer.from(data).toString()])).toEqual([
    ["seen.p.a", 1, "1"],
    ["seen.p.b", 3, "3"],
  ]);
  expect(found[0]?.header("Vgas-Task-Id")).toBe("x");
  expect(Math.abs((found[0]?.timestampMs ?? 0) - Date.now())).toBeLessThan(60_000);
});

test("reads from a sequence on, and at most as many as asked for", async () => {
  const { bus, put } = await open("part");
  for (let i = 0; i < 8; i++) await put("p.a");
  const found = await collect(waitingMessages(bus, "part", { filter: "part.p.a", from: 3, maxMessages: 4 }));
  expect(found.map(({ sequence }) => sequence)).toEqual([3, 4, 5, 6]);
});

test("goes on over batches that are full by number and by bytes", async () => {
  const { bus, put } = await open("long");
  await Promise.all(Array.from({ length: 1_100 }, () => put("p.small")));
  await Promise.all(Array.from({ length: 5 }, () => put("p.large", new Uint8Array(600_000))));
  const found = await collect(waitingMessages(bus, "long", { filter: "long.p.*" }));
  expect(found.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 1_105 }, (_, i) => i + 1));
});

test("ends although more comes while it reads", async () => {
  const { bus, put } = await open("fast");
  await Promise.all(Array.from({ length: 600 }, () => put("p.a")));
  let seen = 0;
  for await (const _ of waitingMessages(bus, "fast", { filter: "fast.p.a" })) {
    seen++;
    await put("p.a");
  }
  expect(seen).toBe(600);
});

test("finds the oldest, nothing where nothing waits, and says that there is no stream", async () => {
  const { bus, put } = await open("old");
  await put("p.a");
  await put("p.b");
  await put("p.b");
  expect(await oldestWaiting(bus, "old", "old.p.b")).toMatchObject({ sequence: 2, subject: "old.p.b" });
  expect(await oldestWaiting(bus, "old", "old.p.c")).toBeUndefined();
  expect(await collect(waitingMessages(bus, "old", { filter: "old.q.>" }))).toEqual([]);
  expect(await rejection(oldestWaiting(bus, "absent", "absent.>"))).toMatchObject({ code: "UNDELIVERABLE" });
});
