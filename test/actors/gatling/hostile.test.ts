/** P1 and P9 against what a client can do on purpose or by mistake: dispatchers and hosts of this process, a real nats-server. */
import { expect, test } from "vitest";
import { TaskFinder } from "../../../src/actors/gatling/task-finder.ts";
import type { Bus, BusMessage } from "../../../src/bus/bus.ts";
import { decode, encode } from "../../../src/bus/codec/codec.ts";
import { lastBySubject } from "../../../src/bus/stored.ts";
import { systemClock } from "../../../src/protocols/clock.ts";
import type { DeadLetter } from "../../../src/protocols/result.ts";
import { ACK_PREFIX, HEADERS, HOST_OPERATIONS, Names } from "../../../src/protocols/subjects.ts";
import { Dealing } from "../../support/dealing.ts";
import { useNats } from "../../support/nats.ts";
import { eventually } from "../../support/wait.ts";

const nats = useNats();

function holding(slots: number) {
  const began: string[] = [];
  let release = (): void => undefined;
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const agent = {
    kind: "hold",
    slots,
    run: async ({ id }: { readonly id: string }) => {
      began.push(id);
      await released;
      return "held";
    },
  };
  return { agent, began, release: () => release() };
}

test("P1: a task whose headers ask for an answer that no dispatcher would write has its result like any other", async () => {
  const swarm = await Dealing.start(nats);
  const { agent, release } = holding(8);
  release();
  await swarm.host("h", agent);
  await swarm.dispatcher();
  const inbox = swarm.bus.inbox();
  const rubbish = [
    { [HEADERS.nowReply]: "no.inbox", [HEADERS.nowUntil]: "1" },
    { [HEADERS.nowReply]: "_INBOX.*", [HEADERS.nowUntil]: "1" },
    { [HEADERS.nowReply]: inbox, [HEADERS.nowUntil]: "" },
    { [HEADERS.nowReply]: inbox, [HEADERS.nowUntil]: "-1" },
    { [HEADERS.nowReply]: inbox, [HEADERS.nowUntil]: "0.5" },
    { [HEADERS.nowReply]: inbox },
  ];
  for (const headers of rubbish) {
    const sequence = await swarm.submit("hold", {}, { headers, priority: "high" });
    expect(await swarm.result(`s${sequence}`)).toMatchObject({ status: "ok" });
  }
});

test("a task that is to be taken at once and has expired by then is refused, and leaves no result", async () => {
  const swarm = await Dealing.start(nats);
  const { agent, release } = holding(8);
  release();
  await swarm.host("h", agent);
  // A clock that goes to and fro: what has not expired at one look has at the next, wherever it was when the broker told its time.
  let looks = 0;
  const monotonic = (): number => systemClock.monotonic() + ((looks * looks++) % 7 < 3 ? 40 : 0);
  await swarm.dispatcher("d1", { ...systemClock, monotonic });
  const subject = swarm.names.now("default", "hold");
  const ask = async (body: unknown) => (await swarm.ask(subject, body)) as { id?: string; error?: { code: string } };
  await eventually(async () => (await ask({})).id, "an agent to take it");
  const refused: string[] = [];
  for (let i = 0; i < 20; i++) {
    const { id, error } = await ask({ id: `x${i}`, expiresMs: i % 2 === 0 ? 1 : 30 });
    if (id !== undefined) continue;
    expect(error?.code).toBe("RESOURCE_LIMIT");
    refused.push(`x${i}`);
  }
  await eventually(async () => ((await swarm.waiting()) === 0 ? true : undefined), "the queue to be empty");
  for (const id of refused) expect(await swarm.stored(id)).toBeUndefined();
});

test("elements that start later are not published again while others of their array still run", async () => {
  const swarm = await Dealing.start(nats);
  const { names, bus } = swarm;
  const { agent, began, release } = holding(4);
  await swarm.host("h", agent);
  const first = await swarm.dispatcher("d1");
  const sequence = await swarm.submit("hold", [{}, { notBefore: Date.now() + 3_600_000 }]);
  await eventually(async () => (began.length === 1 ? true : undefined), "the first element to run");
  await eventually(async () => ((await swarm.waiting()) === 2 ? true : undefined), "the second to wait by itself");
  await first.stop(0);
  let asked = 0;
  await bus.subscribe(names.host("h", "running"), () => void asked++);
  await swarm.dispatcher("d2");
  // The array's first delivery is over; without this its next one comes by ack_wait.
  const ack = `${ACK_PREFIX}${names.streams.tasks}.${names.consumer({ pool: "default", kind: "hold" })}.1.${sequence}.1.0.0`;
  bus.publish(ack, Buffer.from("-NAK"));
  await eventually(async () => (asked >= 3 ? true : undefined), "the array to come back while its element runs");
  expect(await swarm.waiting()).toBe(2);
  release();
  expect(await swarm.result(`s${sequence}-0`)).toMatchObject({ status: "ok" });
  expect(began).toHaveLength(1);
});

