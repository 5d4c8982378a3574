/**
 * How long a task takes from its submission to its stored result: alone, and at fixed rates that everybody who is measured can
 * carry. The submitter is a process of its own for each measurement, with the client library of what is measured.
 */
import type { Bar, Bench, Benchmark, Cell, Chart, Report, Samples, Table, Target } from "./benchmark.ts";
import type { Order, Outcome, Target as Submitted } from "./latency-submitter.ts";
import { BullMq, findBullMq, QUEUE } from "./rivals/bullmq.ts";
import { quantile, ratios } from "./statistics.ts";
import { BenchBroker, runWorker, startWorker, stopWorker } from "./swarm.ts";

type System = Submitted["system"];

const TITLES: Readonly<Record<System, string>> = { floor: "raw JetStream (the floor)", bullmq: "BullMQ", vgas: "vgas" };
const BARS: Readonly<Record<System, Bar["of"]>> = { floor: "floor", bullmq: "rival", vgas: "vgas" };
/** Of the most that it carries. */
const SHARES = [0.1, 0.5, 0.8];
const AGENTS = 16;
const SLOTS = 64;
/** Round trips at once where the most is looked for: enough that the submitter waits for nobody. */
const AT_ONCE = 128;
/** Round trips at once for most of the warm-up: all that is done for a batch is done for nearly each task then, as it is for one alone. */
const FEW_AT_ONCE = 4;
const MAX_ABOVE_FLOOR_MS = 0.4;
const FLOOR: System = "floor";
/** Nobody is compared at shares of its own most, so a few pairs are enough. */
const PAIRS_OF_ITSELF = 3;

interface Counts {
  readonly idle: number;
  /** With many and with few at once. */
  readonly warmUpSeconds: readonly [number, number];
  readonly mostSeconds: number;
  /** Of each load, and the tasks that it has at least. */
  readonly loadSeconds: number;
  readonly loadTasks: number;
}

const FULL: Counts = { idle: 400, warmUpSeconds: [0.4, 1.6], mostSeconds: 0.4, loadSeconds: 0.5, loadTasks: 400 };
const QUICK: Counts = { idle: 20, warmUpSeconds: [0.03, 0.03], mostSeconds: 0.05, loadSeconds: 0.1, loadTasks: 1 };
const QUICK_RATE = 200;

type Measure = (
  system: System,
  rates: readonly number[],
  /** Of its own most. */
  shares: readonly number[],
  asked?: Counts,
) => Promise<Outcome>;

type Outcomes = ReadonlyMap<System, readonly Outcome[]>;

export const latency: Benchmark = {
  name: "latency",
  measures: "submit to stored result, one task alone and at fixed rates; against BullMQ and the floor",
  run: async (bench) => {
    const rival = await findBullMq(bench);
    const compared = rival instanceof BullMq ? rival : undefined;
    const systems: readonly System[] = compared ? ["floor", "bullmq", "vgas"] : ["floor", "vgas"];
    const counts = bench.quick ? QUICK : FULL;
    const measured: Measure = (system, rates, shares, asked = counts) => {
      const given = orderOf(asked, rates, shares);
      if (system !== "bullmq") return onNats(system, given);
      return onRedis(compared as BullMq, given);
    };
    const rates = bench.quick ? [QUICK_RATE] : await commonRates(systems, measured, bench);
    const outcomes = new Map<System, Outcome[]>(systems.map((system) => [system, []]));
    for (let pair = 0; pair < bench.pairs; pair++) {
      // Each is first in turn.
      for (let i = 0; i < systems.length; i++) {
        const system = systems[(pair + i) % systems.length] as System;
        const ofItself = system === "vgas" && !bench.quick && pair < PAIRS_OF_ITSELF;
        const outcome = await measured(system, rates, ofItself ? SHARES : []);
        outcomes.get(system)?.push(outcome);
        bench.log(`pair ${pair + 1} of ${bench.pairs}: ${lineOf(system, outcome, rates)}`);
      }
    }
    return reportOf(outcomes, rates, rival instanceof BullMq ? [] : [rival.reason]);
  },
};

