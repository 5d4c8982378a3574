/**
 * Durable tasks per second where everything is forced to the disk before it is acknowledged (`--durability power`), next to raw
 * JetStream workers on such a broker (the floor) and to BullMQ on a Redis with `appendfsync always`.
 */
import type { ChildProcess } from "node:child_process";
import { setTimeout as pause } from "node:timers/promises";
import { encode } from "../src/bus/codec/codec.ts";
import { streamInfo } from "../src/bus/topology.ts";
import { type Client, connect } from "../src/client.ts";
import type { Bench, Benchmark, Cell, Report, Samples } from "./benchmark.ts";
import { BullMq, findBullMq } from "./rivals/bullmq.ts";
import { arraysOf, BULLMQ, FLOOR, kindOf, ONE_BY_ONE } from "./sides.ts";
import { ratios } from "./statistics.ts";
import { BenchBroker, drive, results, startWorker, stopWorker } from "./swarm.ts";

const TASKS = 8_000;
/** Each costs at least two forced writes: about as many seconds as vgas has. */
const FLOOR_TASKS = 800;
const BULLMQ_TASKS = 1_500;
const QUICK_TASKS = 100;
const ARRAYS = [10, 100];
const AGENTS = 16;
const IN_FLIGHT = 1_024;
const LANE = { pool: "default", kind: "echo" };
/** A task of 200 bytes. */
const INPUT = { text: "x".repeat(180) };

const BULLMQ_ALWAYS = `${BULLMQ}, appendfsync always`;

/** Tasks per second to the last stored result, and until no message of a task is left in the queue. */
interface Rate {
  readonly stored: number;
  readonly gone: number;
}

type Rates = Map<string, Rate[]>;

export const power: Benchmark = {
  name: "power",
  measures:
    "durable tasks per second with everything forced to the disk first; against raw JetStream workers and BullMQ",
  run: async (bench) => {
    const rival = await findBullMq(bench);
    const bullmq = rival instanceof BullMq ? rival : undefined;
    const rates: Rates = new Map();
    const note: Note = (name, rate) => {
      rates.set(name, [...(rates.get(name) ?? []), rate]);
    };
    const sides = [
      () => onFloor(bench, note),
      () => onVgas(bench, note),
      ...(bullmq === undefined ? [] : [() => onRedis(bullmq, bench, note)]),
    ];
    for (let pair = 0; pair < bench.pairs; pair++) {
      // Each is first in turn.
      for (let i = 0; i < sides.length; i++) await sides[(pair + i) % sides.length]?.();
      const now = [...rates].map(([name, values]) => `${name} ${Math.round(values[pair]?.stored ?? Number.NaN)}/s`);
      bench.log(`pair ${pair + 1} of ${bench.pairs}: ${now.join(", ")}`);
    }
    return reportOf(rates, bench, bullmq, rival instanceof BullMq ? [] : [rival.reason]);
  },
};

type Note = (name: string, rate: Rate) => void;

async function onFloor({ quick }: Bench, note: Note): Promise<void> {
  const tasks = quick ? QUICK_TASKS : FLOOR_TASKS;
  await withBroker(async (broker) => {
    const { seed, inboxPrefix } = await broker.home.credentials.read("system");
    const access = [broker.url, new TextDecoder().decode(seed), inboxPrefix];
    await withWorker(await startWorker("floor-worker.ts", ...access, String(IN_FLIGHT)), async () => {
      const subject = broker.names.task(LANE.pool, LANE.kind);
      const task = encode({ input: INPUT });
      const driven = (count: number): Promise<Rate> =>
        timed(broker, count, async () => {
          await drive(broker, subject, new Array(count).fill(task), count);
        });
      await driven(tasks / 10);
      note(FLOOR, await driven(tasks));
    });
  });
}

