/** Durable tasks per second, submit to stored result, next to raw JetStream workers (the floor) and BullMQ in the same run. */
import type { ChildProcess } from "node:child_process";
import { encode } from "../src/bus/codec/codec.ts";
import type { Bench, Benchmark, Cell, Report, Target } from "./benchmark.ts";
import { BullMq, findBullMq } from "./rivals/bullmq.ts";
import { arraysOf, BULLMQ, BULLMQ_ONE_BY_ONE, FLOOR, kindOf, ONE_BY_ONE } from "./sides.ts";
import { PairedSamples } from "./statistics.ts";
import { BenchBroker, drive, startWorker, stopWorker } from "./swarm.ts";

/** Tasks of one round, about half a second; a pair has so many rounds. */
const ROUNDS = 3;
const TASKS = 15_000;
const TASKS_IN_ARRAYS = 25_000;
const JOBS = 3_000;
const QUICK_TASKS = 1_000;
/** Rounds that are not counted: before that the compiler is measured. */
const WARM_UP = 4;
/** Of arrays, which go the same way. */
const WARM_UP_OF_ARRAYS = 2;
const ARRAYS = [10, 100];
const HOSTS = [1, 2];
/** Two hosts are measured in every fourth pair, since nothing of them is judged. */
const EVERY = 4;
const IN_FLIGHT = 1_024;
const AGENTS = 16;

/** A task of 200 bytes. */
const INPUT = { text: "x".repeat(180) };
const LANE = { pool: "default", kind: "echo" };

/** One way to submit to one system. */
interface Trial {
  readonly name: string;
  readonly tasks: number;
  readonly warmUp: number;
  /** Returns tasks per second. */
  readonly drive: (tasks: number) => Promise<number>;
}

/** A system with fresh processes. */
interface System {
  readonly trials: readonly Trial[];
  stop(): Promise<void>;
}

export const throughput: Benchmark = {
  name: "throughput",
  measures: "durable tasks per second, submit to stored result; against raw JetStream workers (the floor) and BullMQ",
  run: async (bench) => {
    const rival = await findBullMq(bench);
    const bullmq = rival instanceof BullMq ? rival : undefined;
    const rates = new PairedSamples();
    for (let pair = 0; pair < bench.pairs; pair++) {
      for (const hosts of pair % EVERY === 0 && !bench.quick ? HOSTS : [1]) {
        const measured = await measure(hosts, pair, bench, bullmq);
        for (const [name, rate] of measured) rates.note(keyOf(name, hosts), pair, rate);
        const now = [...measured].map(([name, rate]) => `${name} ${Math.round(rate)}/s`);
        bench.log(
          `pair ${pair + 1} of ${bench.pairs}, ${hosts === 1 ? "1 host" : `${hosts} hosts`}: ${now.join(", ")}`,
        );
      }
    }
    return reportOf(rates, bench, rival instanceof BullMq ? [] : [rival.reason]);
  },
};

/** Tasks per second of each trial. All systems are there for the whole pair, and the trials take turns: what else the machine does hits all. */
async function measure(
  hosts: number,
  pair: number,
  { quick }: Bench,
  bullmq: BullMq | undefined,
): Promise<ReadonlyMap<string, number>> {
  const systems: System[] = [];
  const seconds = new Map<string, number>();
  try {
    systems.push(await onBroker("floor", hosts), await onBroker("vgas", hosts));
    if (bullmq !== undefined) systems.push(await onRedis(bullmq, hosts));
    const trials = systems.flatMap((system) => system.trials);
    const rounds = quick ? 1 : ROUNDS;
    const tasksOf = (trial: Trial): number => (quick ? QUICK_TASKS : trial.tasks);
    for (const trial of trials) await trial.drive(quick ? QUICK_TASKS / 10 : trial.warmUp * trial.tasks);
    for (let round = 0; round < rounds; round++) {
      // Each is first in turn.
      for (let i = 0; i < trials.length; i++) {
        const trial = trials[(pair + round + i) % trials.length] as Trial;
        const tasks = tasksOf(trial);
        seconds.set(trial.name, (seconds.get(trial.name) ?? 0) + tasks / (await trial.drive(tasks)));
      }
    }
    return new Map(
      trials.map((trial) => [trial.name, (rounds * tasksOf(trial)) / (seconds.get(trial.name) as number)]),
    );
  } finally {
    for (const system of systems) await system.stop();
  }
}

