/** What a task can ask for, from the contract's sections 2 to 4. The swarms wait side by side; the tests of one go one after the other. */
import { beforeAll, describe, expect, it } from "vitest";
import { encode } from "../../src/bus/codec/codec.ts";
import { decodeMirrored } from "../../src/bus/codec/task.ts";
import { parseDelivery } from "../../src/bus/delivery.ts";
import type { TaskEvent } from "../../src/protocols/result.ts";
import { LANE_CONSUMER } from "../../src/protocols/streams.ts";
import { rounds } from "../support/rounds.ts";
import { type Admin, FIXTURES, type Results, TestSwarm } from "../support/swarm.ts";
import { eventually } from "../support/wait.ts";

const LONG_MS = LANE_CONSUMER.ackWaitMs + 2_000;

describe.concurrent("tasks", () => {
  const swarm = new TestSwarm();
  let admin: Admin;
  let results: Results;

  beforeAll(async () => {
    await swarm.up("--module", `${FIXTURES}agents.ts`);
    admin = await swarm.admin();
    results = await admin.collect();
  });

  async function resultOf(kind: string, task: object): Promise<(typeof results.all)[number]> {
    const [sequence] = await admin.submit(kind, [task]);
    const id = "id" in task ? String(task.id) : `s${sequence}`;
    await results.until(() => results.byId.has(id));
    return results.byId.get(id) as (typeof results.all)[number];
  }

  it.sequential("hands the context snapshot and unknown fields to the behaviour", async () => {
    const result = await resultOf("look", { input: 1, context: { user: "ada" }, colour: 7, note: null });
    expect(result.output).toEqual({ context: { user: "ada" }, extra: { colour: 7, note: null }, input: 1 });
  });

  it.sequential("P1: repeats a retryable failure with its attempts counted, and says so in an event", async () => {
    const events: TaskEvent[] = [];
    await admin.bus.subscribe(admin.names.event("default", "flaky"), ({ data }) => {
      events.push(decodeMirrored(data).value as TaskEvent);
    });
    const result = await resultOf("count", {
      id: "flaky",
      input: { fail: { code: "FLAKY", retryable: true, untilAttempt: 2 } },
    });
    expect(result).toMatchObject({ status: "ok", attempt: 2 });
    expect(events).toMatchObject([{ type: "retrying", attempt: 1, data: { error: { code: "FLAKY" } } }]);
  });

  it.sequential("fails for good after maxAttempts, and at once when a retry cannot help", async () => {
    const worn = await resultOf("count", {
      id: "worn",
      maxAttempts: 2,
      input: { fail: { code: "FLAKY", retryable: true } },
    });
    expect(worn).toMatchObject({ status: "failed", attempt: 2, error: { code: "FLAKY", retryable: false } });
    const final = await resultOf("count", { id: "final", input: { fail: { code: "NO", retryable: false } } });
    expect(final).toMatchObject({ status: "failed", attempt: 1, error: { code: "NO" } });
  });

  it.sequential("ends an attempt at its timeout", async () => {
    const result = await resultOf("count", { maxAttempts: 1, timeoutMs: 50, input: { ms: 60_000 } });
    expect(result).toMatchObject({ status: "failed", error: { code: "TIMEOUT" } });
  });

  it.sequential("fails an output that cannot be encoded", async () => {
    expect(await resultOf("bad-output", {})).toMatchObject({ status: "failed", error: { code: "INVALID_OUTPUT" } });
  });

  it.sequential("expires a task that was not started in time", async () => {
    // Behind two hundred tasks of 100 ms on fifteen slots it waits for longer than it may.
    const blockers = new Array(200).fill({ input: { ms: 100 } });
    const sequences = await admin.submit("count", [...blockers, { expiresMs: 1, input: null }]);
    await results.until(() => sequences.every((sequence) => results.byId.has(`s${sequence}`)));
    expect(results.byId.get(`s${sequences.at(-1)}`)).toMatchObject({ status: "expired", error: { code: "EXPIRED" } });
  });

  it.sequential("P2: keeps the first result of an id, does not run it again, and sends it to a new replyTo", async () => {
    const first = await resultOf("echo", { id: "once", input: "first" });
    expect(first.output).toBe("first");
    const inbox = admin.bus.inbox();
    const answer = new Promise<unknown>((resolve) => {
      admin.bus.subscribeNow(inbox, ({ data }) => resolve(decodeMirrored(data).value));
    });
    await admin.bus.flush();
    await admin.submit("echo", [{ id: "once", input: "second", replyTo: inbox }]);
    expect(await answer).toMatchObject({ id: "once", output: "first" });
    await admin.acknowledged();
    expect(results.all.filter(({ id }) => id === "once")).toHaveLength(1);
  });

  it.sequential("answers JSON in JSON, and msgpack in msgpack", async () => {
    const inbox = admin.bus.inbox();
    const encodings: string[] = [];
    await admin.bus.subscribe(inbox, ({ data }) => {
      encodings.push(decodeMirrored(data).encoding);
    });
    const subject = admin.names.task("default", "echo");
    const json = await admin.publisher.publish(
      subject,
      new TextEncoder().encode(` {"input":{"n":1},"replyTo":"${inbox}"}`),
    );
    await eventually(async () => encodings[0], "the JSON answer");
    const packed = await admin.publisher.publish(subject, encode({ input: 2, replyTo: inbox }));
    await eventually(async () => encodings[1], "the msgpack answer");
    expect(encodings).toEqual(["json", "msgpack"]);
    expect(packed.sequence).toBeGreaterThan(json.sequence);
  });

  it.sequential("runs each element of an array on its own ticket, and acknowledges the message when all are stored", async () => {
    const elements = Array.from({ length: 50 }, (_, i) => ({ input: i }));
    const { sequence } = await admin.publisher.publish(admin.names.task("default", "echo"), encode(elements));
    await results.until(() => elements.every((_, i) => results.byId.has(`s${sequence}-${i}`)));
    const tickets = elements.map((_, i) => results.byId.get(`s${sequence}-${i}`)?.ticket);
    expect(new Set(tickets).size).toBe(50);
    expect(elements.map((_, i) => results.byId.get(`s${sequence}-${i}`)?.output)).toEqual(
      elements.map(({ input }) => input),
    );
    await admin.acknowledged();
  });

  it.sequential("P1: an element that fails is tried again on its own, the others are not", async () => {
    const elements = [
      { input: null },
      { input: { fail: { code: "FLAKY", retryable: true, untilAttempt: 2 } } },
      { input: null },
    ];
    const { sequence } = await admin.publisher.publish(admin.names.task("default", "count"), encode(elements));
    await results.until(() => elements.every((_, i) => results.byId.has(`s${sequence}-${i}`)));
    expect(elements.map((_, i) => results.byId.get(`s${sequence}-${i}`)?.attempt)).toEqual([1, 2, 1]);
    await admin.acknowledged();
  });

  it.sequential("tasks of a kind that nobody offers do not hold up the others, however many", async () => {
    const backlog = rounds(20_000, 100_000);
    await admin.submit("nobody", new Array(backlog).fill({ input: 1 }));
    const sequences = await admin.submit(
      "echo",
      Array.from({ length: 2_000 }, (_, i) => ({ input: i })),
    );
    await results.until(() => sequences.every((sequence) => results.byId.has(`s${sequence}`)));
    expect(await admin.waiting()).toBeGreaterThanOrEqual(backlog);
  });
});

describe.concurrent.each([
  { loop: "free", input: { ms: LONG_MS } },
  { loop: "blocked", input: { block: LONG_MS } },
])("a busy host, its loop $loop", ({ input }) => {
  const swarm = new TestSwarm();
  const deliveredAgain: string[] = [];

  beforeAll(async () => {
    await swarm.up("--agents", "0", "--module", `${FIXTURES}agents.ts`);
    const admin = await swarm.admin("system");
    // An ack subject tells how often its message was delivered: the broker's own word, whatever the dispatcher made of it.
    await admin.bus.subscribe(`$JS.ACK.${admin.names.streams.tasks}.>`, ({ subject }) => {
      if (parseDelivery(subject).deliveries > 1) deliveredAgain.push(subject);
    });
  });

  it.sequential("P6: a task that runs for longer than ack_wait is not delivered again", async () => {
    const admin = await swarm.admin();
    const results = await admin.collect();
    await admin.submit("count", [{ id: "long", input }]);
    await results.until(() => results.byId.has("long"));
    expect(results.byId.get("long")).toMatchObject({ status: "ok", attempt: 1 });
    expect(deliveredAgain).toEqual([]);
  });
});
