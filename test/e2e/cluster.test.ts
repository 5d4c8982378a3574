/** A swarm on a cluster of three brokers that it did not start, with three copies of everything. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { consumerInfo, streamInfo } from "../../src/bus/topology.ts";
import type { Check } from "../../src/cli/doctor/check.ts";
import { type Client, connect } from "../../src/client.ts";
import { Names } from "../../src/protocols/subjects.ts";
import type { SwarmState } from "../../src/swarm-view/health.ts";
import { vgas } from "../cli/in-process.ts";
import { TestCluster } from "../support/cluster.ts";
import type { TestNats } from "../support/nats.ts";
import { launchNode, type Node } from "../support/node.ts";
import { eventually } from "../support/wait.ts";

const INPUTS = Array.from({ length: 300 }, (_, i) => i);

describe("a swarm on three brokers", () => {
  let cluster: TestCluster;
  let node: Node;
  let client: Client;
  const home = mkdtempSync(join(tmpdir(), "vgas-cluster-"));

  beforeAll(async () => {
    cluster = await TestCluster.make();
    await cluster.start();
    // It waits for the leaders that the cluster has yet to elect.
    node = await launchNode(["up", "--nats", cluster.url, "--replicas", "3", "--http-port", "0"], home).ready;
    client = await connect({ url: cluster.url });
  });

  afterAll(async () => {
    await client?.close();
    await node?.kill();
    await cluster?.close();
    rmSync(home, { recursive: true, force: true });
  });

  /** The server that leads the tasks. */
  const leader = async (): Promise<TestNats> => {
    const bus = await (cluster.servers[0] as TestNats).bus();
    const info = await streamInfo(bus, new Names().streams.tasks);
    return cluster.servers[Number(info?.copies?.leader?.slice(1))] as TestNats;
  };

  const command = (...args: readonly string[]) => vgas([...args, "--nats", cluster.url, "--home", home]);

  test("P1, P2: tasks, batches, objects, cancel and now work on it", async () => {
    const bus = await (cluster.servers[0] as TestNats).bus();
    const together: string[] = [];
    // Leaders change: each result has an acknowledgement of its own.
    await bus.subscribe(new Names().result("*", "*"), ({ subject, reply }) => {
      if (reply?.endsWith(".$FI")) together.push(subject);
    });
    expect((await (await client.submit("echo", "one")).result()).output).toBe("one");
    const many = await client.submitMany("echo", INPUTS);
    expect((await Promise.all(many.map((task) => task.result()))).map(({ output }) => output)).toEqual(INPUTS);
    expect(together).toEqual([]);
    const { config } = await (await jetstreamManager(bus.native)).streams.info(new Names().streams.results);
    expect(config).not.toHaveProperty("allow_batched");
  });

  test("P1: of what is cancelled only what nobody has in hand is deleted: a copy of the consumer that misses that would lose others", async () => {
    const bus = await (cluster.servers[0] as TestNats).bus();
    const names = new Names();
    const waiting = async () => (await streamInfo(bus, names.streams.tasks))?.messages;
    await eventually(async () => ((await waiting()) === 0 ? true : undefined), "the queue to be empty");
    const later = await client.submit("echo", "later", { delayMs: 600_000 });
    const consumer = names.consumer({ pool: "default", kind: "echo" });
    await eventually(
      async () => ((await consumerInfo(bus, names.streams.tasks, consumer))?.ackPending === 1 ? true : undefined),
      "a dispatcher to have it",
    );
    const lonely = await client.submit("nobody", "has it");
    expect(await waiting()).toBe(2);
    for (const task of [later, lonely]) expect(await task.cancel()).toMatchObject({ state: "cancelled" });
    expect(await waiting()).toBe(1);
    expect(await consumerInfo(bus, names.streams.tasks, consumer)).toMatchObject({ ackPending: 1 });
  });

  test("every stream has three copies, and doctor finds nothing wrong", async () => {
    const { code, checks } = await eventually(async () => {
      const { code, out } = await command("doctor", "--role", "system", "--replicas", "3", "--json");
      const checks: Check[] = out
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line));
      const fine = checks.every(
        ({ verdict, check }) => verdict === "ok" || check === "disk" || check === "authentication",
      );
      return fine ? { code, checks } : undefined;
    }, "doctor to find nothing wrong");
    expect(checks).toContainEqual({ check: "cluster", verdict: "ok", message: "3 copies of everything" });
    expect(code).toBe(0);
  });

  test("P1: the leader of the tasks killed while they run: none is refused, all end, status and doctor say which copy is missing, and it goes away", async () => {
    const inputs = INPUTS.map(() => ({ ms: 50 }));
    const before = await client.submitMany("sleep", inputs);
    const killed = await leader();
    const name = `s${cluster.servers.indexOf(killed)}`;
    await killed.kill();
    // Until another leads, nobody takes them.
    const after = await Promise.all(inputs.map((input) => client.submit("sleep", input)));
    const tasks = [...before, ...after];
    const results = await Promise.all(tasks.map((task) => task.result()));
    expect(results.every(({ status }) => status === "ok")).toBe(true);
    // While leaders are elected both may be told nothing in time.
    const status = async (): Promise<SwarmState | undefined> => {
      const { out, code } = await command("status", "--json");
      return code === 0 ? JSON.parse(out) : undefined;
    };
    const missing = `its copy on ${name} is missing`;
    await eventually(
      async () => ((await status())?.reasons.join().includes(missing) ? true : undefined),
      "status to miss a copy",
    );
    await eventually(async () => {
      const { out } = await command("doctor", "--role", "system", "--replicas", "3");
      return out.includes(`${missing}: that server is not heard`) ? true : undefined;
    }, "doctor to miss it");
    await killed.start();
    await eventually(async () => ((await status())?.health === "ok" ? true : undefined), "the copy to be there again");
  });
});
