/** What it costs that several dispatchers share one lane's rotation, next to one dispatcher; each run is checked for P3 and P4. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import { encode } from "../src/bus/codec/codec.ts";
import type { Bench, Benchmark, Samples } from "./benchmark.ts";
import { type Counts, since, sum } from "./contention/counts.ts";
import { RotationWatch } from "./contention/rotation-watch.ts";
import { ratios } from "./statistics.ts";
import { BenchBroker, drive, startWorker } from "./swarm.ts";

const TASKS = 20_000;
const QUICK_TASKS = 1_000;
const AGENTS = 16;
const SLOTS = 64;
/** One is compared with two in every pair; more are only reported, and measured once. */
const JUDGED = [1, 2];
const REPORTED = [4, 8];
/** The fewest that share anything. */
const QUICK = [2];

const MOST_WARM_UPS = 4;
/** A node shows the same metrics for half a second. */
const METRICS_MS = 600;

const LANE = { pool: "default", kind: "echo" };
/** A task of 200 bytes. */
const task = encode({ input: { text: "x".repeat(180) } });

interface Run {
  readonly tasksPerSecond: number;
  readonly ticketsPerSecond: number;
  readonly counts: Counts;
  /** Tickets of swaps whose answer was not heard. */
  readonly wasted: number;
  /** Tickets of the dispatcher that drew fewest, as a share of an even share. */
  readonly least: number;
}

export const contention: Benchmark = {
  name: "contention",
  measures: "tickets per second and lost swaps with 1, 2, 4 and 8 dispatchers on one lane; against one",
  run: async (bench) => {
    const runs = new Map<number, Run[]>();
    for (let pair = 0; pair < bench.pairs; pair++) {
      for (const dispatchers of bench.quick ? QUICK : pair === 0 ? [...JUDGED, ...REPORTED] : JUDGED) {
        const run = await measure(dispatchers, bench);
        runs.set(dispatchers, [...(runs.get(dispatchers) ?? []), run]);
        bench.log(
          `pair ${pair + 1} of ${bench.pairs}: dispatchers ${dispatchers}, ${Math.round(run.tasksPerSecond)} tasks/s, ${run.counts.swaps} swaps, ${run.counts.lost} lost`,
        );
      }
    }
    const of = (dispatchers: number, value: (run: Run) => number): Samples => (runs.get(dispatchers) ?? []).map(value);
    const rate = ({ tasksPerSecond }: Run): number => tasksPerSecond;
    /** Of one in the same pair. */
    const share = (dispatchers: number): Samples => (runs.has(1) ? ratios(of(dispatchers, rate), of(1, rate)) : []);
    const two = share(2);
    const tasks = bench.quick ? QUICK_TASKS : TASKS;
    return {
      tables: [
        {
          title: `${tasks.toLocaleString("en")} tasks of 200 bytes, one lane, one host of ${AGENTS} agents, each dispatcher a process`,
          columns: [
            { title: "dispatchers" },
            { title: "tasks/s" },
            { title: "of one", digits: 2 },
            { title: "tickets/s" },
            { title: "tickets a task", digits: 3 },
            { title: "swaps won" },
            { title: "swaps lost" },
            { title: "tasks a swap", digits: 1 },
            { title: "wasted" },
            { title: "nodes' us a task", digits: 1 },
            { title: "least share", digits: 2 },
          ],
          rows: [...runs.keys()].map((dispatchers) => [
            String(dispatchers),
            of(dispatchers, rate),
            share(dispatchers),
            of(dispatchers, ({ ticketsPerSecond }) => ticketsPerSecond),
            of(dispatchers, ({ counts }) => counts.tickets / tasks),
            of(dispatchers, ({ counts }) => counts.swaps - counts.lost),
            of(dispatchers, ({ counts }) => counts.lost),
            of(dispatchers, ({ counts }) => tasks / (counts.swaps - counts.lost)),
            of(dispatchers, ({ wasted }) => wasted),
            of(dispatchers, ({ counts }) => counts.cpuUs / tasks),
            of(dispatchers, ({ least }) => least),
          ]),
        },
      ],
      charts: [
        {
          title: "Dispatchers that share one lane",
          unit: "tasks/s, more is better",
          bars: [...runs.keys()].map((dispatchers) => ({
            label: dispatchers === 1 ? "one dispatcher" : `${dispatchers} dispatchers`,
            samples: of(dispatchers, rate),
            of: "vgas",
          })),
        },
      ],
      targets:
        two.length > 0 ? [{ what: "two dispatchers", unit: "of one", samples: two, bound: { atLeast: 0.8 } }] : [],
      notes: [
        "every run was exact: the record counts the tickets that the dispatchers drew and those of swaps whose answer came too late (wasted), no ticket carried two tasks, and every task ran at the agent whose turn its ticket was",
        "nodes' us a task: processor time of the dispatchers and the host together",
        "least share: tickets of the dispatcher that drew fewest, of an even share",
      ],
      notCompared: bench.quick ? ["one dispatcher, which is exact by itself: --quick has only two"] : [],
    };
  },
};