/** Submitted as users do, with the client library. */
async function onVgas({ quick }: Bench, note: Note): Promise<void> {
  const tasks = quick ? QUICK_TASKS : TASKS;
  await withBroker(async (broker) => {
    const { seed, inboxPrefix } = await broker.home.credentials.issueNode("dispatcher");
    const access = [broker.url, new TextDecoder().decode(seed), inboxPrefix];
    const worker = await startWorker("host-worker.ts", ...access, String(AGENTS), String(IN_FLIGHT / AGENTS));
    await withWorker(worker, async () => {
      const user = await broker.home.credentials.read("client");
      const { url } = broker;
      const nkeySeed = new TextDecoder().decode(user.seed);
      const client = await connect({ connection: { url, nkeySeed, inboxPrefix: user.inboxPrefix } });
      try {
        await submitted(client, broker, tasks / 10, false);
        note(ONE_BY_ONE, await submitted(client, broker, tasks, false));
        for (const size of ARRAYS) note(arraysOf(size), await submitted(client, broker, tasks, size));
      } finally {
        await client.close();
      }
    });
  });
}

async function submitted(client: Client, broker: BenchBroker, tasks: number, array: number | false): Promise<Rate> {
  const inputs = new Array(tasks).fill(INPUT);
  const before = await results(broker);
  return await timed(broker, tasks, async () => {
    await client.submitMany(LANE.kind, inputs, { array, track: false });
    while ((await results(broker)) - before < tasks) await pause(10);
  });
}

/** `work` resolves when the results are stored. */
async function timed({ bus, names }: BenchBroker, tasks: number, work: () => Promise<void>): Promise<Rate> {
  const started = performance.now();
  const rate = (): number => (tasks / (performance.now() - started)) * 1_000;
  await work();
  const stored = rate();
  while ((await streamInfo(bus, names.streams.tasks))?.messages !== 0) await pause(10);
  return { stored, gone: rate() };
}

async function onRedis(bullmq: BullMq, { quick }: Bench, note: Note): Promise<void> {
  const jobs = quick ? QUICK_TASKS : BULLMQ_TASKS;
  const system = await bullmq.start({ appendfsync: "always" });
  try {
    await system.drive(jobs / 10, INPUT);
    const rate = await system.drive(jobs, INPUT);
    note(BULLMQ_ALWAYS, { stored: rate, gone: rate });
  } finally {
    await system.stop();
  }
}

async function withBroker(measure: (broker: BenchBroker) => Promise<void>): Promise<void> {
  const broker = await BenchBroker.start({}, "power");
  try {
    await measure(broker);
  } finally {
    await broker.stop();
  }
}

async function withWorker(worker: ChildProcess, measure: () => Promise<void>): Promise<void> {
  try {
    await measure();
  } finally {
    await stopWorker(worker);
  }
}

function reportOf(rates: Rates, { quick }: Bench, bullmq: BullMq | undefined, notCompared: readonly string[]): Report {
  const of = (name: string): Samples => (rates.get(name) ?? []).map(({ stored }) => stored);
  const gone = (name: string): Samples => (rates.get(name) ?? []).map((rate) => rate.gone);
  const times = (name: string): Cell => (bullmq === undefined ? "-" : ratios(of(name), of(BULLMQ_ALWAYS)));
  const names = [FLOOR, ONE_BY_ONE, ...ARRAYS.map(arraysOf), ...(bullmq === undefined ? [] : [BULLMQ_ALWAYS])];
  return {
    tables: [
      {
        title: `${(quick ? QUICK_TASKS : TASKS).toLocaleString("en")} 200-byte echo tasks, submit to stored result, forced to the disk`,
        columns: [
          { title: "what" },
          { title: "tasks/s" },
          { title: "of the floor", digits: 1 },
          { title: "times BullMQ", digits: 1 },
          { title: "tasks/s until acknowledged" },
        ],
        rows: names.map((name) => [name, of(name), ratios(of(name), of(FLOOR)), times(name), gone(name)]),
      },
    ],
    charts: [
      {
        title: "Power: as above, with everything forced to the disk before it is acknowledged",
        unit: "tasks/s, more is better",
        bars: names.map((name) => ({ label: name, samples: of(name), of: kindOf(name) })),
      },
    ],
    targets: [ONE_BY_ONE, ...ARRAYS.map(arraysOf)].map((what) => ({
      what,
      unit: "tasks/s",
      samples: gone(what),
      bound: { atLeast: 10_000 },
    })),
    notes: [
      "judged until acknowledged: what is still to be acknowledged when the last result is stored costs a forced write for each message",
      `${FLOOR_TASKS.toLocaleString("en")} tasks of the floor and ${BULLMQ_TASKS.toLocaleString("en")} jobs of BullMQ: each is forced to the disk by itself there, or nearly`,
    ],
    notCompared,
  };
}
