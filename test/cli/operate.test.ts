/** Commands by which an operator and a submitter look at tasks and steer them. */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { connect } from "../../src/client.ts";
import { type Node, TestSwarm } from "../support/swarm.ts";
import { eventually } from "../support/wait.ts";
import { vgas } from "./in-process.ts";
import { FIXTURES, temporary } from "./support.ts";

const swarm = new TestSwarm();
const home = ["--home", swarm.home];
let node: Node;
let hostId = "";

beforeAll(async () => {
  node = await swarm.up("--agents", "1", "--slots", "4", "--module", join(FIXTURES, "agents.ts"));
  ({ hostId } = node);
});

async function idOf(...args: readonly string[]): Promise<string> {
  return (await vgas(["submit", ...args, ...home])).out.trim();
}

test("pause keeps the tasks of a kind waiting until resume; task and tasks list show them", async () => {
  expect(await vgas(["pause", "echo", ...home])).toEqual({
    code: 0,
    out: "",
    err: "Kind echo in pool default is paused; `vgas resume echo` ends that.\n",
  });
  // Dispatchers hear of it a moment later.
  await node.said(/the lane is paused/);
  const id = await idOf("echo", "1", "--priority", "high");
  const task = JSON.parse((await vgas(["task", id, "--json", ...home])).out) as object;
  expect(task).toMatchObject({ state: "waiting", id, kind: "echo", priority: "high", attempts: 0 });
  expect((await vgas(["task", id, ...home])).out).toMatch(`${id}  waiting  echo  priority high, since 20`);
  const listed = await vgas(["tasks", "list", "--kind", "echo", "--json", ...home]);
  expect(JSON.parse(listed.out)).toMatchObject({ id, kind: "echo", priority: "high" });
  expect((await vgas(["tasks", "list", "--kind", "echo", "--priority", "low", ...home])).err).toBe("Nothing waits.\n");
  const resumed = await vgas(["resume", "echo", "--json", ...home]);
  expect(JSON.parse(resumed.out)).toEqual({ pool: "default", kind: "echo", paused: false, was: "paused" });
  expect((await vgas(["results", id, "--follow", ...home])).code).toBe(0);
  expect((await vgas(["task", id, ...home])).out).toMatch(`${id}  ok  echo  attempt 1, at 20`);
  expect((await vgas(["resume", "echo", ...home])).err).toBe("Kind echo in pool default was not paused.\n");
});

test.each([
  [["pause", "a b"], 2, "kind must be a token"],
  [["resume"], 2, "missing required argument 'kind'"],
  [["task", "missing"], 4, "nothing is known of task missing in pool default"],
  [["task", "a b"], 2, "token"],
  [["batch", "missing"], 4, "missing"],
  [["tasks", "list", "--limit", "0"], 2, "at least 1"],
  [["tasks", "purge"], 2, "required option '--kind"],
  [["tasks", "purge", "--kind", "echo"], 2, "Give --yes if it is meant"],
  [["drain", "nobody"], 4, "no node nobody is in the swarm"],
  [["submit", "echo", "--now", "--priority", "low"], 2, "--now is for a task that does not wait"],
  [["submit", "echo", "--delay", "1s", "--not-before", "2030-01-01"], 2, "say the same"],
  [["submit", "echo", "--not-before", "soon"], 2, "a time such as"],
  [["submit", "echo", "--events"], 2, "Give --wait too"],
])("%j is refused with exit code %i", async (args, code, message) => {
  const finished = await vgas([...args, ...home]);
  expect(finished.err).toContain(message);
  expect(finished).toMatchObject({ code, out: "" });
});

test("drain refuses the node that runs the nats-server", async () => {
  const { code, err } = await vgas(["drain", hostId, ...home]);
  expect(err).toContain("draining it ends the swarm; --force does it all the same");
  expect(code).toBe(78);
});

test("drain waits until the node has left", async () => {
  const worker = await swarm.join("worker", "--agents", "1");
  const { code, out } = await vgas(["drain", worker.hostId, "--json", ...home]);
  expect(JSON.parse(out)).toEqual({ node: worker.hostId, drained: true });
  expect(code).toBe(0);
  expect(await worker.ended).toBe(0);
});