async function measure(dispatchers: number, { quick }: Bench): Promise<Run> {
  const tasks = quick ? QUICK_TASKS : TASKS;
  const broker = await BenchBroker.start();
  const rotation = new RotationWatch(broker, LANE);
  const workers: ChildProcess[] = [];
  const start = async (role: "dispatcher" | "worker"): Promise<ChildProcess> => {
    const { seed, inboxPrefix } = await broker.home.credentials.issueNode(role);
    const args = [broker.url, new TextDecoder().decode(seed), inboxPrefix, role, String(AGENTS), String(SLOTS)];
    const worker = await startWorker("contention/node-worker.ts", ...args);
    workers.push(worker);
    return worker;
  };
  try {
    await rotation.start();
    const roles = ["worker", ...new Array<"dispatcher">(dispatchers).fill("dispatcher")] as const;
    const [agents, ...dealers] = (await Promise.all(roles.map(start))) as [ChildProcess, ...ChildProcess[]];
    const counts = (): Promise<Counts[]> => Promise.all([...dealers, agents].map(countsOf));
    const subject = broker.names.task(LANE.pool, LANE.kind);
    // Each dispatcher is to be warm.
    const warmUp = (tasks / 10) * Math.min(dispatchers, MOST_WARM_UPS);
    await drive(broker, subject, new Array(warmUp).fill(task), warmUp);
    const before = await counts();
    const read = performance.now();
    const tasksPerSecond = await drive(broker, subject, new Array(tasks).fill(task), tasks);
    await pause(Math.max(0, METRICS_MS - (performance.now() - read)));
    const after = await counts();
    const wasted = await rotation.check(sum(after).tickets, warmUp + tasks);
    const each = after.map((now, i) => since(now, before[i] as Counts));
    const all = sum(each);
    const drawn = each.slice(0, dispatchers).map(({ tickets }) => tickets);
    return {
      tasksPerSecond,
      ticketsPerSecond: (tasksPerSecond * all.tickets) / tasks,
      counts: all,
      wasted,
      least: (Math.min(...drawn) * dispatchers) / all.tickets,
    };
  } finally {
    rotation.stop();
    // Nothing of them is needed any more, and to drain takes a while.
    await Promise.all(workers.map(kill));
    await broker.stop();
  }
}

async function kill(node: ChildProcess): Promise<void> {
  const ended = once(node, "exit");
  if (node.kill("SIGKILL")) await ended;
}

async function countsOf(node: ChildProcess): Promise<Counts> {
  const answered = once(node.stdout as NodeJS.ReadableStream, "data");
  node.kill("SIGUSR2");
  return JSON.parse(String((await answered)[0])) as Counts;
}
