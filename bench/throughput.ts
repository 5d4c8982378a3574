/** Durable tasks per second, submit to stored result, next to raw JetStream workers (the floor) and BullMQ in the same run. */
import type { ChildProcess } from "node:child_process";
import { encode } from "../src/bus/codec/codec.ts";
import type { Bench, Benchmark, Cell, Report, Samples, Target } from "./benchmark.ts";
import { BullMq, findBullMq } from "./rivals/bullmq.ts";
import { arraysOf, BULLMQ, FLOOR, kindOf, ONE_BY_ONE } from "./sides.ts";
import { ratios } from "./statistics.ts";
import { BenchBroker, drive, startWorker, stopWorker } from "./swarm.ts";

const TASKS = 40_000;
/** About as many seconds as the others have. */
const BULLMQ_TASKS = 8_000;
const QUICK_TASKS = 1_000;
const ARRAYS = [10, 100];
const HOSTS = [1, 2];
const IN_FLIGHT = 1_024;
const AGENTS = 16;

/** A task of 200 bytes. */
const INPUT = { text: "x".repeat(180) };
const LANE = { pool: "default", kind: "echo" };

/** What is measured, with how many hosts or workers. A side is one fresh broker with fresh processes. */
interface Side {
  readonly system: "floor" | "vgas" | "BullMQ";
  readonly hosts: number;
}

/** Tasks per second, by the name of what was measured. */
type Rates = Map<string, number[]>;

export const throughput: Benchmark = {
  name: "throughput",
  measures: "durable tasks per second, submit to stored result; against raw JetStream workers (the floor) and BullMQ",
  run: async (bench) => {
    const rival = await findBullMq(bench);
    const bullmq = rival instanceof BullMq ? rival : undefined;
    const systems: readonly Side["system"][] = bullmq ? ["floor", "vgas", "BullMQ"] : ["floor", "vgas"];
    const hosts = bench.quick ? [1] : HOSTS;
    const sides = hosts.flatMap((count) => systems.map((system) => ({ system, hosts: count })));
    const rates: Rates = new Map();
    for (let pair = 0; pair < bench.pairs; pair++) {
      // Each is first in turn.
      for (let i = 0; i < sides.length; i++)
        await measure(sides[(pair + i) % sides.length] as Side, rates, bench, bullmq);
      const now = [...rates].map(([name, values]) => `${name} ${Math.round(values[pair] ?? Number.NaN)}/s`);
      bench.log(`pair ${pair + 1} of ${bench.pairs}: ${now.join(", ")}`);
    }
    return reportOf(rates, hosts, bench, rival instanceof BullMq ? [] : [rival.reason]);
  },
};

async function measure(side: Side, rates: Rates, { quick }: Bench, bullmq: BullMq | undefined): Promise<void> {
  const note = (name: string, rate: number): void => {
    const key = keyOf(name, side.hosts);
    rates.set(key, [...(rates.get(key) ?? []), rate]);
  };
  if (side.system === "BullMQ") {
    if (bullmq !== undefined) note(BULLMQ, await onRedis(bullmq, side.hosts, quick ? QUICK_TASKS : BULLMQ_TASKS));
    return;
  }
  const tasks = quick ? QUICK_TASKS : TASKS;
  const broker = await BenchBroker.start();
  const workers: ChildProcess[] = [];
  try {
    for (let i = 0; i < side.hosts; i++) workers.push(await worker(side.system, broker));
    const subject = broker.names.task(LANE.pool, LANE.kind);
    const one = encode({ input: INPUT });
    await drive(broker, subject, new Array(tasks / 10).fill(one), tasks / 10);
    const single = await drive(broker, subject, new Array(tasks).fill(one), tasks);
    note(side.system === "floor" ? FLOOR : ONE_BY_ONE, single);
    if (side.system === "floor") return;
    for (const size of ARRAYS) {
      const array = encode(new Array(size).fill({ input: INPUT }));
      note(arraysOf(size), await drive(broker, subject, new Array(tasks / size).fill(array), tasks));
    }
  } finally {
    for (const each of workers) await stopWorker(each);
    await broker.stop();
  }
}

async function worker(system: "floor" | "vgas", { url, home }: BenchBroker): Promise<ChildProcess> {
  const { credentials } = home;
  const user = system === "vgas" ? await credentials.issueNode("dispatcher") : await credentials.read("system");
  const access = [url, new TextDecoder().decode(user.seed), user.inboxPrefix];
  return system === "vgas"
    ? startWorker("host-worker.ts", ...access, String(AGENTS), String(IN_FLIGHT / AGENTS))
    : startWorker("floor-worker.ts", ...access, String(IN_FLIGHT));
}

async function onRedis(bullmq: BullMq, workers: number, tasks: number): Promise<number> {
  const system = await bullmq.start({ workers });
  try {
    await system.drive(tasks / 10, INPUT);
    return await system.drive(tasks, INPUT);
  } finally {
    await system.stop();
  }
}

function reportOf(rates: Rates, hosts: readonly number[], bench: Bench, notCompared: readonly string[]): Report {
  const of = (name: string, count: number): Samples => rates.get(keyOf(name, count)) ?? [];
  // With one worker or with two, whichever is faster in the pair.
  const bullmq = of(BULLMQ, 1).map((rate, i) => Math.max(rate, of(BULLMQ, 2)[i] ?? 0));
  const times = (rate: Samples): Samples => (bullmq.length > 0 ? ratios(rate, bullmq) : []);
  const names = [FLOOR, ONE_BY_ONE, ...ARRAYS.map(arraysOf), ...(bullmq.length > 0 ? [BULLMQ] : [])];
  const row = (name: string, count: number): readonly Cell[] => {
    const rate = of(name, count);
    const floor = name === FLOOR ? "1" : ratios(rate, of(FLOOR, count));
    return [name, String(count), rate, floor, name === BULLMQ ? "-" : times(rate)];
  };
  const targets: Target[] = [
    { name: ONE_BY_ONE, ofFloor: 0.95, timesBullMq: 5 },
    ...ARRAYS.map((size) => ({ name: arraysOf(size), ofFloor: 2, timesBullMq: 10 })),
  ].flatMap(({ name, ofFloor, timesBullMq }) => [
    { what: name, unit: "of the floor", samples: ratios(of(name, 1), of(FLOOR, 1)), bound: { atLeast: ofFloor } },
    ...(bullmq.length > 0
      ? [{ what: name, unit: "times BullMQ", samples: times(of(name, 1)), digits: 1, bound: { atLeast: timesBullMq } }]
      : []),
  ]);
  return {
    tables: [
      {
        title: `${(bench.quick ? QUICK_TASKS : TASKS).toLocaleString("en")} durable 200-byte echo tasks, submit to stored result`,
        columns: [
          { title: "what" },
          { title: "hosts" },
          { title: "tasks/s" },
          { title: "of the floor", digits: 2 },
          { title: "times BullMQ", digits: 1 },
        ],
        rows: hosts.flatMap((count) => names.map((name) => row(name, count))),
      },
    ],
    charts: [
      {
        title: "Throughput: durable tasks from submission to stored result",
        unit: "tasks/s, more is better",
        bars: names.map((name) => ({ label: name, samples: of(name, 1), of: kindOf(name) })),
      },
    ],
    targets,
    notes: [
      "of the floor: with as many workers as hosts; times BullMQ: of one worker or two, whichever is faster in the pair",
    ],
    notCompared,
  };
}

function keyOf(name: string, hosts: number): string {
  return hosts === 1 ? name : `${name}, ${hosts} hosts`;
}
