import { createUser } from "@nats-io/nkeys";
import { afterEach, describe, expect, test } from "vitest";
import type { Bus, BusMessage, BusStatus } from "../../src/bus/bus.ts";
import type { Logger } from "../../src/protocols/logger.ts";
import { holdTimers } from "../support/held-timers.ts";
import { useNats } from "../support/nats.ts";
import { TcpProxy } from "../support/proxy.ts";
import { rejection } from "../support/wait.ts";

const full = createUser();
const limited = createUser();
const nats = useNats({
  maxPayload: 65_536,
  config: `authorization { users: [
    { nkey: ${full.getPublicKey()} }
    { nkey: ${limited.getPublicKey()}, permissions: { publish: ["open.>"], subscribe: ["open.>", "_INBOX.limited.>"] } }
  ] }`,
});
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (message: BusMessage): string => new TextDecoder().decode(message.data);
const open = (options: { url?: string; logger?: Logger } = {}): Promise<Bus> =>
  nats.bus({ seed: full.getSeed(), ...options });
const openLimited = (): Promise<Bus> => nats.bus({ seed: limited.getSeed(), user: "limited" });
const nextStatus = (bus: Bus, type: BusStatus["type"]): Promise<BusStatus> =>
  new Promise((resolve) => {
    const stop = bus.onStatus((status) => {
      if (status.type !== type) return;
      stop();
      resolve(status);
    });
  });

const cleanup: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const step of cleanup.splice(0)) await step();
});

describe("request", () => {
  test("resolves with the first answer, headers included", async () => {
    const bus = await open();
    await bus.subscribe(
      "echo",
      (message) => void bus.respond(message, message.data, { kind: message.header("kind") ?? "" }),
    );
    const answer = await bus.request("echo", "echo", bytes("hello"), { timeoutMs: 5_000, headers: { kind: "test" } });
    expect(text(answer)).toBe("hello");
    expect(answer.header("kind")).toBe("test");
    expect(answer.header("other")).toBeUndefined();
    expect(answer.status).toBe(0);
  });

  test("fails at once when nobody listens", async () => {
    const bus = await open();
    await expect(bus.request("knock", "nobody", bytes(""), { timeoutMs: 600_000 })).rejects.toMatchObject({
      code: "UNDELIVERABLE",
      message: "knock: nobody listens on nobody",
    });
  });

  test("names the operation and the time when it times out", async () => {
    const bus = await open();
    await bus.subscribe("silent", () => undefined);
    await expect(bus.request("vault.lease", "silent", bytes(""), { timeoutMs: 20 })).rejects.toMatchObject({
      code: "TIMEOUT",
      message: "vault.lease timed out after 20 ms",
    });
  });

  test("is given up when its signal fires, also one that fired before", async () => {
    const bus = await open();
    const controller = new AbortController();
    await bus.subscribe("slow", () => controller.abort());
    const options = { timeoutMs: 600_000, signal: controller.signal };
    await expect(bus.request("wait", "slow", bytes(""), options)).rejects.toMatchObject({ code: "ABORTED" });
    await expect(bus.request("wait", "slow", bytes(""), options)).rejects.toMatchObject({ code: "ABORTED" });
  });

  test("fails when the bus is closed under it, and after", async () => {
    const bus = await open();
    const asked = new Promise<void>((resolve) => void bus.subscribeNow("closing", () => resolve()));
    const pending = rejection(bus.request("wait", "closing", bytes(""), { timeoutMs: 600_000 }));
    await asked;
    await bus.close();
    expect(await pending).toMatchObject({ code: "SHUTTING_DOWN" });
    expect(await rejection(bus.request("wait", "closing", bytes(""), { timeoutMs: 1_000 }))).toMatchObject({
      code: "SHUTTING_DOWN",
    });
  });

  test("that the credential does not open fails as refused, not by time", async () => {
    const bus = await openLimited();
    await expect(bus.request("peek", "secret.door", bytes(""), { timeoutMs: 600_000 })).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
    });
  });
});

