/**
 * How long tasks stand still when what runs them is killed: a host, a dispatcher, both at once, a whole master. Real processes, killed
 * with SIGKILL at a random moment between two heartbeats. Next to it a worker of BullMQ.
 */
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Node } from "../test/support/node.ts";
import type { Bench, Benchmark, Report, Samples } from "./benchmark.ts";
import { stalledJobs } from "./recovery-bullmq.ts";
import { type Begin, begunIn, RecoverySwarm } from "./recovery-swarm.ts";
import { BullMq, findBullMq } from "./rivals/bullmq.ts";

const MODULE = ["--agents", "0", "--module", fileURLToPath(new URL("recovery-agent.ts", import.meta.url))];
const HEARTBEAT_MS = 1_000;
const MOST_SECONDS = 4;
/** What is not judged hangs on `ack_wait` mostly, and takes ten seconds each time. */
const ROUNDS_PER_UNJUDGED = 5;

const BULLMQ = "a worker of BullMQ";
const EVICTED = "it is out of the rotation";
const FIRST = "first task begins again";
const LAST = "last task begins again";

/** What one kill cost, by name, ms. */
type Cost = Readonly<Record<string, number>>;

interface Recovery {
  readonly what: string;
  readonly costs: readonly Cost[];
}

/** A host whose tasks others take over; and so with one of two dispatchers that dies with it. */
interface HostRounds {
  readonly what: string;
  readonly rounds: number;
  readonly dispatchers: readonly string[];
  readonly withDispatcher: boolean;
}

export const recovery: Benchmark = {
  name: "recovery",
  measures:
    "seconds from a kill -9 of a host until its tasks run elsewhere; against BullMQ's stalled jobs at its defaults",
  run: async (bench) => {
    const { quick, pairs } = bench;
    const host = { what: "a host", rounds: pairs, withDispatcher: false };
    if (quick)
      return reportOf(
        [await hosts({ ...host, dispatchers: [] }, bench)],
        ["BullMQ's stalled jobs take up to a minute, which --quick has not"],
      );
    const rival = stalled(bench);
    const dispatchers = ["d1", "d2"];
    const rounds = Math.ceil(pairs / ROUNDS_PER_UNJUDGED);
    const judged = await hosts({ ...host, dispatchers }, bench);
    const both = { what: "a host and one of two dispatchers", rounds, dispatchers, withDispatcher: true };
    // They wait for most of the time, so they do it side by side.
    const others = await Promise.all([
      dispatcherOfTwo(rounds, bench),
      hosts(both, bench),
      masters(rounds, false, bench),
      masters(rounds, true, bench),
    ]);
    const waited = await rival;
    return "reason" in waited
      ? reportOf([judged, ...others], [waited.reason])
      : reportOf([judged, waited, ...others], []);
  },
};

/** Beside the others: it waits too. */
async function stalled(bench: Bench): Promise<Recovery | { readonly reason: string }> {
  const found = await findBullMq(bench);
  if (!(found instanceof BullMq)) return found;
  try {
    const all = await stalledJobs(found, Math.ceil(bench.pairs / ROUNDS_PER_UNJUDGED), bench);
    return { what: BULLMQ, costs: all.map(({ again, killedAt }) => firstAndLast(again, killedAt)) };
  } catch (error) {
    return { reason: `BullMQ: ${error instanceof Error ? error.message : error}` };
  }
}

