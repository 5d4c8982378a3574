/**
 * How long tasks stand still when what runs them is killed: a host, a dispatcher, both at once, a whole master. Real processes, killed
 * with SIGKILL at a random moment between two heartbeats.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { describeConnection } from "../src/bus/credentials/connection-file.ts";
import { openHome } from "../src/bus/home/home.ts";
import { type Client, connect } from "../src/client.ts";
import { freePort } from "../test/support/nats-binary.ts";
import { launchNode, type Node } from "../test/support/node.ts";
import type { Bench, Benchmark, Report } from "./benchmark.ts";

const MODULE = ["--agents", "0", "--module", fileURLToPath(new URL("recovery-agent.ts", import.meta.url))];
const TASKS = 16;
const HEARTBEAT_MS = 1_000;
/** More than ack_wait, so that what hangs on it is seen. */
const LIMIT_MS = 60_000;

/** One execution that began. */
interface Begin {
  readonly id: string;
  readonly attempt: number;
  readonly host: string;
  readonly at: number;
}

/** What one kill cost, by name, ms. */
type Cost = Readonly<Record<string, number>>;

interface Recovery {
  readonly what: string;
  readonly costs: readonly Cost[];
}

/** A swarm of processes with homes of their own. */
class Swarm {
  readonly dir = mkdtempSync(join(tmpdir(), "vgas-recovery-"));
  readonly begins = join(this.dir, "begins");
  readonly #nodes = new Map<string, { readonly args: readonly string[]; readonly home: string; node: Node }>();
  client!: Client;
  #url = "";
  #rounds = 0;

