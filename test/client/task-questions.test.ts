import { expect, onTestFinished, test } from "vitest";
import { readBody } from "../../src/bus/codec/task.ts";
import { Asker } from "../../src/client/asker.ts";
import type { CallOptions } from "../../src/client/within.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { TcpProxy } from "../support/proxy.ts";
import { rejection, until } from "../support/wait.ts";
import type { FakeSwarm } from "./fake-swarm.ts";
import { useClientRig } from "./rig.ts";

const { nats, swarm, client } = useClientRig();

const FOR_EVER = { timeoutMs: 60_000 };

/** Answers `now` as a swarm with a free agent does, and stores the result of each task. Returns the tasks that came. */
async function freeAgent(fake: FakeSwarm): Promise<Record<string, unknown>[]> {
  const taken: Record<string, unknown>[] = [];
  await fake.answers(fake.names.now("default", "echo"), async (_, message) => {
    const { fields } = readBody(message.data);
    taken.push({ ...fields, traceparent: message.header("traceparent") });
    const result = await fake.store(String(fields["id"]), fields["input"]);
    if (typeof fields["replyTo"] === "string") fake.bus.publish(fields["replyTo"], result);
    return { id: fields["id"], agent: "h1-3" };
  });
  return taken;
}

async function proxied(): Promise<TcpProxy> {
  const proxy = await TcpProxy.to(nats.port);
  onTestFinished(() => proxy.close());
  return proxy;
}

test("a task for now is taken by an agent that the handle names, or refused at once", async () => {
  const fake = await swarm();
  const user = await client(fake);
  const stop = await fake.answers(fake.names.now("default", "busy"), () => ({
    error: { code: "RESOURCE_LIMIT", message: "no agent is free", retryable: true },
  }));
  expect(await rejection(user.now("busy", 1))).toMatchObject({
    code: "RESOURCE_LIMIT",
    message: "now default/busy: no agent is free",
  });
  stop();
  const taken = await freeAgent(fake);
  const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const task = await user.now("echo", { hello: "world" }, { maxAttempts: 1, traceparent });
  expect(task).toMatchObject({ pool: "default", kind: "echo", agent: "h1-3" });
  expect(taken[0]).toMatchObject({ id: task.id, input: { hello: "world" }, maxAttempts: 1, traceparent });
  expect(taken[0]?.["replyTo"]).toMatch(/^_INBOX\.client\./);
  expect(await task.result()).toMatchObject({ output: { hello: "world" } });
  expect((await user.now("echo", 1, { id: "mine", track: false })).id).toBe("mine");
});

test("no dispatcher at all is an error at once", async () => {
  const fake = await swarm();
  const user = await client(fake);
  const task = await user.submit("echo", 1);
  for (const asked of [user.now("echo", 1), task.cancel(), task.status(), user.cancel("default", "x")]) {
    expect(await rejection(asked)).toMatchObject({
      code: "NO_SWARM",
      message: expect.stringMatching(/^(now|cancelling|asking where) .*: no dispatcher answers$/),
    });
  }
});

test("cancelling tells the kind that is known, and what became of the task", async () => {
  const fake = await swarm();
  const user = await client(fake);
  const asked: unknown[] = [];
  const states = ["cancelled", "cancelling", "finished", "running", "unknown"];
  await fake.answers(fake.names.cancel("default", "*"), (question, { subject }) => {
    asked.push(question);
    return { id: subject.split(".").at(-1), state: states[asked.length - 1] };
  });
  const task = await user.submit("echo", 1);
  expect(await task.cancel()).toEqual({ id: task.id, state: "cancelled" });
  expect(await task.cancel({ onlyWaiting: true })).toEqual({ id: task.id, state: "cancelling" });
  expect(await user.cancel("default", "other")).toEqual({ id: "other", state: "finished" });
  expect(await user.cancel("default", "other", { kind: "echo" })).toMatchObject({ state: "running" });
  expect(await user.handle("default", "other").cancel()).toMatchObject({ state: "unknown" });
  expect(asked).toEqual([{ kind: "echo" }, { kind: "echo", waiting: true }, {}, { kind: "echo" }, {}]);
});