/** Shares of what the slowest carries, which is looked for once, so that every pair is measured at the same rates. */
async function commonRates(systems: readonly System[], measured: Measure, { log }: Bench): Promise<readonly number[]> {
  const most: number[] = [];
  for (const system of systems) {
    const outcome = await measured(system, [], [], { ...FULL, idle: 0 });
    log(`${TITLES[system]} carries ${Math.round(outcome.most)}/s`);
    most.push(outcome.most);
  }
  return SHARES.map((share) => Math.round(share * Math.min(...most)));
}

function orderOf(counts: Counts, rates: readonly number[], shares: readonly number[]): Omit<Order, "target"> {
  const { idle, warmUpSeconds, mostSeconds, loadSeconds, loadTasks } = counts;
  const [many, few] = warmUpSeconds;
  return {
    idle,
    warmUps: [
      { atOnce: AT_ONCE, seconds: many },
      { atOnce: FEW_AT_ONCE, seconds: few },
    ],
    most: { atOnce: AT_ONCE, seconds: mostSeconds },
    loads: rates.map((perSecond) => ({ perSecond, seconds: Math.max(loadSeconds, loadTasks / perSecond) })),
    shares: { of: shares, seconds: loadSeconds },
  };
}

async function onRedis(bullmq: BullMq, order: Omit<Order, "target">): Promise<Outcome> {
  const running = await bullmq.start();
  try {
    return await submitter({ ...order, target: { system: "bullmq", port: running.port, queue: QUEUE } });
  } finally {
    await running.stop();
  }
}