/** Without `dispatchers` the master is the only one, and the host that stays. */
async function hosts({ what, rounds, dispatchers, withDispatcher }: HostRounds, { log }: Bench): Promise<Recovery> {
  const swarm = new RecoverySwarm();
  const costs: Cost[] = [];
  try {
    const shared = dispatchers.length > 0;
    const master = await swarm.master("--roles", ...(shared ? ["http"] : ["dispatcher,agents,http", ...MODULE]));
    const dealing = new Map<string, Node>();
    const joined = dispatchers.map(async (name) => {
      dealing.set(name, await swarm.join(name, "dispatcher", "--roles", "dispatcher"));
    });
    const agents = ["--roles", "agents", ...MODULE];
    const join = (name: string): Promise<Node> => swarm.join(name, "worker", ...agents);
    const both = Promise.all([shared ? join("stays") : master, join("victim")]);
    await Promise.all(joined);
    let [stays, victim] = await both;
    for (let round = 0; round < rounds; round++) {
      await swarm.offeredBy(stays.hostId, victim.hostId);
      const { file, release } = await swarm.hold();
      const lost = begunIn(file).filter(({ host }) => host === victim.hostId);
      const dying = withDispatcher ? dispatchers[round % dispatchers.length] : undefined;
      const dispatcher = dying === undefined ? undefined : dealing.get(dying);
      const killedAt = await kill(HEARTBEAT_MS, victim, ...(dispatcher ? [dispatcher] : []));
      const ids = lost.map(({ id }) => id);
      const again = await swarm.begunAgain(file, ids);
      const survivors = [master, ...dealing.values()].filter((each) => each !== dispatcher);
      const evicted = evictedAt(victim.hostId, survivors, killedAt);
      costs.push({ ...(evicted !== undefined && { [EVICTED]: evicted - killedAt }), ...firstAndLast(again, killedAt) });
      log(`${what} ${round + 1} of ${rounds}: ${lineOf(costs.at(-1))}`);
      await release();
      if (round + 1 === rounds) break;
      victim = await swarm.again("victim");
      if (dying !== undefined) dealing.set(dying, await swarm.again(dying));
    }
  } finally {
    await swarm.stop();
  }
  return { what, costs };
}

/** One of two dispatchers, with tasks in its hands: more come than there are slots. */
async function dispatcherOfTwo(rounds: number, { log }: Bench): Promise<Recovery> {
  const what = "one of two dispatchers";
  const swarm = new RecoverySwarm();
  const costs: Cost[] = [];
  try {
    await swarm.master("--roles", "http");
    const names = ["d1", "d2"];
    const nodes = new Map<string, Node>();
    for (const name of names) nodes.set(name, await swarm.join(name, "dispatcher", "--roles", "dispatcher"));
    const host = await swarm.join("stays", "worker", "--roles", "agents", ...MODULE);
    for (let round = 0; round < rounds; round++) {
      await swarm.offeredBy(host.hostId);
      const [before, after] = [`${swarm.begins}.b${round}`, `${swarm.begins}.a${round}`];
      const inputs = Array.from({ length: 1_500 }, () => ({ begins: before, ms: 25 }));
      const tasks = [...(await swarm.client.submitMany("hold", inputs, { array: false }))];
      while (begunIn(before).length < 200) await pause(5);
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
      const waits = begunIn(after).map(({ id, at }) => at - (submittedAt.get(id) ?? at));
      costs.push({
        "what comes after the kill begins after, at most": Math.max(...waits),
        "last task that was there begins": Math.max(...begunIn(before).map(({ at }) => at)) - killedAt,
      });
      log(`${what} ${round + 1} of ${rounds}: ${lineOf(costs.at(-1))}`);
      if (round + 1 < rounds) nodes.set(dying, await swarm.again(dying));
    }
  } finally {
    await swarm.stop();
  }
  return { what, costs };
}