test("where a task is comes as it was told, its last error included", async () => {
  const fake = await swarm();
  const user = await client(fake);
  const error = { code: "AGENT_ERROR", message: "boom", retryable: true };
  const task = { pool: "default", kind: "echo" };
  const told: Record<string, unknown> = {
    w: { state: "waiting", id: "w", ...task, priority: "low", submittedAt: 1, attempts: 1, error, notBefore: 9 },
    r: { state: "running", id: "r", ...task, host: "h1", agent: "h1-0", attempt: 2, startedAt: 5 },
    f: { state: "finished", id: "f", ...task, status: "failed", attempt: 3, finishedAt: 7, error },
    u: { state: "unknown", id: "u", pool: "default" },
  };
  await fake.answers(fake.names.status("default", "*"), (_, { subject }) => told[String(subject.split(".").at(-1))]);
  for (const [id, state] of Object.entries(told)) {
    expect(await user.status("default", id)).toEqual(state);
    expect(await user.handle("default", id).status()).toEqual(state);
  }
});

test("refusals keep their code and name the operation, and what is no answer is INTERNAL", async () => {
  const fake = await swarm();
  const user = await client(fake);
  const answers: unknown[] = [
    { error: { code: "PERMISSION_DENIED", message: "no", retryable: false } },
    { error: { code: "SOMETHING", message: "new", retryable: false } },
    { state: "lost" },
    7,
    new Uint8Array([0xc1]),
  ];
  let next = 0;
  for (const subject of [
    fake.names.cancel("default", "x"),
    fake.names.status("default", "x"),
    fake.names.now("default", "x"),
  ])
    await fake.answers(subject, () => answers[next]);
  const calls = [
    ["cancelling x", () => user.cancel("default", "x")],
    ["asking where x is", () => user.status("default", "x")],
    ["now default/x", () => user.now("x", 1)],
  ] as const;
  for (next = 0; next < answers.length; next++) {
    for (const [operation, call] of calls) {
      expect(await rejection(call()), `${operation} ${next}`).toMatchObject({
        code: next === 0 ? "PERMISSION_DENIED" : "INTERNAL",
        message: expect.stringContaining(operation),
      });
    }
  }
});

test("asking ends with TIMEOUT or ABORTED where nobody answers, and takes only what is right", async () => {
  const fake = await swarm();
  const user = await client(fake);
  await fake.answers(`${fake.names.prefix}.*.default.x`, () => undefined);
  const calls = [
    ["cancelling x", (limits: object) => user.cancel("default", "x", limits)],
    ["asking where x is", (limits: object) => user.status("default", "x", limits)],
    [
      "now default/x",
      (limits: CallOptions) => user.now("x", 1, { ...limits, submitTimeoutMs: limits.timeoutMs } as object),
    ],
  ] as const;
  for (const [operation, call] of calls) {
    const late = { code: "TIMEOUT", message: `${operation} timed out after 5 ms` };
    expect(await rejection(call({ timeoutMs: 5 }))).toMatchObject(late);
    const aborted = { code: "ABORTED", message: expect.stringContaining(operation) };
    expect(await rejection(call({ signal: AbortSignal.abort() }))).toMatchObject(aborted);
    const controller = new AbortController();
    const asked = rejection(call({ signal: controller.signal }));
    setImmediate(() => controller.abort());
    expect(await asked).toMatchObject(aborted);
    expect(await rejection(call({ timeoutMs: -1 }))).toMatchObject({ code: "INVALID" });
  }
  const invalid = { code: "INVALID" };
  expect(await rejection(user.cancel("a.b", "x"))).toMatchObject(invalid);
  expect(await rejection(user.status("default", "*"))).toMatchObject(invalid);
  for (const wrong of [
    { priority: "high" },
    { delayMs: 1 },
    { notBefore: 1 },
    { msgId: "m" },
    { id: "s1" },
    { maxAttempts: 0 },
  ])
    expect(await rejection(user.now("x", 1, wrong as object)), JSON.stringify(wrong)).toMatchObject(invalid);
});

