/**
 * P1, P2, P6 and P8 when processes really die; test/faults kills hosts and dispatchers. Each swarm has a `describe` of its own, and they
 * run at the same time: most of this is waiting for leases to end. The tests of one swarm go one after the other.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { consumerInfo } from "../../src/bus/topology.ts";
import { rounds } from "../support/rounds.ts";
import { type Admin, FIXTURES, TestSwarm } from "../support/swarm.ts";
import { eventually } from "../support/wait.ts";

const COUNT = { pool: "default", kind: "count" };
const MODULE = ["--agents", "0", "--module", `${FIXTURES}agents.ts`];

/** Resolves when `admin` is connected to another process of the broker. */
function restart(admin: Admin): Promise<void> {
  return new Promise((resolve) => {
    const stop = admin.bus.onStatus((status) => {
      if (status.type !== "reconnected" || !status.restarted) return;
      stop();
      resolve();
    });
  });
}

describe.concurrent("kill -9 of the nats-server under load", () => {
  const swarm = new TestSwarm();

  it.sequential("P1 P2: it comes back by itself on the same port, and every acknowledged task has its one result", async () => {
    await swarm.up("--slots", "64");
    const admin = await swarm.admin();
    const results = await admin.collect();
    const restarted = restart(admin);
    const tasks = rounds(5_000, 20_000);
    const submitting = admin.submit(
      "echo",
      Array.from({ length: tasks }, (_, i) => ({ input: i })),
    );
    await results.until(() => results.all.length > tasks / 10);
    process.kill(swarm.brokerPid() as number, "SIGKILL");
    const sequences = await submitting;
    await restarted;
    // Results published while we were away are in the stream only. A task whose acknowledgement was lost with the broker
    // was submitted once more, since the restarted broker forgets the message ids of tasks that are done: what counts
    // is that each acknowledged one has its result.
    await admin.acknowledged();
    expect(await admin.storedOf(sequences.map((sequence) => `s${sequence}`))).toBe(sequences.length);
  });
});

describe.concurrent("kill -9 of the nats-server while tasks run that may run only once", () => {
  const swarm = new TestSwarm();

  it.sequential("P1: none of them is run twice, although the broker forgets deliveries", async () => {
    await swarm.up(...MODULE);
    const admin = await swarm.admin();
    const file = join(swarm.dir, "marks");
    const kills = rounds(1, 2);
    const tasks = Array.from({ length: 1_000 * kills }, (_, id) => ({ input: { file, id, ms: 5 }, maxAttempts: 1 }));
    await admin.submit("mark", tasks);
    for (let kill = 0; kill < kills; kill++) {
      const before = await admin.stored();
      await eventually(async () => ((await admin.stored()) > before + 200 ? true : undefined), "tasks to be under way");
      const restarted = restart(admin);
      process.kill(swarm.brokerPid() as number, "SIGKILL");
      await restarted;
    }
    await eventually(
      async () => ((await admin.stored()) >= tasks.length ? true : undefined),
      "every result to be stored",
    );
    const marks = readFileSync(file, "utf8").trim().split("\n");
    expect(new Set(marks).size).toBe(marks.length);
    expect(await admin.stored()).toBe(tasks.length);
  });
});

describe.concurrent("a task that blocks its host past its deadline", () => {
  const swarm = new TestSwarm();

  it.sequential("P6: the host leaves the rotation, the task goes on elsewhere, and the late end changes nothing", async () => {
    await swarm.up("--roles", "dispatcher");
    const workers = await swarm.joinAll(2, "worker", "--roles", "agents", ...MODULE);
    const hosts = workers.map(({ hostId }) => hostId);
    const admin = await swarm.admin();
    await admin.rosterOf(COUNT, hosts);
    const results = await admin.collect();
    await admin.submit("count", [{ id: "blocker", timeoutMs: 1_000, input: { block: 10_000, blockUntilAttempt: 2 } }]);
    const other = await eventually(async () => {
      const left = new Set((await admin.roster(COUNT)).map(({ host }) => host));
      return left.size === 1 ? hosts.find((host) => left.has(host)) : undefined;
    }, "the host that it blocks to leave the rotation");
    await results.until(() => results.byId.has("blocker"));
    expect(results.byId.get("blocker")).toMatchObject({ status: "ok", host: other, attempt: 2 });
    // When its loop turns again it is taken back.
    await admin.rosterOf(COUNT, hosts);
    expect(results.all.filter(({ id }) => id === "blocker")).toHaveLength(1);
    expect(await admin.stored()).toBe(1);
  });

  it.sequential("P1 P6: so does an element of an array", async () => {
    const admin = await swarm.admin();
    const results = await admin.collect();
    const input = { block: 4_000, blockUntilAttempt: 2 };
    const [sequence] = await admin.submit("count", [[{ timeoutMs: 1_000, input }]]);
    await results.until(() => results.byId.has(`s${sequence}-0`));
    expect(results.byId.get(`s${sequence}-0`)).toMatchObject({ status: "ok", attempt: 2 });
    await admin.acknowledged();
  });
});

