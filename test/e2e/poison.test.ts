/**
 * P1, P2 and P6 with tasks that kill their hosts, hosts that are stopped and wake when their tasks were done again, and behaviours
 * whose process dies alone. The tests follow each other in one swarm: a host that one of them kills is what the next one begins with.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { decode } from "../../src/bus/codec/codec.ts";
import { lastBySubject } from "../../src/bus/stored.ts";
import type { DeadLetter, TaskResult } from "../../src/protocols/result.ts";
import { type Admin, FIXTURES, type Node, type Results, TestSwarm } from "../support/swarm.ts";
import { eventually } from "../support/wait.ts";

const NEIGHBOURS = ["--agents", "0", "--module", `${FIXTURES}agents.ts`, "--module", `${FIXTURES}scribe.ts`];
const POISON = [...NEIGHBOURS, "--module", `${FIXTURES}poison.ts`];
const SCRIBE = { pool: "default", kind: "scribe" };
const COUNT = { pool: "default", kind: "count" };

describe("tasks that kill their host", () => {
  const swarm = new TestSwarm();
  let up: Node;
  let worker: Node;
  let admin: Admin;
  let results: Results;

  const joined = async (): Promise<Node> => {
    worker = await swarm.join("worker", "--roles", "agents", ...POISON);
    return worker;
  };
  /** How the next worker ended: that it is ready comes too late for a task that waits for it. */
  const endOfNext = async (): Promise<unknown> =>
    await joined().then(
      ({ ended }) => ended,
      (error: unknown) => /ended \((\w+)\)/.exec(String(error))?.[1],
    );
  const file = (name: string): string => join(swarm.dir, name);
  const lines = (name: string): string[] =>
    existsSync(file(name)) ? readFileSync(file(name), "utf8").trim().split("\n") : [];
  const result = async (id: string): Promise<TaskResult> => {
    await results.until(() => results.byId.has(id));
    return results.byId.get(id) as TaskResult;
  };
  const letter = async (id: string): Promise<DeadLetter> => {
    const { dead } = admin.names.streams;
    const subject = admin.names.dead("default", id);
    return decode(
      (await eventually(() => lastBySubject(admin.bus, dead, subject), `a letter of ${id}`)).data,
    ) as DeadLetter;
  };
  /** Tasks of which both hosts have some, until the file is there. */
  const neighbours = async (until: string): Promise<readonly string[]> => {
    const sequences = await admin.submit("count", new Array(10).fill({ input: { until: file(until) } }));
    await eventually(
      async () => ((await admin.stats(worker.hostId)).running.some((n) => n > 0) ? true : undefined),
      "the worker to run some",
    );
    return sequences.map((sequence) => `s${sequence}`);
  };

  beforeAll(async () => {
    up = await swarm.up(...NEIGHBOURS);
    admin = await swarm.admin();
    results = await admin.collect();
  });

  it("P1: one is begun as often as it may be, and then it is failed", async () => {
    await admin.submit("poison", [{ id: "poison", maxAttempts: 2, input: { file: file("poison") } }]);
    expect(await endOfNext()).toBe("SIGKILL");
    expect(await endOfNext()).toBe("SIGKILL");
    await joined();
    const error = { code: "CRASHED_REPEATEDLY", retryable: false };
    expect(await result("poison")).toMatchObject({ status: "failed", error, attempt: 2 });
    expect(await letter("poison")).toMatchObject({ reason: "crashed-repeatedly", attempts: 2, kind: "poison" });
    expect(lines("poison")).toEqual(["poison 1", "poison 2"]);
  });

  it("P1 P6: what ran on the killed host counts one execution, and what ran elsewhere none", async () => {
    await admin.rosterOf(COUNT, [up.hostId, worker.hostId]);
    const ids = await neighbours("neighbours.go");
    await admin.submit("fragile", [{ id: "fragile", input: { file: file("fragile") } }]);
    expect(await worker.ended).toBe("SIGKILL");
    writeFileSync(file("neighbours.go"), "");
    const killed = worker.hostId;
    const ended = await Promise.all(ids.map(result));
    expect(ended.every(({ status, host }) => status === "ok" && host !== killed)).toBe(true);
    expect([...new Set(ended.map(({ attempt }) => attempt))].sort()).toEqual([1, 2]);
  });

  it("the attempt after a kill begins on another host at the checkpoint of the one before, however large", async () => {
    await joined();
    expect(await result("fragile")).toMatchObject({
      ...{ status: "ok", attempt: 2, host: worker.hostId },
      output: { bytes: 1_500_000 },
    });
    expect(lines("fragile")).toEqual(["fragile 1", "fragile 2"]);
  });

  it("P1 P2: a host that is stopped, and wakes when its tasks were done or begun again, harms nothing", async () => {
    await admin.rosterOf(SCRIBE, [up.hostId, worker.hostId]);
    const order = (fails: boolean) => ({ file: file("scribe"), stopped: worker.hostId, fails });
    const tasks = ["fails-0", "fails-1", "late-0", "late-1"].map((id) => ({
      ...{ id, maxAttempts: 2, input: order(id.startsWith("fails")) },
    }));
    // One after the other, so that each host gets one of each.
    for (const task of tasks) await admin.submit("scribe", [task]);
    await eventually(async () => (lines("scribe").length === 2 ? true : undefined), "both to begin there");
    const [fails = "", late = ""] = lines("scribe")
      .map((line) => line.split(" ")[0] ?? "")
      .sort();
    worker.child.kill("SIGSTOP");
    await eventually(async () => (lines("scribe").length === 4 ? true : undefined), "both to begin elsewhere");
    const first = await result(late);
    expect(first).toMatchObject({ attempt: 2, host: up.hostId, output: { restored: { by: 1 } } });

    writeFileSync(file("scribe.awake"), "");
    worker.child.kill("SIGCONT");
    await eventually(async () => (lines("scribe").length === 6 ? true : undefined), "the late ones to go on");
    await eventually(
      async () => ((await admin.stats(worker.hostId)).running.every((n) => n === 0) ? true : undefined),
      "the late ones to end",
    );
    writeFileSync(file("scribe.go"), "");
    expect(await result(fails)).toMatchObject({ attempt: 2, host: up.hostId, output: { restored: { by: 1 } } });
    await admin.acknowledged();

    const executions = lines("scribe").filter((line) => /\d$/.test(line));
    expect(executions.sort()).toEqual([`${fails} 1`, `${fails} 2`, `${late} 1`, `${late} 2`]);
    // A later attempt had written; where it had ended already there is nothing to overwrite.
    expect(lines("scribe")).toContain(`${fails} SUPERSEDED`);
    expect(await admin.storedResult(late)).toEqual(first);
    // It takes tasks again.
    await admin.rosterOf(SCRIBE, [up.hostId, worker.hostId]);
  });

  it("in a process of their own they take nobody with them, and what they started is gone", async () => {
    const ids = await neighbours("contained.go");
    const input = (how: string) => ({ file: file("contained"), how });
    // Its process is there before the timeout counts.
    await admin.submit("contained", [{ id: "warms", input: input("return") }]);
    expect(await result("warms")).toMatchObject({ status: "ok", host: worker.hostId });
    await admin.submit("contained", [{ id: "loops", maxAttempts: 1, timeoutMs: 2_000, input: input("loop") }]);
    await eventually(async () => lines("contained").some((line) => line.startsWith("loops")) || undefined, "the loop");
    await admin.submit("contained", [
      { id: "kills", maxAttempts: 2, input: input("kill") },
      { id: "exits", maxAttempts: 2, input: input("exit") },
    ]);
    for (const [id, code, attempt] of [
      ["kills", "AGENT_CRASHED", 2],
      ["exits", "AGENT_CRASHED", 2],
      ["loops", "TIMEOUT", 1],
    ] as const) {
      expect(await result(id)).toMatchObject({ status: "failed", error: { code }, attempt, host: worker.hostId });
      expect(await letter(id)).toMatchObject({ reason: "attempts-exhausted", attempts: attempt });
    }
    writeFileSync(file("contained.go"), "");
    const beside = await Promise.all(ids.map(result));
    expect(beside.every(({ status, attempt }) => status === "ok" && attempt === 1)).toBe(true);
    expect(beside.some(({ host }) => host === worker.hostId)).toBe(true);
    expect(worker.child.exitCode ?? worker.child.signalCode).toBeNull();
    const started = lines("contained").map((line) => line.split(" "));
    expect(started.map(([id, attempt]) => `${id} ${attempt}`).sort()).toEqual([
      ...["exits 1", "exits 2", "kills 1", "kills 2", "loops 1", "warms 1"],
    ]);
    const pids = started.flatMap(([id, , ...each]) => (id === "warms" ? [] : each));
    await eventually(async () => pids.every((pid) => !existsSync(`/proc/${pid}`)) || undefined, "their ends");
  });
});