describe("requestMany", () => {
  test("collects until the number asked for", async () => {
    const bus = await open();
    for (const name of ["a", "b"]) await bus.subscribe("roll", (message) => void bus.respond(message, bytes(name)));
    const answers = await bus.requestMany("roll call", "roll", bytes(""), { timeoutMs: 600_000, maxMessages: 2 });
    expect(answers.map(text).sort()).toEqual(["a", "b"]);
  });

  test("returns what came in time, and nothing if nobody listens", async () => {
    const bus = await open();
    await bus.subscribe("roll.one", (message) => void bus.respond(message, bytes("a")));
    const endOfTime = holdTimers(200);
    const answers = bus.requestMany("roll call", "roll.one", bytes(""), { timeoutMs: 200 });
    // The way there, and the way back.
    await bus.flush();
    await bus.flush();
    endOfTime();
    expect((await answers).map(text)).toEqual(["a"]);
    expect(await bus.requestMany("roll call", "roll.none", bytes(""), { timeoutMs: 600_000 })).toEqual([]);
  });
});

describe("a handler", () => {
  test("that throws or rejects leaves the connection open and is counted", async () => {
    const bus = await open();
    await bus.subscribe("throws", () => {
      throw new Error("thrown");
    });
    await bus.subscribe("rejects", async () => {
      throw new Error("rejected");
    });
    await bus.subscribe("too.large", () => bus.publish("x", new Uint8Array(bus.maxPayload + 1)));
    for (const subject of ["throws", "rejects", "too.large"]) bus.publish(subject, bytes(""));
    await bus.flush();
    expect(bus.counters.handlerErrors).toBe(3);
    await bus.subscribe("still", (message) => void bus.respond(message, bytes("here")));
    expect(text(await bus.request("ask", "still", bytes(""), { timeoutMs: 5_000 }))).toBe("here");
    expect(bus.state).toBe("connected");
  });
});

describe("respond", () => {
  test.each(["$KV.bucket.key", "vgas.results.default.s1", "$JS.API.STREAM.DELETE.X", "_INBOX", "_INBOX.>"])(
    "does not answer to %s",
    async (reply) => {
      const bus = await open();
      const outcome = new Promise<boolean>((resolve) => {
        bus.subscribeNow("ask.anything", (message) => resolve(bus.respond(message, bytes("answer"))));
      });
      const landed: string[] = [];
      await bus.subscribe(">", (message) => {
        if (text(message) === "answer") landed.push(message.subject);
      });
      // A wildcard as a reply is refused by the server itself, so it is put into the message after its way.
      if (reply.endsWith(">")) {
        const message = { subject: "x", data: bytes(""), reply, status: 0, statusText: "", header: () => undefined };
        expect(bus.respond(message, bytes("answer"))).toBe(false);
      } else {
        bus.publish("ask.anything", bytes("question"), { reply });
        expect(await outcome).toBe(false);
      }
      await bus.flush();
      expect(landed).toEqual([]);
      expect(bus.counters.refusedAnswers).toBe(1);
    },
  );

  test("does nothing for a message that asks for no answer", async () => {
    const bus = await open();
    const outcome = new Promise<boolean>((resolve) => {
      bus.subscribeNow("tell", (message) => resolve(bus.respond(message, bytes("answer"))));
    });
    bus.publish("tell", bytes(""));
    expect(await outcome).toBe(false);
    expect(bus.counters.refusedAnswers).toBe(0);
  });
});

describe("publish", () => {
  test("refuses what is one byte too large and takes the largest", async () => {
    const bus = await open();
    const received = new Promise<number>(
      (resolve) => void bus.subscribeNow("size", (message) => resolve(message.data.length)),
    );
    expect(() => bus.publish("size", new Uint8Array(bus.maxPayload + 1))).toThrow(
      expect.objectContaining({ code: "TOO_LARGE" }),
    );
    const headers = { a: "b" };
    // "NATS/1.0\r\na: b\r\n\r\n"
    const headerBytes = 18;
    expect(() => bus.publish("size", new Uint8Array(bus.maxPayload - headerBytes + 1), { headers })).toThrow(
      expect.objectContaining({ code: "TOO_LARGE" }),
    );
    bus.publish("size", new Uint8Array(bus.maxPayload - headerBytes), { headers });
    expect(await received).toBe(bus.maxPayload - headerBytes);
    expect(bus.state).toBe("connected");
  });

  test("refuses line breaks in headers and blanks in subjects", async () => {
    const bus = await open();
    const invalid = expect.objectContaining({ code: "INVALID" });
    expect(() => bus.publish("x", bytes(""), { headers: { a: "b\r\nNats-Msg-Id: c" } })).toThrow(invalid);
    expect(() => bus.publish("x", bytes(""), { headers: { "a\r\nb": "c" } })).toThrow(invalid);
    expect(() => bus.publish("a b", bytes(""))).toThrow(invalid);
    expect(() => bus.publish("", bytes(""))).toThrow(invalid);
  });

  test("throws when closed", async () => {
    const bus = await open();
    await bus.close();
    expect(() => bus.publish("x", bytes(""))).toThrow(expect.objectContaining({ code: "SHUTTING_DOWN" }));
    expect(() => bus.subscribeNow("x", () => undefined)).toThrow(expect.objectContaining({ code: "SHUTTING_DOWN" }));
  });
});

