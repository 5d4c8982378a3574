/** Which of the waiting tasks begin: priorities, start times, pauses. Dispatchers and hosts of this process, a real nats-server. */
import { expect, test } from "vitest";
import { defineAgent } from "../../../src/actors/agent/definition.ts";
import { KvBucket } from "../../../src/bus/kv.ts";
import { pausedLanes, pauseLane, resumeLane } from "../../../src/bus/pauses.ts";
import { systemClock } from "../../../src/protocols/clock.ts";
import { watchBrokerClocks } from "../../support/broker-clock.ts";
import { Dealing } from "../../support/dealing.ts";
import { useNats } from "../../support/nats.ts";
import { eventually } from "../../support/wait.ts";

const nats = useNats();

/** An agent of one slot that notes the order of what it runs. */
function noting(slots = 1): { readonly order: string[]; readonly agent: ReturnType<typeof defineAgent> } {
  const order: string[] = [];
  const agent = defineAgent({
    kind: "note",
    slots,
    run: async ({ input }) => {
      order.push(String(input));
    },
  });
  return { order, agent };
}

test("tasks of high priority overtake a backlog, and those of low are not starved", async () => {
  const swarm = await Dealing.start(nats);
  const { order, agent } = noting();
  const tasks = (letter: string, count: number): unknown[] =>
    Array.from({ length: count }, (_, i) => ({ input: `${letter}${i}` }));
  for (const task of tasks("n", 60)) await swarm.submit("note", task);
  for (const task of tasks("l", 60)) await swarm.submit("note", task, { priority: "low" });
  for (const task of tasks("h", 60)) await swarm.submit("note", task, { priority: "high" });
  // What it asks for comes late on a busy machine, and is not to count as gone: that would give turns of the others to `normal`.
  await swarm.dispatcher("d1", { ...systemClock, monotonic: () => systemClock.monotonic() / 10 });
  await swarm.host("a", agent);
  await eventually(async () => (order.length >= 180 ? true : undefined), "all tasks to run");
  expect(new Set(order).size).toBe(180);
  const place = (name: string): number => order.indexOf(name);
  const beforeLastHigh = order.slice(0, place("h59"));
  const count = (letter: string): number => beforeLastHigh.filter((name) => name.startsWith(letter)).length;
  // 16 : 4 : 1, and the first probes.
  expect(count("n")).toBeGreaterThanOrEqual(5);
  expect(count("n")).toBeLessThanOrEqual(22);
  expect(count("l")).toBeGreaterThanOrEqual(2);
  expect(count("l")).toBeLessThanOrEqual(8);
  // Each priority keeps its order.
  for (const letter of ["h", "n", "l"]) {
    const of = order.filter((name) => name.startsWith(letter));
    expect(of).toEqual(tasks(letter, 60).map((task) => (task as { input: string }).input));
  }
});

test("an element that is published again keeps its priority, and its field is checked against the subject", async () => {
  const swarm = await Dealing.start(nats);
  let runs = 0;
  const flaky = defineAgent({
    kind: "flaky",
    run: async () => {
      if (++runs === 1) throw new Error("once");
      return runs;
    },
  });
  const seen: string[] = [];
  await swarm.bus.subscribe(swarm.names.task("default", "flaky", "high"), ({ subject }) => {
    seen.push(subject);
  });
  await swarm.dispatcher();
  await swarm.host("a", flaky);
  const sequence = await swarm.submit("flaky", [{ input: 1 }], { priority: "high" });
  expect(await swarm.result(`s${sequence}-0`)).toMatchObject({ status: "ok", output: 2, attempt: 2 });
  expect(seen).toHaveLength(2);
  const wrong = await swarm.submit("flaky", { priority: "low" }, { priority: "high" });
  expect(await swarm.result(`s${wrong}`)).toMatchObject({ status: "failed", error: { code: "INVALID" } });
});

test("a task with notBefore starts not before it, which is no execution, and survives that its dispatcher goes", async () => {
  const wrongByMs = watchBrokerClocks();
  const swarm = await Dealing.start(nats);
  const started = new Map<string, number>();
  const agent = defineAgent({
    kind: "timed",
    slots: 8,
    run: async ({ input }, { attempt }) => {
      started.set(String(input), Date.now());
      return { input, attempt };
    },
  });
  /** A task, one with an id of its own, and an element behind one that runs at once; `own` begins what is said of them. */
  const submit = async (own: string, notBefore: number) => {
    const single = await swarm.submit("timed", { input: `${own} single`, notBefore, maxAttempts: 1 });
    const named = await swarm.submit("timed", { id: own, input: `${own} named`, notBefore, maxAttempts: 1 });
    const element = { input: `${own} element`, notBefore, maxAttempts: 1 };
    const array = await swarm.submit("timed", [{ input: `${own} at once` }, element]);
    expect(named).toBeGreaterThan(single);
    return { atOnce: `s${array}-0`, later: [`s${single}`, own, `s${array}-1`] };
  };
  const first = await swarm.dispatcher("d1");
  await swarm.host("a", agent);
  const due = Date.now() + 1_500;
  const hourLater = due + 3_600_000;
  const soon = await submit("soon", due);
  // However long this takes.
  const far = await submit("far", hourLater);
  const never = await swarm.submit("timed", { input: "never", notBefore: hourLater, expiresMs: 100 });
  expect(await swarm.result(`s${never}`)).toMatchObject({ status: "expired", error: { code: "EXPIRED" } });
  for (const { atOnce } of [soon, far]) expect(await swarm.result(atOnce)).toMatchObject({ status: "ok" });
  const recorded = (id: string): Promise<unknown> =>
    eventually(async () => await swarm.attempts.read("default", { id }), `a record of ${id}`);
  for (const id of far.later)
    expect(await recorded(id)).toMatchObject({
      ...{ attempts: 0, ended: true },
      ...(id !== "far" && { notBefore: hourLater }),
    });
  await first.stop(0);
  await swarm.dispatcher("d2");
  for (const id of soon.later)
    expect(await swarm.result(id)).toMatchObject({ status: "ok", attempt: 1, output: { attempt: 1 } });
  const waited = ["soon single", "soon named", "soon element"];
  expect([...started.keys()].sort()).toEqual([...waited, "soon at once", "far at once"].sort());
  for (const input of waited) expect(started.get(input)).toBeGreaterThanOrEqual(due - wrongByMs());
});