test("what a lost connection takes of cancel and status is asked again", async () => {
  const fake = await swarm();
  const proxy = await proxied();
  const user = await client(fake, { url: proxy.url });
  let asked = 0;
  const once = (answer: object) => () => {
    if (++asked % 2 === 0) return answer;
    proxy.cut();
    return undefined;
  };
  await fake.answers(fake.names.cancel("default", "x"), once({ id: "x", state: "cancelling" }));
  await fake.answers(fake.names.status("default", "x"), once({ id: "x", pool: "default", state: "unknown" }));
  expect(await user.cancel("default", "x", FOR_EVER)).toMatchObject({ state: "cancelling" });
  expect(await user.status("default", "x", FOR_EVER)).toMatchObject({ state: "unknown" });
  expect(asked, "the fault struck each time").toBe(4);
});

test("what a lost connection takes of now is found out: the task runs, has ended, or is asked for again", async () => {
  const fake = await swarm();
  const proxy = await proxied();
  const user = await client(fake, { url: proxy.url });
  const state = { pool: "default", kind: "echo" };
  const running = { ...state, state: "running", host: "h1", agent: "h1-7", attempt: 1, startedAt: 1 };
  const asked: string[] = [];
  const cut: string[] = [];
  await fake.answers(fake.names.now("default", "echo"), (question) => {
    const { id } = question as { id: string };
    asked.push(id);
    if (asked.filter((each) => each === id).length > 1) return { id, agent: "h1-8" };
    cut.push(id);
    proxy.cut();
    return undefined;
  });
  await fake.answers(fake.names.status("default", "*"), async (_, { subject }) => {
    const id = String(subject.split(".").at(-1));
    if (id === "runs") return { id, ...running };
    if (id !== "ended") return { id, pool: "default", state: "unknown" };
    await fake.store(id, 1);
    return { id, ...state, state: "finished", status: "ok", attempt: 1, finishedAt: 2 };
  });
  const options = { submitTimeoutMs: 60_000 };
  expect(await user.now("echo", 1, { id: "runs", ...options })).toMatchObject({ id: "runs", agent: "h1-7" });
  expect(await user.now("echo", 1, { id: "ended", ...options })).toMatchObject({ id: "ended", agent: "" });
  expect(await user.now("echo", 1, { id: "lost", ...options })).toMatchObject({ id: "lost", agent: "h1-8" });
  expect(asked).toEqual(["runs", "ended", "lost", "lost"]);
  expect(cut, "the fault struck each time").toHaveLength(3);
});

test("after a lost connection, dispatchers that come back a moment later are waited for, and no longer", async () => {
  const fake = await swarm();
  const proxy = await proxied();
  const bus = await nats.bus({ user: "client", url: proxy.url });
  const clock = new ManualClock();
  const asker = new Asker(bus, clock);
  onTestFinished(() => asker.close());
  const subject = fake.names.status("default", "x");
  const ask = (): Promise<unknown> => asker.ask({ operation: "asking", subject, body: new Uint8Array() }, FOR_EVER);
  await clock.advance(60_000);
  expect(await rejection(ask()), "never cut").toMatchObject({ code: "NO_SWARM" });
  const back = new Promise<void>((resolve) => bus.onStatus(({ type }) => type === "reconnected" && resolve()));
  proxy.cut();
  await back;
  const late = rejection(ask());
  await until(() => clock.armed === 1);
  await clock.advance(3_100);
  expect(await late).toMatchObject({ code: "NO_SWARM" });
  proxy.cut();
  const asked = ask();
  await until(() => clock.armed === 1);
  await fake.answers(subject, () => "back");
  await clock.advance(100);
  expect(await asked).toBe("back");
});