async function onBroker(system: "floor" | "vgas", hosts: number): Promise<System> {
  const broker = await BenchBroker.start();
  const workers: ChildProcess[] = [];
  const stop = async (): Promise<void> => {
    for (const each of workers) await stopWorker(each);
    await broker.stop();
  };
  try {
    for (let i = 0; i < hosts; i++) workers.push(await worker(system, broker));
  } catch (error) {
    await stop();
    throw error;
  }
  const subject = broker.names.task(LANE.pool, LANE.kind);
  const drives = (body: Uint8Array, size: number) => (tasks: number) =>
    drive(broker, subject, new Array(tasks / size).fill(body), tasks);
  const single = { tasks: TASKS, warmUp: WARM_UP, drive: drives(encode({ input: INPUT }), 1) };
  if (system === "floor") return { trials: [{ name: FLOOR, ...single }], stop };
  const arrays = ARRAYS.map((size) => ({
    name: arraysOf(size),
    tasks: TASKS_IN_ARRAYS,
    warmUp: WARM_UP_OF_ARRAYS,
    drive: drives(encode(new Array(size).fill({ input: INPUT })), size),
  }));
  return { trials: [{ name: ONE_BY_ONE, ...single }, ...arrays], stop };
}

async function worker(system: "floor" | "vgas", { url, home }: BenchBroker): Promise<ChildProcess> {
  const { credentials } = home;
  const user = system === "vgas" ? await credentials.issueNode("dispatcher") : await credentials.read("system");
  const access = [url, new TextDecoder().decode(user.seed), user.inboxPrefix];
  return system === "vgas"
    ? startWorker("host-worker.ts", ...access, String(AGENTS), String(IN_FLIGHT / AGENTS))
    : startWorker("floor-worker.ts", ...access, String(IN_FLIGHT));
}

async function onRedis(bullmq: BullMq, workers: number): Promise<System> {
  const system = await bullmq.start({ workers });
  const trial = (name: string, oneByOne: boolean): Trial => ({
    name,
    tasks: JOBS,
    warmUp: WARM_UP_OF_ARRAYS,
    drive: (jobs) => system.drive(jobs, INPUT, {}, oneByOne),
  });
  return { trials: [trial(BULLMQ, false), trial(BULLMQ_ONE_BY_ONE, true)], stop: () => system.stop() };
}

function reportOf(rates: PairedSamples, { quick }: Bench, notCompared: readonly string[]): Report {
  const compared = notCompared.length === 0;
  const names = [FLOOR, ONE_BY_ONE, ...ARRAYS.map(arraysOf), ...(compared ? [BULLMQ, BULLMQ_ONE_BY_ONE] : [])];
  const row = (name: string, count: number): readonly Cell[] => {
    const key = keyOf(name, count);
    const times = (rival: string): Cell => (kindOf(name) === "rival" ? "-" : rates.ratios(key, keyOf(rival, count)));
    const floor = name === FLOOR ? "1" : rates.ratios(key, keyOf(FLOOR, count));
    return [name, String(count), rates.of(key), floor, ...(compared ? [times(BULLMQ_ONE_BY_ONE), times(BULLMQ)] : [])];
  };
  // Each is held against what submits as it does.
  const targets: Target[] = [
    { what: ONE_BY_ONE, ofFloor: 0.95, rival: BULLMQ_ONE_BY_ONE, times: 5 },
    ...ARRAYS.map((size) => ({ what: arraysOf(size), ofFloor: 2, rival: BULLMQ, times: 10 })),
  ].flatMap(({ what, ofFloor, rival, times }) => [
    { what, unit: "of the floor", samples: rates.ratios(what, FLOOR), bound: { atLeast: ofFloor } },
    ...(compared
      ? [{ what, unit: `times ${rival}`, samples: rates.ratios(what, rival), digits: 1, bound: { atLeast: times } }]
      : []),
  ]);
  return {
    tables: [
      {
        title: "durable 200-byte echo tasks, submit to stored result",
        columns: [
          { title: "what" },
          { title: "hosts" },
          { title: "tasks/s" },
          { title: "of the floor", digits: 2 },
          ...(compared
            ? [
                { title: "times BullMQ one by one", digits: 1 },
                { title: "times BullMQ addBulk", digits: 1 },
              ]
            : []),
        ],
        rows: (quick ? [1] : HOSTS).flatMap((count) => names.map((name) => row(name, count))),
      },
    ],
    charts: [
      {
        title: "Throughput: durable tasks from submission to stored result",
        unit: "tasks/s, more is better",
        bars: names.map((name) => ({ label: name, samples: rates.of(name), of: kindOf(name) })),
      },
    ],
    targets,
    notes: ["all with as many workers as hosts; two hosts in every fourth pair"],
    notCompared,
  };
}

function keyOf(name: string, hosts: number): string {
  return hosts === 1 ? name : `${name}, ${hosts} hosts`;
}