describe.concurrent("kill -9 of a whole node", () => {
  const swarm = new TestSwarm();

  it.sequential("P1 P2: started again on the same home it finishes what was acknowledged, with one broker", async () => {
    const flags = ["--agents", "4", "--slots", "8", "--module", `${FIXTURES}agents.ts`];
    const first = await swarm.up(...flags);
    const admin = await swarm.admin();
    const results = await admin.collect();
    // However long the kill takes to come, it finds this one running.
    const go = join(swarm.dir, "go");
    const held = await admin.submit("count", [{ input: { until: go } }]);
    await eventually(
      async () => ((await admin.stats(first.hostId)).running.some((n) => n > 0) ? true : undefined),
      "it to begin",
    );
    const echoes = await admin.submit(
      "echo",
      Array.from({ length: rounds(2_000, 5_000) }, (_, i) => ({ input: i })),
    );
    const sequences = [...held, ...echoes];
    await results.until(() => results.all.length > 200);
    await first.kill("SIGKILL");
    expect(await admin.stored()).toBeLessThan(sequences.length);
    writeFileSync(go, "");

    const second = await swarm.up(...flags);
    expect(second.hostId).toBe(first.hostId);
    const after = await swarm.admin();
    await eventually(
      async () => ((await after.stored()) >= sequences.length ? true : undefined),
      "every result to be stored",
    );
    expect(await after.stored()).toBe(sequences.length);
    await after.acknowledged();
  });
});

describe.concurrent("arrays whose host or dispatcher is killed", () => {
  const swarm = new TestSwarm();

  it.sequential("P1 P2: every element ends in one result, what was not lost is not run again, and the array is acknowledged", async () => {
    await swarm.up("--roles", "http");
    const workers = await swarm.joinAll(2, "worker", "--roles", "agents", ...MODULE);
    const dispatchers = await swarm.joinAll(2, "dispatcher", "--roles", "dispatcher");
    const admin = await swarm.admin();
    await admin.rosterOf(
      COUNT,
      workers.map(({ hostId }) => hostId),
    );
    const results = await admin.collect();
    const [elements, agents] = [40, 10];
    const array = new Array(elements).fill({ input: { ms: 150 } });
    // Drawn while all agents are free, the first ten fall to one each: so either host runs some, however late it is killed.
    const go = join(swarm.dir, "go");
    const held = array.map((element, i) => (i < agents ? { input: { until: go } } : element));
    const first = await admin.submit("count", [held]);
    await results.reach(elements - agents);
    const arrays = [...first, ...(await admin.submit("count", new Array(9).fill(array)))];
    const wanted = arrays.flatMap((sequence) => Array.from({ length: elements }, (_, i) => `s${sequence}-${i}`));
    await results.until(() => results.all.length >= 40);
    await workers[0]?.kill("SIGKILL");
    writeFileSync(go, "");
    await results.until(() => results.all.length >= 100);
    await dispatchers[0]?.kill("SIGKILL");
    await results.until(() => wanted.every((id) => results.byId.has(id)));
    expect(results.all.every(({ status }) => status === "ok")).toBe(true);
    expect(results.all).toHaveLength(wanted.length);
    // The killed worker had begun up to fifteen; the rest was begun once, or never known to be begun.
    expect(results.all.some(({ attempt }) => attempt === 2)).toBe(true);
    await admin.acknowledged();
    expect(await admin.stored()).toBe(wanted.length);
  });
});

