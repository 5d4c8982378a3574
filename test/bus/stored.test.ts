import { describe, expect, onTestFinished, test } from "vitest";
import { Publisher } from "../../src/bus/publisher.ts";
import { getBySequence, lastAtLeader, lastBySubject, lastBySubjects } from "../../src/bus/stored.ts";
import { streamInfo } from "../../src/bus/topology.ts";
import { useNats } from "../support/nats.ts";
import { TcpProxy } from "../support/proxy.ts";
import { PATIENT } from "../support/publishers.ts";
import { makeStream } from "../support/streams.ts";
import { rejection } from "../support/wait.ts";

const nats = useNats();
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (message: { readonly data: Uint8Array } | undefined): string | undefined =>
  message && new TextDecoder().decode(message.data);

async function open(stream: string) {
  const bus = await nats.bus();
  await makeStream(bus, stream);
  return { bus, publisher: new Publisher(bus, PATIENT) };
}

describe("lastBySubject", () => {
  test("returns the newest message with its subject, sequence, time and headers", async () => {
    const { bus, publisher } = await open("last");
    await publisher.publish("last.a", bytes("1"));
    await publisher.publish("last.a", bytes("2"), { headers: { kind: "k" } });
    const found = await lastBySubject(bus, "last", "last.a");
    expect(found).toMatchObject({ subject: "last.a", sequence: 2, reply: undefined, status: 0 });
    expect(text(found)).toBe("2");
    expect(found?.header("kind")).toBe("k");
    expect(Math.abs((found?.timestampMs ?? 0) - Date.now())).toBeLessThan(60_000);
  });

  test("is undefined where there is none, and UNDELIVERABLE where there is no stream", async () => {
    const { bus } = await open("miss");
    expect(await lastBySubject(bus, "miss", "miss.a")).toBeUndefined();
    expect(await rejection(lastBySubject(bus, "absent", "absent.a"))).toMatchObject({ code: "UNDELIVERABLE" });
  });

  test("returns an empty message as a message", async () => {
    const { bus, publisher } = await open("blank");
    await publisher.publish("blank.a", new Uint8Array(0));
    expect(await lastBySubject(bus, "blank", "blank.a")).toMatchObject({ sequence: 1 });
  });
});

describe("lastBySubjects", () => {
  test("returns hits and leaves out misses, in any number", async () => {
    const { bus, publisher } = await open("multi");
    await Promise.all(Array.from({ length: 700 }, (_, i) => publisher.publish(`multi.${i}`, bytes(`v${i}`))));
    const asked = Array.from({ length: 1_400 }, (_, i) => `multi.${i}`);
    const found = await lastBySubjects(bus, "multi", asked);
    expect(found.size).toBe(700);
    expect(text(found.get("multi.699"))).toBe("v699");
    expect(found.has("multi.700")).toBe(false);
  });

  test("of misses only, and of nothing, is empty", async () => {
    const { bus } = await open("none");
    expect((await lastBySubjects(bus, "none", ["none.a", "none.b"])).size).toBe(0);
    expect((await lastBySubjects(bus, "none", [])).size).toBe(0);
  });

  test("gets through what exceeds one batch of the server", async () => {
    const { bus, publisher } = await open("large");
    // 200 messages of 512 KiB are more than the server sends to one client in one go.
    await Promise.all(Array.from({ length: 200 }, (_, i) => publisher.publish(`large.${i}`, new Uint8Array(524_288))));
    const found = await lastBySubjects(
      bus,
      "large",
      Array.from({ length: 200 }, (_, i) => `large.${i}`),
      30_000,
    );
    expect(found.size).toBe(200);
    expect([...found.values()].every((message) => message.data.length === 524_288)).toBe(true);
  });

  test("of no stream is UNDELIVERABLE", async () => {
    const bus = await nats.bus();
    expect(await rejection(lastBySubjects(bus, "absent", ["absent.a"]))).toMatchObject({ code: "UNDELIVERABLE" });
  });
});

test("getBySequence returns what is there, and undefined for what is not", async () => {
  const { bus, publisher } = await open("sequence");
  await publisher.publish("sequence.a", bytes("1"));
  await publisher.publish("sequence.b", bytes("2"));
  expect(text(await getBySequence(bus, "sequence", 1))).toBe("1");
  expect(await getBySequence(bus, "sequence", 2)).toMatchObject({ subject: "sequence.b" });
  expect(await getBySequence(bus, "sequence", 3)).toBeUndefined();
});

test("what is asked and lost with the connection is asked again at the reconnect, long before its time is over", async () => {
  const { publisher } = await open("cut");
  await publisher.publish("cut.a", bytes("1"));
  const proxy = await TcpProxy.to(nats.port);
  onTestFinished(() => proxy.close());
  const bus = await nats.bus({ url: proxy.url });
  const hour = 3_600_000;
  for (const ask of [
    () => lastAtLeader(bus, "cut", "cut.a", hour),
    () => lastBySubject(bus, "cut", "cut.a", hour),
    () => getBySequence(bus, "cut", 1, hour),
    async () => (await lastBySubjects(bus, "cut", ["cut.a"], hour)).get("cut.a"),
    async () => ({ sequence: (await streamInfo(bus, "cut"))?.lastSequence }),
  ]) {
    proxy.deaf = true;
    const lost = proxy.nextDrop();
    const asked = ask();
    await lost;
    proxy.deaf = false;
    proxy.cut();
    expect(await asked).toMatchObject({ sequence: 1 });
  }
  await bus.close();
});