  async master(...flags: readonly string[]): Promise<Node> {
    const port = String(await freePort());
    const node = await this.#launch("master", ["up", "--nats-port", port, "--http-port", "0", ...flags]);
    this.#url = node.url;
    this.client = await connect({ home: this.#home("master") });
    return node;
  }

  async join(name: string, role: "worker" | "dispatcher", ...flags: readonly string[]): Promise<Node> {
    const home = this.#home(name);
    mkdirSync(home, { mode: 0o700 });
    const credential = await (await openHome(this.#home("master"))).credentials.issueNode(role);
    const file = join(home, "connection.json");
    const connection = await describeConnection({ url: this.#url, credential, inline: true });
    writeFileSync(file, JSON.stringify(connection), { mode: 0o600 });
    return await this.#launch(name, ["join", "--connection", file, "--http-port", "0", ...flags]);
  }

  /** Starts a node again that was killed. */
  async again(name: string): Promise<Node> {
    const known = this.#nodes.get(name);
    if (known === undefined) throw new Error(`there is no node ${name}`);
    return await this.#launch(name, known.args);
  }

  /** Resolves when the swarm's hosts are in the rotation: a task of each falls to each of them. */
  async offeredBy(...hosts: readonly string[]): Promise<void> {
    await this.#until(async () => {
      const id = `probe-${this.#rounds++}`;
      const batch = await this.client.submitMany(
        "hold",
        Array.from({ length: 4 * hosts.length }, () => ({ begins: `${this.begins}.${id}` })),
        { array: false },
      );
      await Promise.all(batch.map((task) => task.result()));
      const heard = new Set(read(`${this.begins}.${id}`).map(({ host }) => host));
      return hosts.every((host) => heard.has(host));
    }, "the hosts to be in the rotation");
  }

  /** Submits `TASKS` tasks that hold their first execution, and resolves when all have begun. Returns what ends them. */
  async hold(): Promise<{ readonly file: string; release(): Promise<void> }> {
    const file = `${this.begins}.${this.#rounds++}`;
    const until = `${file}.release`;
    const tasks = await this.client.submitMany(
      "hold",
      Array.from({ length: TASKS }, () => ({ begins: file, until })),
      { array: false },
    );
    await this.#until(async () => read(file).length >= TASKS, "all tasks to begin");
    return {
      file,
      release: async () => {
        writeFileSync(until, "");
        await Promise.all(tasks.map((task) => task.result()));
      },
    };
  }

  /** Resolves with the executions that began a second time, once every one of `ids` has. */
  async begunAgain(file: string, ids: readonly string[]): Promise<readonly Begin[]> {
    const again = (): readonly Begin[] => read(file).filter(({ attempt }) => attempt > 1);
    await this.#until(async () => {
      const heard = new Set(again().map(({ id }) => id));
      return ids.every((id) => heard.has(id));
    }, "the tasks to begin again");
    return again();
  }

  async stop(): Promise<void> {
    await this.client?.close();
    const broker = this.#brokerPid();
    for (const { node } of this.#nodes.values()) await node.kill("SIGKILL");
    if (broker !== undefined) process.kill(broker, "SIGKILL");
    rmSync(this.dir, { recursive: true, force: true });
  }

  killBroker(): void {
    process.kill(this.#brokerPid() as number, "SIGKILL");
  }

  #brokerPid(): number | undefined {
    try {
      const record: unknown = JSON.parse(readFileSync(join(this.#home("master"), "nats", "broker.json"), "utf8"));
      return (record as { readonly process?: { readonly pid?: number } }).process?.pid;
    } catch {
      return undefined;
    }
  }

  #home(name: string): string {
    return join(this.dir, name);
  }

  async #launch(name: string, args: readonly string[]): Promise<Node> {
    const home = this.#home(name);
    const node = await launchNode(args, home).ready;
    this.#nodes.set(name, { args, home, node });
    return node;
  }

  async #until(check: () => Promise<boolean>, what: string): Promise<void> {
    const deadline = performance.now() + LIMIT_MS;
    while (!(await check())) {
      if (performance.now() > deadline) throw new Error(`gave up waiting for ${what}; see ${this.dir}`);
      await pause(5);
    }
  }
}

function read(file: string): readonly Begin[] {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, "utf8").split("\n").slice(0, -1);
  return lines.map((line) => {
    const [id = "", attempt, host = "", at] = line.split(" ");
    return { id, attempt: Number(attempt), host, at: Number(at) };
  });
}

/** When the first of `nodes` to do so put `host` out of the rotation, ms since the epoch. */
function evictedAt(host: string, nodes: readonly Node[]): number | undefined {
  const times = nodes.flatMap((node) =>
    node
      .log()
      .split("\n")
      .filter((line) => line.includes("out of the rotation") && line.includes(host))
      .map((line) => timeOf(line)),
  );
  return times.length > 0 ? Math.min(...times) : undefined;
}

function timeOf(line: string): number {
  const { time } = JSON.parse(line) as { readonly time: number | string };
  return typeof time === "number" ? time : Date.parse(time);
}

/** Kills after a pause of up to `withinMs`: between two heartbeats, at a moment that differs from round to round. */
async function kill(withinMs: number, ...nodes: readonly Node[]): Promise<number> {
  await pause(Math.random() * withinMs);
  const at = Date.now();
  for (const node of nodes) node.child.kill("SIGKILL");
  await Promise.all(nodes.map(({ ended }) => ended));
  return at;
}

function firstAndLast(again: readonly Begin[], from: number): Cost {
  const times = again.map(({ at }) => at - from);
  return { "first task begins again": Math.min(...times), "last task begins again": Math.max(...times) };
}

/** `withDispatcher`: one of two dispatchers dies with it. */
async function hosts(withDispatcher: boolean, { pairs, log }: Bench): Promise<readonly Cost[]> {
  const swarm = new Swarm();
  const costs: Cost[] = [];
  try {
    await swarm.master("--roles", "http");
    const names = ["d1", "d2"];
    const dispatchers = new Map<string, Node>();
    for (const name of names) dispatchers.set(name, await swarm.join(name, "dispatcher", "--roles", "dispatcher"));
    const stays = await swarm.join("stays", "worker", "--roles", "agents", ...MODULE);
    let victim = await swarm.join("victim", "worker", "--roles", "agents", ...MODULE);
    for (let round = 0; round < pairs; round++) {
      await swarm.offeredBy(stays.hostId, victim.hostId);
      const { file, release } = await swarm.hold();
      const lost = read(file).filter(({ host }) => host === victim.hostId);
      const dying = withDispatcher ? names[round % 2] : undefined;
      const dispatcher = dying === undefined ? undefined : dispatchers.get(dying);
      const killedAt = await kill(HEARTBEAT_MS, victim, ...(dispatcher ? [dispatcher] : []));
      const again = await swarm.begunAgain(
        file,
        lost.map(({ id }) => id),
      );
      const survivors = [...dispatchers.values()].filter((each) => each !== dispatcher);
      const evicted = evictedAt(victim.hostId, survivors);
      costs.push({
        ...(evicted !== undefined && { "it is out of the rotation": evicted - killedAt }),
        ...firstAndLast(again, killedAt),
      });
      log(`${withDispatcher ? "both" : "host"} ${round + 1}/${pairs}: ${JSON.stringify(costs.at(-1))}`);
      await release();
      victim = await swarm.again("victim");
      if (dying !== undefined) dispatchers.set(dying, await swarm.again(dying));
    }
  } finally {
    await swarm.stop();
  }
  return costs;
}

/** One of two dispatchers, with tasks in its hands: more come than there are slots. */
async function dispatchers({ pairs, log }: Bench): Promise<readonly Cost[]> {
  const swarm = new Swarm();
  const costs: Cost[] = [];
  try {
    await swarm.master("--roles", "http");
    const names = ["d1", "d2"];
    const nodes = new Map<string, Node>();
    for (const name of names) nodes.set(name, await swarm.join(name, "dispatcher", "--roles", "dispatcher"));
    const host = await swarm.join("stays", "worker", "--roles", "agents", ...MODULE);
    for (let round = 0; round < pairs; round++) {
      await swarm.offeredBy(host.hostId);
      const [before, after] = [`${swarm.begins}.b${round}`, `${swarm.begins}.a${round}`];
      const inputs = Array.from({ length: 1_500 }, () => ({ begins: before, ms: 25 }));
      const tasks = [...(await swarm.client.submitMany("hold", inputs, { array: false }))];
      while (read(before).length < 200) await pause(5);
      const dying = names[round % 2] as string;
      const killedAt = await kill(0, nodes.get(dying) as Node);
      const submittedAt = new Map<string, number>();
      for (let i = 0; i < 100; i++) {
        const at = Date.now();
        const task = await swarm.client.submit("hold", { begins: after }, { priority: "high" });
        submittedAt.set(task.id, at);
        tasks.push(task as (typeof tasks)[number]);
        await pause(20);
      }
      await Promise.all(tasks.map((task) => task.result()));
      const waits = read(after).map(({ id, at }) => at - (submittedAt.get(id) ?? at));
      costs.push({
        "what comes after the kill begins after, at most": Math.max(...waits),
        "last task that was there begins": Math.max(...read(before).map(({ at }) => at)) - killedAt,
      });
      log(`dispatcher ${round + 1}/${pairs}: ${JSON.stringify(costs.at(-1))}`);
      nodes.set(dying, await swarm.again(dying));
    }
  } finally {
    await swarm.stop();
  }
  return costs;
}

/** The only node, which a supervisor starts again at once, over the nats-server that it left behind or, `withBroker`, without one. */
async function masters(withBroker: boolean, { pairs, log }: Bench): Promise<readonly Cost[]> {
  const swarm = new Swarm();
  const costs: Cost[] = [];
  try {
    let master = await swarm.master(...MODULE);
    for (let round = 0; round < pairs; round++) {
      await swarm.offeredBy(master.hostId);
      const { file, release } = await swarm.hold();
      const ids = read(file).map(({ id }) => id);
      await pause(Math.random() * HEARTBEAT_MS);
      if (withBroker) swarm.killBroker();
      const killedAt = await kill(0, master);
      master = await swarm.again("master");
      const readyAt = Date.now();
      const again = await swarm.begunAgain(file, ids);
      costs.push({ "ready again": readyAt - killedAt, ...firstAndLast(again, killedAt) });
      log(`${withBroker ? "master and broker" : "master"} ${round + 1}/${pairs}: ${JSON.stringify(costs.at(-1))}`);
      await release();
    }
  } finally {
    await swarm.stop();
  }
  return costs;
}

export const recovery: Benchmark = {
  name: "recovery",
  measures: "seconds from a kill -9 until the tasks run elsewhere",
  run: async (bench) =>
    report([
      { what: "a host", costs: await hosts(false, bench) },
      { what: "one of two dispatchers", costs: await dispatchers(bench) },
      { what: "a host and one of two dispatchers", costs: await hosts(true, bench) },
      { what: "the whole master", costs: await masters(false, bench) },
      { what: "the whole master with its nats-server", costs: await masters(true, bench) },
    ]),
};

function report(all: readonly Recovery[]): Report {
  const rows = all.flatMap(({ what, costs }) =>
    [...new Set(costs.flatMap((cost) => Object.keys(cost)))].map((name) => [
      what,
      name,
      costs.flatMap((cost) => (cost[name] === undefined ? [] : [cost[name] / 1_000])),
    ]),
  );
  const columns = [{ title: "killed" }, { title: "what" }, { title: "s after the kill", digits: 2 }];
  return { tables: [{ title: "Recovery", columns, rows }], targets: [], notes: [], notCompared: [] };
}