describe.concurrent("SIGTERM of dispatchers that hold tasks", () => {
  const swarm = new TestSwarm();

  it.sequential("P8: gives them back as not begun, so that even a task that may run only once is run", async () => {
    const up = await swarm.up(...MODULE);
    const dispatchers = await swarm.joinAll(3, "dispatcher", "--roles", "dispatcher");
    const admin = await swarm.admin();
    await admin.rosterOf(COUNT, [up.hostId]);
    const results = await admin.collect();
    const pulls = async (): Promise<number> =>
      (await consumerInfo(admin.bus, admin.names.streams.tasks, admin.names.consumer(COUNT)))?.pulls ?? 0;
    await eventually(async () => ((await pulls()) > dispatchers.length ? true : undefined), "every dispatcher to pull");
    // Each dispatcher has asked for as many tasks as there are slots, so most of what comes has to wait in their hands.
    const sequences = await admin.submit("count", new Array(90).fill({ input: { ms: 1_000 }, maxAttempts: 1 }));
    await eventually(
      async () => ((await admin.stats(up.hostId)).running.slice(0, 5).every((n) => n === 3) ? true : undefined),
      "every slot to be taken",
    );
    for (const dispatcher of dispatchers) expect(await dispatcher.kill("SIGTERM")).toBe(0);
    await results.reach(sequences.length);
    expect(results.all.filter(({ status, attempt }) => status !== "ok" || attempt !== 1)).toEqual([]);
    expect(dispatchers.some((dispatcher) => dispatcher.log().includes("gave back tasks"))).toBe(true);
  });
});

describe.concurrent("a kind that nobody offers any more", () => {
  const swarm = new TestSwarm();

  it.sequential("leaves the rotation with the last dispatcher gone too, so that nobody takes it for offered", async () => {
    const first = await swarm.up(...MODULE);
    const admin = await swarm.admin();
    await admin.rosterOf(COUNT, [first.hostId]);
    await first.kill("SIGKILL");
    // The successor offers other kinds; the one that joins besides it has only a dispatcher's credential.
    await swarm.up("--roles", "http");
    await swarm.join("dispatcher", "--roles", "dispatcher");
    const after = await swarm.admin();
    await after.rosterOf(COUNT, []);
  });
});

describe.concurrent("SIGTERM under load", () => {
  const swarm = new TestSwarm();

  it.sequential("P8: what runs finishes, what waits stays, nothing runs twice, and the exit code is 0", async () => {
    const first = await swarm.up(...MODULE);
    const admin = await swarm.admin();
    const results = await admin.collect();
    const sequences = await admin.submit("count", new Array(400).fill({ input: { ms: 50 } }));
    await results.until(() => results.all.length >= 30);
    expect(await first.kill("SIGTERM")).toBe(0);
    await swarm.up(...MODULE);
    const after = await swarm.admin();
    const later = await after.collect();
    await eventually(
      async () => ((await after.stored()) >= sequences.length ? true : undefined),
      "every result to be stored",
    );
    expect(await after.stored()).toBe(sequences.length);
    const all = [...results.all, ...later.all];
    expect(all.length).toBeGreaterThan(30);
    expect(all.every(({ attempt, status }) => attempt === 1 && status === "ok")).toBe(true);
  });

  it.sequential("P8: what does not finish within the grace is handed back and runs elsewhere", async () => {
    const worker = await swarm.join("worker", "--roles", "agents", "--grace", "200", ...MODULE);
    const admin = await swarm.admin();
    await eventually(
      async () => ((await admin.roster(COUNT)).some(({ host }) => host === worker.hostId) ? true : undefined),
      "it to join",
    );
    const results = await admin.collect();
    const go = join(swarm.dir, "go");
    const sequences = await admin.submit("count", new Array(20).fill({ input: { until: go } }));
    await eventually(
      async () => ((await admin.stats(worker.hostId)).running.some((n) => n > 0) ? true : undefined),
      "it to run some",
    );
    expect(await worker.kill("SIGTERM")).toBe(0);
    writeFileSync(go, "");
    await results.reach(sequences.length);
    expect(results.all.every(({ status, host }) => status === "ok" && host !== worker.hostId)).toBe(true);
    expect(results.all.some(({ attempt }) => attempt === 2)).toBe(true);
  });
});