/** The only node, which a supervisor starts again at once, over the nats-server that it left behind or, `withBroker`, without one. */
async function masters(rounds: number, withBroker: boolean, { log }: Bench): Promise<Recovery> {
  const what = `the whole master${withBroker ? " with its nats-server" : ""}`;
  const swarm = new RecoverySwarm();
  const costs: Cost[] = [];
  try {
    let master = await swarm.master(...MODULE);
    for (let round = 0; round < rounds; round++) {
      await swarm.offeredBy(master.hostId);
      const { file, release } = await swarm.hold();
      const ids = begunIn(file).map(({ id }) => id);
      await pause(Math.random() * HEARTBEAT_MS);
      if (withBroker) swarm.killBroker();
      const killedAt = await kill(0, master);
      master = await swarm.again("master");
      const readyAt = Date.now();
      const again = await swarm.begunAgain(file, ids);
      costs.push({ "ready again": readyAt - killedAt, ...firstAndLast(again, killedAt) });
      log(`${what} ${round + 1} of ${rounds}: ${lineOf(costs.at(-1))}`);
      await release();
    }
  } finally {
    await swarm.stop();
  }
  return { what, costs };
}

/** Kills after a pause of up to `withinMs`: between two heartbeats, at a moment that differs from round to round. */
async function kill(withinMs: number, ...nodes: readonly Node[]): Promise<number> {
  await pause(Math.random() * withinMs);
  const at = Date.now();
  for (const node of nodes) node.child.kill("SIGKILL");
  await Promise.all(nodes.map(({ ended }) => ended));
  return at;
}

/** When the first of `nodes` to do so put `host` out of the rotation, ms since the epoch. An earlier life of it counts for nothing. */
function evictedAt(host: string, nodes: readonly Node[], killedAt: number): number | undefined {
  const times = nodes.flatMap((node) =>
    node
      .log()
      .split("\n")
      .filter((line) => line.includes("out of the rotation") && line.includes(host))
      .map((line) => timeOf(line))
      .filter((time) => time >= killedAt),
  );
  return times.length > 0 ? Math.min(...times) : undefined;
}

function timeOf(line: string): number {
  const { time } = JSON.parse(line) as { readonly time: number | string };
  return typeof time === "number" ? time : Date.parse(time);
}

function firstAndLast(again: readonly Begin[], from: number): Cost {
  const times = again.map(({ at }) => at - from);
  return { [FIRST]: Math.min(...times), [LAST]: Math.max(...times) };
}

function lineOf(cost: Cost | undefined): string {
  return Object.entries(cost ?? {})
    .map(([name, ms]) => `${name} ${(ms / 1_000).toFixed(2)} s`)
    .join(", ");
}

function secondsOf({ costs }: Recovery, name: string): Samples {
  return costs.flatMap((cost) => (cost[name] === undefined ? [] : [cost[name] / 1_000]));
}

function reportOf(all: readonly Recovery[], notCompared: readonly string[]): Report {
  const names = ({ costs }: Recovery): readonly string[] => [...new Set(costs.flatMap((cost) => Object.keys(cost)))];
  const rows = all.flatMap((each) => names(each).map((name) => [each.what, name, secondsOf(each, name)]));
  const columns = [{ title: "killed with SIGKILL" }, { title: "what" }, { title: "s after the kill", digits: 2 }];
  const [host] = all;
  const bullmq = all.find(({ what }) => what === BULLMQ);
  return {
    tables: [{ title: "From the kill to the tasks running elsewhere", columns, rows }],
    charts: [
      {
        title: "A killed worker's tasks run elsewhere (the last of them)",
        unit: "seconds, less is better",
        digits: 1,
        bars: [
          { label: "vgas", samples: host ? secondsOf(host, LAST) : [], of: "vgas" },
          { label: BULLMQ, samples: bullmq ? secondsOf(bullmq, LAST) : [], of: "rival" },
        ],
      },
    ],
    targets: host
      ? [
          {
            what: "the last of a killed host's tasks runs elsewhere after",
            unit: "s",
            samples: secondsOf(host, LAST),
            bound: { atMost: MOST_SECONDS },
          },
        ]
      : [],
    notes: [
      "all kinds but the first, and BullMQ, are killed less often and side by side with others: they are mostly waiting, and not judged",
      "whole masters need mostly the time in which a process starts; beside others, on two cores, that is longer than alone",
    ],
    notCompared,
  };
}
