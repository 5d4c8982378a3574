import { expect, test } from "vitest";
import { readBody } from "../../src/bus/codec/task.ts";
import { getBySequence, type StoredMessage } from "../../src/bus/stored.ts";
import type { TaskHandle } from "../../src/client/handle.ts";
import type { SubmitManyOptions, SubmitOptions } from "../../src/client/submit-options.ts";
import { TcpProxy } from "../support/proxy.ts";
import { rejection } from "../support/wait.ts";
import type { FakeSwarm } from "./fake-swarm.ts";
import { useClientRig } from "./rig.ts";

const { nats, swarm, client } = useClientRig();

const TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/** The message that a task with an automatic id came in. */
async function messageOf(fake: FakeSwarm, task: TaskHandle): Promise<StoredMessage> {
  const message = await getBySequence(fake.bus, fake.names.streams.tasks, Number.parseInt(task.id.slice(1), 10));
  if (message === undefined) throw new Error(`${task.id} is not stored`);
  return message;
}

test("a task goes to the subject of its priority, with its trace context as a header", async () => {
  const fake = await swarm();
  const user = await client(fake);
  for (const priority of ["high", "normal", "low"] as const) {
    const one = await user.submit("echo", 1, { priority, traceparent: TRACE });
    const [first, last] = await user.submitMany("echo", [1, 2], { priority, traceparent: TRACE, array: false });
    for (const task of [one, first, last]) {
      const { subject, header } = await messageOf(fake, task as TaskHandle).then((message) => ({
        subject: message.subject,
        header: message.header("traceparent"),
      }));
      expect(subject).toBe(fake.names.task("default", "echo", priority));
      expect(header).toBe(TRACE);
    }
  }
  const plain = await messageOf(fake, await user.submit("echo", 1));
  expect({ subject: plain.subject, header: plain.header("traceparent") }).toEqual({
    subject: fake.names.task("default", "echo"),
    header: undefined,
  });
});

test("a start in the future is a time, given as one or as a delay", async () => {
  const fake = await swarm();
  const user = await client(fake);
  const at = Date.now() + 60_000;
  const starts: unknown[] = [];
  for (const options of [{ notBefore: at }, { notBefore: new Date(at) }, { delayMs: 0 }, { delayMs: 60_000 }]) {
    const { data } = await messageOf(fake, await user.submit("echo", 1, options));
    starts.push(readBody(data).fields["notBefore"]);
  }
  expect(starts.slice(0, 2)).toEqual([at, at]);
  expect(starts[2]).toBeGreaterThan(at - 60_001);
  expect(starts[3]).toBeGreaterThanOrEqual(at);
});

test("what cannot be asked for is INVALID before anything is sent, and names the field", async () => {
  const fake = await swarm();
  const user = await client(fake);
  const wrong: readonly [field: string, options: Record<string, unknown>][] = [
    ["priority", { priority: "urgent" }],
    ["priority", { priority: 1 }],
    ["priority", { priority: null }],
    ["traceparent", { traceparent: "rubbish" }],
    ["traceparent", { traceparent: TRACE.toUpperCase() }],
    ["traceparent", { traceparent: `${TRACE}\r\nNats-Rollup: all` }],
    ["notBefore", { notBefore: new Date(Number.NaN) }],
    ["notBefore", { notBefore: 1.5 }],
    ["notBefore", { notBefore: -1 }],
    ["delayMs", { delayMs: -1 }],
    ["delayMs", { delayMs: Number.POSITIVE_INFINITY }],
    ["delayMs", { delayMs: 1, notBefore: 1 }],
    ["expiresMs", { delayMs: 1_000, expiresMs: 1_000 }],
    ["submitTimeoutMs", { submitTimeoutMs: -1 }],
    ["submitTimeoutMs", { submitTimeoutMs: "soon" }],
    ["extra", { extra: { priority: "high" } }],
  ];
  for (const [field, options] of wrong) {
    const said = { code: "INVALID", message: expect.stringContaining(field) };
    expect(await rejection(user.submit("echo", 1, options as SubmitOptions)), field).toMatchObject(said);
    expect(await rejection(user.submitMany("echo", [1], options as SubmitManyOptions)), field).toMatchObject(said);
  }
  // What names one task would name them all; of a message id the second message were a repetition of the first.
  for (const options of [{ id: "mine" }, { msgId: "mine" }, { onEvent: () => undefined }])
    expect(await rejection(user.submitMany("echo", [1, 2], options as SubmitManyOptions))).toMatchObject({
      code: "INVALID",
      message: expect.stringContaining(Object.keys(options)[0] as string),
    });
  expect(await fake.queued()).toBe(0);
});

test("submitting ends with TIMEOUT or ABORTED where the broker does not answer", async () => {
  const fake = await swarm();
  const proxy = await TcpProxy.to(nats.port);
  try {
    const user = await client(fake, { url: proxy.url });
    proxy.deaf = true;
    const timedOut = { code: "TIMEOUT", message: "submitting to default/echo timed out after 1 ms" };
    expect(await rejection(user.submit("echo", 1, { submitTimeoutMs: 1 }))).toMatchObject(timedOut);
    expect(await rejection(user.submitMany("echo", [1, 2], { submitTimeoutMs: 1 }))).toMatchObject(timedOut);
    const controller = new AbortController();
    const cause = new Error("enough");
    const aborted = rejection(user.submit("echo", 1, { signal: controller.signal, submitTimeoutMs: 60_000 }));
    controller.abort(cause);
    expect(await aborted).toMatchObject({ code: "ABORTED" });
  } finally {
    await proxy.close();
  }
});
