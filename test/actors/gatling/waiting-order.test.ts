/** Which of the waiting tasks begin: priorities, start times, pauses. Dispatchers and hosts of this process, a real nats-server. */
import { expect, test } from "vitest";
import { defineAgent } from "../../../src/actors/agent/definition.ts";
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
  await swarm.dispatcher();
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