test("cancel ends a task that waits and one that runs, and says when there is none", async () => {
  const dir = temporary();
  const input = { started: join(dir, "started"), go: join(dir, "go") };
  const running = await idOf("hold", JSON.stringify(input));
  await eventually(async () => existsSync(input.started) || undefined, "the task to start");
  expect((await vgas(["task", running, ...home])).out).toContain(`running  hold  attempt 1 on agent ${hostId}-`);
  const waiting = await idOf("nobody");
  const cancelled = await vgas(["cancel", running, waiting, "s1", "--json", ...home]);
  expect(
    cancelled.out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line)),
  ).toEqual([
    { id: running, state: "cancelling" },
    { id: waiting, state: "cancelled" },
    { id: "s1", state: "unknown" },
  ]);
  expect(cancelled.code).toBe(4);
  const result = await vgas(["results", running, "--follow", ...home]);
  expect(JSON.parse(result.out)).toMatchObject({ status: "cancelled", error: { code: "CANCELLED" } });
  expect((await vgas(["cancel", waiting, ...home])).out).toBe(`${waiting}  finished  it had finished already\n`);
});

test("P1: tasks purge gives every waiting task of a kind one cancelled result, and leaves others", async () => {
  const client = await connect({ home: swarm.home });
  try {
    const tasks = await client.submitMany(
      "unheard",
      Array.from({ length: 150 }, (_, i) => i),
      { array: 40 },
    );
    const other = await client.submit("unknown-too");
    const { code, out } = await vgas(["tasks", "purge", "--kind", "unheard", "--yes", "--json", ...home]);
    expect(JSON.parse(out)).toEqual({ pool: "default", kind: "unheard", cancelled: 150, running: 0 });
    expect(code).toBe(0);
    const results = await Promise.all(tasks.map((task) => task.result()));
    expect(new Set(results.map(({ status }) => status))).toEqual(new Set(["cancelled"]));
    expect((await other.status()).state).toBe("waiting");
  } finally {
    await client.close();
  }
});

test("tasks purge leaves a task alone that runs", async () => {
  const dir = temporary();
  const input = { started: join(dir, "started"), go: join(dir, "go") };
  const id = await idOf("hold", JSON.stringify(input));
  await eventually(async () => existsSync(input.started) || undefined, "the task to start");
  const purged = await vgas(["tasks", "purge", "--kind", "hold", "--yes", ...home]);
  expect(purged).toEqual({ code: 0, out: "", err: "0 tasks cancelled, 1 left running.\n" });
  writeFileSync(input.go, "");
  expect(JSON.parse((await vgas(["results", id, "--follow", ...home])).out)).toMatchObject({ status: "ok" });
});

test("batch counts what became of its tasks, and --follow prints each result", async () => {
  const client = await connect({ home: swarm.home });
  try {
    const batch = await client.submitMany("echo", [1, 2, 3]);
    await batch.recorded;
    const followed = await vgas(["batch", batch.id, "--follow", ...home]);
    expect(followed.out.trim().split("\n")).toHaveLength(3);
    expect(followed).toMatchObject({ code: 0, err: expect.stringContaining("3 total, 0 open, 3 ok") });
    const counted = await vgas(["batch", batch.id, "--json", ...home]);
    expect(JSON.parse(counted.out)).toMatchObject({ id: batch.id, total: 3, ok: 3, open: 0 });
  } finally {
    await client.close();
  }
});

test("submit --now is taken at once, or refused where nobody is free", async () => {
  expect((await vgas(["submit", "echo", "1", "--now", "--wait", ...home])).code).toBe(0);
  const refused = await vgas(["submit", "nobody", "--now", ...home]);
  expect(refused.err).toContain("nobody");
  expect(refused).toMatchObject({ code: 1, out: "" });
});

test("submit --delay keeps a task waiting, and --events prints what one says before its result", async () => {
  const later = await idOf("echo", "1", "--delay", "1h", "--id", "later");
  const state = JSON.parse((await vgas(["task", later, "--json", ...home])).out) as { notBefore: number };
  expect(state).toMatchObject({ state: "waiting", notBefore: expect.any(Number) });
  const events = await vgas([
    "submit",
    "hold",
    JSON.stringify({ started: "/dev/null", go: "/" }),
    "--wait",
    "--events",
    ...home,
  ]);
  expect(JSON.parse(events.out.trim().split("\n").at(-1) ?? "")).toMatchObject({ status: "ok", output: "held" });
});

test("run takes the priority of a line, and the kind of lines that name none", async () => {
  const file = join(temporary(), "tasks.jsonl");
  writeFileSync(
    file,
    '{"input":1,"priority":"high"}\n{"input":2,"notBefore":1}\n{"kind":"refuse"}\n{"priority":"urgent"}\n',
  );
  const { code, out, err } = await vgas(["run", file, "--kind", "echo", ...home]);
  expect(
    out
      .trim()
      .split("\n")
      .map((line) => (JSON.parse(line) as { status: string }).status)
      .sort(),
  ).toEqual(["failed", "ok", "ok"]);
  expect(err).toContain('line 4: task field "priority" must be one of high, normal, low');
  expect(code).toBe(3);
});