describe("subscribe", () => {
  test("fails when the credential does not open the subject", async () => {
    const bus = await openLimited();
    const told = nextStatus(bus, "denied");
    await expect(bus.subscribe("secret.>", () => undefined)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    expect(await told).toMatchObject({ operation: "subscribe", subject: "secret.>" });
    await expect(bus.subscribe("open.door", () => undefined)).resolves.toMatchObject({ closed: false });
  });

  test("members of a queue share the messages", async () => {
    const bus = await open();
    const got: string[] = [];
    for (const name of ["a", "b"]) await bus.subscribe("shared", () => void got.push(name), { queue: "q" });
    for (let i = 0; i < 50; i++) bus.publish("shared", bytes(""));
    await bus.flush();
    expect(got).toHaveLength(50);
  });

  test("hands over nothing after unsubscribe, and everything that had arrived before a drain ends", async () => {
    const bus = await open();
    let count = 0;
    const first = await bus.subscribe("counted", () => void count++);
    for (let i = 0; i < 100; i++) bus.publish("counted", bytes(""));
    await first.drain();
    expect(count).toBe(100);
    expect(first.closed).toBe(true);
    first.unsubscribe();
    bus.publish("counted", bytes(""));
    await bus.flush();
    expect(count).toBe(100);
  });
});

describe("a lost connection", () => {
  test("comes back by itself, with its subscriptions, and says whether the server is another", async () => {
    const proxy = await TcpProxy.to(nats.port);
    cleanup.push(() => proxy.close());
    const bus = await open({ url: proxy.url });
    const seen: string[] = [];
    bus.onStatus((status) => void seen.push(status.type));
    bus.onStatus(() => {
      throw new Error("a listener's failure stays its own");
    });
    const arrived = new Promise<void>((resolve) => void bus.subscribeNow("again", () => resolve()));
    const serverId = bus.serverId;
    const back = nextStatus(bus, "reconnected");
    proxy.cut();
    expect(await back).toMatchObject({ restarted: false, serverId });
    expect(bus.state).toBe("connected");
    bus.publish("again", bytes(""));
    await arrived;
    expect(seen[0]).toBe("disconnected");
    expect(seen.filter((type) => type === "reconnected")).toHaveLength(1);
  });

  test("to a server that was killed comes back as another server; flush waits for it", async () => {
    const bus = await open();
    const serverId = bus.serverId;
    const gone = nextStatus(bus, "disconnected");
    await nats.kill();
    await gone;
    expect(bus.state).toBe("disconnected");
    const flushed = bus.flush(30_000);
    const back = nextStatus(bus, "reconnected");
    await nats.start();
    expect(await back).toMatchObject({ restarted: true });
    await flushed;
    expect(bus.serverId).not.toBe(serverId);
  });

  test("a bus without a server flushes in vain, and closes at once", async () => {
    const proxy = await TcpProxy.to(nats.port);
    const bus = await open({ url: proxy.url });
    const gone = nextStatus(bus, "disconnected");
    await proxy.close();
    await gone;
    expect(await rejection(bus.flush(50))).toMatchObject({ code: "TIMEOUT", message: "flush timed out after 50 ms" });
    const flushing = rejection(bus.flush(600_000));
    await bus.drain();
    expect(await flushing).toMatchObject({ code: "SHUTTING_DOWN" });
    expect(bus.state).toBe("closed");
  });
});

describe("the end", () => {
  test("drain sends what is waiting; drain and close are idempotent and tell one closed status", async () => {
    const receiver = await open();
    const bus = await open();
    let count = 0;
    const all = new Promise<void>((resolve) => {
      receiver.subscribeNow("last.words", () => {
        if (++count === 1_000) resolve();
      });
    });
    await receiver.flush();
    const seen: BusStatus[] = [];
    bus.onStatus((status) => void seen.push(status));
    for (let i = 0; i < 1_000; i++) bus.publish("last.words", bytes("x"));
    await Promise.all([bus.drain(), bus.drain()]);
    await Promise.all([bus.close(), bus.close()]);
    await all;
    expect(seen).toEqual([{ type: "closed", error: undefined }]);
  });
});