async function onNats(system: Exclude<System, "bullmq">, order: Omit<Order, "target">): Promise<Outcome> {
  const broker = await BenchBroker.start();
  try {
    const { credentials } = broker.home;
    const isFloor = system === FLOOR;
    const worker = isFloor ? await credentials.read("system") : await credentials.issueNode("dispatcher");
    const client = isFloor ? worker : await credentials.read("client");
    const access = [broker.url, textOf(worker.seed), worker.inboxPrefix];
    const running = isFloor
      ? await startWorker("floor-worker.ts", ...access, String(AGENTS * SLOTS))
      : await startWorker("host-worker.ts", ...access, String(AGENTS), String(SLOTS));
    try {
      const { inboxPrefix, seed } = client;
      const connection = { url: broker.url, nkeySeed: textOf(seed), inboxPrefix };
      return await submitter({ ...order, target: { system, connection } });
    } finally {
      await stopWorker(running);
    }
  } finally {
    await broker.stop();
  }
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

async function submitter(order: Order): Promise<Outcome> {
  return JSON.parse(await runWorker("latency-submitter.ts", JSON.stringify(order))) as Outcome;
}

function lineOf(system: System, { idle, loads, most }: Outcome, rates: readonly number[]): string {
  const loaded = loads.map((times, i) => `${rates[i]}/s p99 ${quantile(times, 0.99).toFixed(2)} ms`);
  const alone = `${TITLES[system]}: idle p50 ${quantile(idle, 0.5).toFixed(2)} ms`;
  return [alone, ...loaded, `carries ${Math.round(most)}/s`].join(", ");
}

function reportOf(outcomes: Outcomes, rates: readonly number[], notCompared: readonly string[]): Report {
  const times = [
    { title: "p50, ms", digits: 2 },
    { title: "p99, ms", digits: 2 },
    { title: "p99.9, ms", digits: 2 },
  ];
  const rate = { title: "tasks/s" };
  const share = { title: "% of its most" };
  const alone: Table = {
    title: "One task at a time, from the submission to the stored result",
    columns: [{ title: "what" }, ...times],
    rows: [...outcomes].map(([system, all]) => [TITLES[system], ...quantilesOf(all.map(({ idle }) => idle))]),
  };
  const same: Table = {
    title: "At the same rate, from the intended submission to the stored result",
    columns: [rate, { title: "what" }, share, ...times],
    rows: rates.flatMap((perSecond, i) =>
      [...outcomes].map(([system, all]) => [
        perSecond.toLocaleString("en"),
        TITLES[system],
        all.map(({ most }) => (100 * perSecond) / most),
        ...quantilesOf(all.map(({ loads }) => loads[i] ?? [])),
      ]),
    ),
  };
  const own = sharesOf(outcomes);
  const ownTable: Table = {
    title: "vgas at shares of what it carries with this client library, one task a call",
    columns: [share, rate, ...times],
    rows: own.map(({ percent, perSecond, pairs }) => [percent, perSecond, ...quantilesOf(pairs)]),
  };
  return {
    tables: own.length > 0 ? [alone, same, ownTable] : [alone, same],
    charts: chartsOf(outcomes, rates),
    targets: targetsOf(outcomes, rates),
    notes: [
      "the rates are 10, 50 and 80 % of what the slowest carried in a first look: one submitter, 128 tasks at once, each waited for",
      "under load tasks are sent at their times, whatever became of the earlier ones, and each is measured from its time (no coordinated omission)",
      "p50 and p99 are of each pair, median (min - max); p99.9 is of all pairs together, since one pair has too few tasks for it",
    ],
    notCompared,
  };
}

function sharesOf(outcomes: Outcomes): { percent: string; perSecond: Samples; pairs: readonly Samples[] }[] {
  const all = (outcomes.get("vgas") ?? []).filter(({ shares }) => shares.length > 0);
  const asked = all[0]?.shares.length ?? 0;
  return SHARES.slice(0, asked).map((of, i) => ({
    percent: String(100 * of),
    perSecond: all.map(({ shares }) => shares[i]?.perSecond ?? Number.NaN),
    pairs: all.map(({ shares }) => shares[i]?.times ?? []),
  }));
}

function quantilesOf(pairs: readonly Samples[]): readonly Cell[] {
  const each = (share: number): Samples => pairs.map((times) => quantile(times, share));
  return [each(0.5), each(0.99), [quantile(pairs.flat(), 0.999)]];
}

function chartsOf(outcomes: Outcomes, rates: readonly number[]): readonly Chart[] {
  const unit = "ms, less is better";
  const bars = (samples: (outcome: Outcome) => number): Chart["bars"] =>
    [...outcomes].map(([system, all]) => ({ label: TITLES[system], samples: all.map(samples), of: BARS[system] }));
  const highest = rates.length - 1;
  return [
    {
      title: "One task, submit to stored result (p50)",
      unit,
      digits: 2,
      bars: bars(({ idle }) => quantile(idle, 0.5)),
    },
    {
      title: `At ${rates[highest]?.toLocaleString("en")} tasks/s, submit to stored result (p99)`,
      unit,
      digits: 2,
      bars: bars(({ loads }) => quantile(loads[highest] ?? [], 0.99)),
    },
  ];
}

function targetsOf(outcomes: Outcomes, rates: readonly number[]): readonly Target[] {
  const idle = (system: System): Samples => (outcomes.get(system) ?? []).map((each) => quantile(each.idle, 0.5));
  const loaded = (system: System, i: number): Samples =>
    (outcomes.get(system) ?? []).map(({ loads }) => quantile(loads[i] ?? [], 0.99));
  const floor = idle(FLOOR);
  const above = idle("vgas").map((time, i) => time - (floor[i] ?? Number.NaN));
  const toFloor: Target = {
    what: "idle p50 above the floor's",
    unit: "ms",
    samples: above,
    bound: { atMost: MAX_ABOVE_FLOOR_MS },
  };
  if (!outcomes.has("bullmq")) return [toFloor];
  const unit = "of BullMQ's";
  const bound = { atMost: 1 };
  return [
    toFloor,
    { what: "idle p50", unit, samples: ratios(idle("vgas"), idle("bullmq")), bound },
    ...rates.map((perSecond, i) => ({
      what: `p99 at ${perSecond.toLocaleString("en")} tasks/s`,
      unit,
      samples: ratios(loaded("vgas", i), loaded("bullmq", i)),
      bound,
    })),
  ];
}