test("a paused lane starts nothing, what runs goes on, and it goes on when it is resumed", async () => {
  const swarm = await Dealing.start(nats);
  const control = new KvBucket(swarm.bus, swarm.publisher, swarm.names.buckets.control);
  const lane = { pool: "default", kind: "gated" };
  const begun: string[] = [];
  const gates = new Map<string, () => void>();
  const agent = defineAgent({
    kind: "gated",
    slots: 2,
    run: async ({ input }) => {
      begun.push(String(input));
      await new Promise<void>((resolve) => gates.set(String(input), resolve));
    },
  });
  const dispatcher = await swarm.dispatcher();
  await swarm.host("a", agent);
  const ids = new Map<string, string>();
  for (const input of ["a", "b"]) ids.set(input, `s${await swarm.submit("gated", { input })}`);
  await eventually(async () => (begun.length === 2 ? true : undefined), "two to run");
  // More than the slots: some of it is in the dispatcher's hand, as its probes are.
  for (const input of ["c", "d"]) ids.set(input, `s${await swarm.submit("gated", { input, maxAttempts: 1 })}`);
  ids.set("e", `s${await swarm.submit("gated", { input: "e", maxAttempts: 1 }, { priority: "high" })}`);
  await eventually(async () => (dispatcher.status().inHand > 0 ? true : undefined), "the probe in hand");
  await pauseLane(control, swarm.names, lane, "me");
  await pauseLane(control, swarm.names, lane, "another");
  expect(await pausedLanes(control, swarm.names)).toMatchObject([{ ...lane, by: "me" }]);
  await eventually(async () => (dispatcher.status().inHand === 0 ? true : undefined), "the hand to be given back");
  for (const gate of gates.values()) gate();
  for (const input of ["a", "b"]) expect(await swarm.result(ids.get(input) as string)).toMatchObject({ status: "ok" });
  // One that starts now knows of the pause before it pulls.
  await swarm.dispatcher("d2");
  await swarm.host("b", defineAgent({ kind: "other", run: async () => "ran" }));
  const other = await swarm.submit("other", {});
  expect(await swarm.result(`s${other}`)).toMatchObject({ output: "ran" });
  expect(begun).toHaveLength(2);
  // What runs is acknowledged only after its result can be read.
  await eventually(async () => ((await swarm.waiting()) === 3 ? true : undefined), "three to wait");
  expect(await resumeLane(control, swarm.names, lane)).toBe(true);
  expect(await resumeLane(control, swarm.names, lane)).toBe(false);
  await eventually(async () => {
    for (const gate of gates.values()) gate();
    return begun.length === 5 ? true : undefined;
  }, "the rest to run");
  for (const gate of gates.values()) gate();
  for (const id of ids.values()) expect(await swarm.result(id)).toMatchObject({ status: "ok", attempt: 1 });
});

test("a rate limit holds over two dispatchers and two hosts", async () => {
  const swarm = await Dealing.start(nats);
  const starts: number[] = [];
  const agent = defineAgent({
    kind: "paced",
    slots: 8,
    limits: { rate: { tasks: 5, perMs: 300 } },
    run: async () => {
      starts.push(Date.now());
    },
  });
  const ids: string[] = [];
  for (let i = 0; i < 20; i++) ids.push(`s${await swarm.submit("paced", { input: i })}`);
  await swarm.host("a", agent);
  await swarm.host("b", agent);
  const began = Date.now();
  await Promise.all([swarm.dispatcher("d1"), swarm.dispatcher("d2")]);
  for (const id of ids) expect(await swarm.result(id)).toMatchObject({ status: "ok", attempt: 1 });
  expect(starts).toHaveLength(20);
  // No window of 300 ms has more than five, whenever the first one began.
  for (const rounds of [1, 2, 3]) expect((starts[5 * rounds] as number) - began).toBeGreaterThanOrEqual(300 * rounds);
});

test("P5: a limit of tasks at once holds over two dispatchers, while hosts join and leave", async () => {
  const swarm = await Dealing.start(nats);
  const LIMIT = 3;
  let running = 0;
  let most = 0;
  const where = new Set<string>();
  const agent = defineAgent({
    kind: "few",
    instances: 2,
    slots: 4,
    limits: { concurrency: LIMIT },
    run: async (_, { host }) => {
      running++;
      most = Math.max(most, running);
      where.add(host);
      await new Promise((resolve) => setTimeout(resolve, 3));
      running--;
    },
  });
  const ids: string[] = [];
  const submit = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) ids.push(`s${await swarm.submit("few", { input: i })}`);
  };
  await submit(60);
  const first = await swarm.host("a", agent);
  await Promise.all([swarm.dispatcher("d1"), swarm.dispatcher("d2")]);
  await swarm.result(ids[5] as string);
  await swarm.host("b", agent);
  await submit(30);
  await swarm.result(ids[65] as string);
  await first.drain(5_000);
  await submit(20);
  for (const id of ids) expect(await swarm.result(id)).toMatchObject({ status: "ok" });
  expect(most).toBe(LIMIT);
  expect([...where].sort()).toEqual(["a", "b"]);
});