test("P1: a second task of the same id that starts much later does not hold up the first one's next attempt", async () => {
  const swarm = await Dealing.start(nats);
  const { agent, began } = holding(4);
  const host = await swarm.host("a", agent);
  await swarm.dispatcher();
  await swarm.submit("hold", { id: "twice" });
  await eventually(async () => (began.length === 1 ? true : undefined), "the task to run");
  await swarm.submit("hold", { id: "twice", notBefore: Date.now() + 3_600_000 });
  await eventually(async () => await swarm.attempts.read("default", { id: "twice" }), "the second one to be postponed");
  const other = holding(4);
  other.release();
  await host.kill();
  await swarm.host("b", other.agent);
  expect(await swarm.result("twice")).toMatchObject({ status: "ok", host: "b" });
});

test("P9: a question about a task is short, and what is said beside it is not kept", async () => {
  const swarm = await Dealing.start(nats);
  await swarm.dispatcher();
  const large = [
    Buffer.alloc(900_000),
    encode({ kind: "x".repeat(100_000) }),
    Buffer.from(`{"a":"${"x".repeat(9_000)}"}`),
  ];
  for (const ask of [swarm.names.status("default", "t"), swarm.names.cancel("default", "t")])
    for (const body of large) expect(await swarm.ask(ask, body)).toMatchObject({ error: { code: "INVALID" } });
});

test("the tasks of one message are found by reading it once, however many are asked about", async () => {
  const names = new Names();
  let reads = 0;
  const data = encode(Array.from({ length: 256 }, () => ({})));
  const headers: Record<string, string> = {
    "Nats-Subject": names.task("default", "k"),
    "Nats-Sequence": "7",
    "Nats-Time-Stamp": "2026-01-01T00:00:00Z",
  };
  const message = {
    status: 0,
    get data() {
      reads++;
      return data;
    },
    header: (name: string) => headers[name],
  } as unknown as BusMessage;
  const finder = new TaskFinder({ request: async () => message } as unknown as Bus, names);
  const ids = Array.from({ length: 256 }, (_, i) => `s7-${i}`);
  const { tasks } = await finder.find("default", ids, { own: false });
  expect([...tasks.keys()].sort()).toEqual([...ids].sort());
  expect(reads).toBeLessThan(10);
});

test("P9: bytes that are no task, and tasks with a bad field, fail with a dead letter each; what is good beside them runs", async () => {
  const swarm = await Dealing.start(nats);
  const { names, publisher, bus } = swarm;
  const { agent, release } = holding(8);
  release();
  await swarm.host("h", agent);
  await swarm.dispatcher();
  const bad: readonly (readonly [Uint8Array, DeadLetter["reason"]])[] = [
    [new Uint8Array([0xc1]), "malformed"],
    [new TextEncoder().encode('{"input":'), "malformed"],
    [encode([]), "malformed"],
    [encode({ timeoutMs: 0 }), "invalid"],
    [encode({ replyTo: names.task("default", "hold") }), "invalid"],
  ];
  for (const [bytes, reason] of bad) {
    const { sequence } = await publisher.publish(names.task("default", "hold"), bytes);
    expect(await swarm.result(`s${sequence}`)).toMatchObject({ status: "failed", error: { code: "INVALID" } });
    const letter = await eventually(
      () => lastBySubject(bus, names.streams.dead, names.dead("default", `s${sequence}`)),
      `the dead letter of s${sequence}`,
    );
    expect(decode(letter.data)).toMatchObject({ reason, task: bytes });
  }
  const array = await swarm.submit("hold", [{}, { maxAttempts: 101 }]);
  expect(await swarm.result(`s${array}-0`)).toMatchObject({ status: "ok" });
  expect(await swarm.result(`s${array}-1`)).toMatchObject({ status: "failed", error: { code: "INVALID" } });
  await eventually(async () => ((await swarm.waiting()) === 0 ? true : undefined), "the queue to be empty");
});

test("P9: any bytes where dispatchers and hosts speak to each other change nothing", async () => {
  const swarm = await Dealing.start(nats);
  const { names, bus } = swarm;
  const { agent, release } = holding(8);
  release();
  await swarm.host("h", agent);
  await swarm.dispatcher("d1");
  const subjects = [
    names.heartbeat("h"),
    names.heartbeat("nobody"),
    names.settled("d1"),
    ...HOST_OPERATIONS.map((operation) => names.host("h", operation)),
  ];
  const rubbish = [
    new Uint8Array(0),
    new Uint8Array([0xc1]),
    new Uint8Array(20_000).fill(0x91),
    encode({ v: 1, host: "h", run: "r", free: [0, -5], done: [1e9], again: ["x"] }),
    encode({ v: 2, burst: -1, from: "../..", items: [[0]] }),
  ];
  for (const subject of subjects)
    for (const bytes of rubbish) bus.publish(subject, bytes, { reply: `${bus.inbox()}.x` });
  await bus.flush();
  for (let i = 0; i < 3; i++) {
    const sequence = await swarm.submit("hold", {});
    expect(await swarm.result(`s${sequence}`)).toMatchObject({ status: "ok", attempt: 1 });
  }
});
