/**
 * What it costs to give a task to an agent: the decision alone, next to the in-process form of the same rotation, and the way of a task
 * from the pull to its agent in a node.
 */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { encode } from "../src/bus/codec/codec.ts";
import { keepInFlight } from "./allocation/in-flight.ts";
import { InProcess } from "./allocation/in-process.ts";
import { BATCHES, FULL, ROSTERS, type Roster, SIZES, samplesOf } from "./allocation/rosters.ts";
import type { HandOver, Quantiles } from "./allocation/samples.ts";
import type { Bench, Benchmark, Cell, Column, Report, Samples, Table } from "./benchmark.ts";
import { ratios } from "./statistics.ts";
import { BenchBroker, runWorker, startWorker, stopWorker } from "./swarm.ts";

const DRAWS = 5_000;
const QUICK_DRAWS = 100;
/** Tasks of each number in flight: enough for the last of a thousand, where one in flight takes its time. */
const LOADS = [
  { inFlight: 1, tasks: 1_000 },
  { inFlight: 100, tasks: 5_000 },
  { inFlight: 1_000, tasks: 10_000 },
  { inFlight: 10_000, tasks: 20_000 },
] as const;
const WARM_UP = 5_000;
const QUICK_SHARE = 20;
const AGENTS = 16;
/** More than are ever in flight. */
const SLOTS = 1_024;
const LANE = { pool: "default", kind: "echo" };
/** A task of 200 bytes. */
const task = encode({ input: { text: "x".repeat(180) } });

/** A value for each pair. */
type Pairs<T> = readonly T[];

/** What was measured, for each pair; within one in the order of `ROSTERS`, `PICKS` and `LOADS`. */
interface Measured {
  readonly decisions: (readonly Quantiles[])[];
  readonly inProcess: (readonly Quantiles[])[];
  readonly handOvers: (readonly HandOver[])[];
}

export const allocation: Benchmark = {
  name: "allocation",
  measures: "ns of the decision per task, us from pull to hand-over with the swap's share; against the in-process form",
  run: async (bench) => {
    const draws = bench.quick ? QUICK_DRAWS : DRAWS;
    const measured: Measured = { decisions: [], inProcess: [], handOvers: [] };
    const rival = await InProcess.compile(bench.quick);
    for (let pair = 0; pair < bench.pairs; pair++) {
      const decided = await decide(draws);
      measured.decisions.push(decided);
      if (rival !== undefined) {
        const picked: Quantiles[] = [];
        for (const { agents, batch } of PICKS) picked.push(await rival.measure(agents, batch, samplesOf(batch, draws)));
        measured.inProcess.push(picked);
      }
      const handed = await handOver(bench);
      measured.handOvers.push(handed);
      const last = handed.at(-1) as HandOver;
      bench.log(
        `pair ${pair + 1} of ${bench.pairs}: decision p50 ${Math.round((decided.at(-1) as Quantiles).p50)} ns, share of the swap p50 ${last.share.p50.toFixed(1)} us`,
      );
    }
    rival?.remove();
    return reportOf(measured, rival?.language);
  },
};

function reportOf({ decisions, inProcess, handOvers }: Measured, language: string | undefined): Report {
  return {
    tables: [
      decisionTable(decisions),
      ...(language === undefined ? [] : [inProcessTable(language, inProcess)]),
      handOverTable(handOvers),
    ],
    charts: [
      {
        title: "The decision with 10,000 agents, a hundred tasks at once",
        unit: "ns a task, less is better",
        bars: [
          ...FULL.map((full) => ({
            label: full === "none" ? "vgas" : `vgas, ${full} full`,
            samples: medians(decisions, { agents: 10_000, full, batch: 100 }),
            of: "vgas" as const,
          })),
          {
            label: `in-process, ${language}`,
            samples: inProcess.map((each) => (each.at(-1) as Quantiles).p50),
            of: "rival" as const,
          },
        ],
      },
    ],
    targets: [
      ...ROSTERS.flatMap(({ agents, hosts, full, batch }, i) => {
        if (agents !== 10_000 || hosts !== 1) return [];
        return {
          what: `decision p99, 10,000 agents, full: ${full}, ${batch} at once`,
          unit: "ns",
          digits: 0,
          samples: decisions.map((each) => (each[i] as Quantiles).p99),
          bound: { atMost: 1_000 },
        };
      }),
      {
        what: "decision p50 with all but one full, 10,000 agents",
        unit: "of 16 agents",
        samples: ratios(
          medians(decisions, { agents: 10_000, full: "all but one", batch: 1 }),
          medians(decisions, { agents: 16, full: "all but one", batch: 1 }),
        ),
        bound: { atMost: 3 },
      },
      ...LOADS.flatMap(({ inFlight }, i) => {
        if (inFlight < 1_000) return [];
        return {
          what: `share of a swap's cost, ${inFlight.toLocaleString("en")} in flight`,
          unit: "us a task",
          samples: shares(handOvers, i),
          bound: { atMost: 5 },
        };
      }),
    ],
    notes: [
      "decision: the draw and the slots that it takes, one at a time or a hundred in one draw; it contains the timer's own cost, about 60 ns a draw",
      "share of a swap's cost: what a swap takes where nothing else is to be done (p50 with one task in flight), by the tasks of a batch; its time under load is mostly spent behind other messages",
      "in-process: nobody is skipped, no slots are counted, nothing is shared with another process, and nothing outlives it",
    ],
    notCompared: language === undefined ? ["the in-process form: neither rustc nor cc is here"] : [],
  };
}

/** Of the roster that is one range. */
function medians(decisions: Measured["decisions"], wanted: Omit<Roster, "hosts">): Samples {
  const { agents, full, batch } = wanted;
  const i = ROSTERS.findIndex(
    (roster) => roster.agents === agents && roster.full === full && roster.batch === batch && roster.hosts === 1,
  );
  return decisions.map((each) => (each[i] as Quantiles).p50);
}

const PICKS = SIZES.flatMap((agents) => BATCHES.map((batch) => ({ agents, batch })));
const NANOS: readonly Column[] = ["p50 ns", "p99 ns", "p99.9 ns"].map((title) => ({ title }));

function cells(pairs: Pairs<Quantiles>): readonly Cell[] {
  return [pairs.map(({ p50 }) => p50), pairs.map(({ p99 }) => p99), pairs.map(({ p999 }) => p999)];
}

function decisionTable(decisions: Pairs<readonly Quantiles[]>): Table {
  return {
    title: "The decision, of one task",
    columns: [{ title: "agents" }, { title: "ranges" }, { title: "full" }, { title: "tasks at once" }, ...NANOS],
    rows: ROSTERS.map(({ agents, hosts, full, batch }, i) => [
      agents.toLocaleString("en"),
      hosts.toLocaleString("en"),
      full,
      batch.toLocaleString("en"),
      ...cells(decisions.map((each) => each[i] as Quantiles)),
    ]),
  };
}

function inProcessTable(language: string, picked: Pairs<readonly Quantiles[]>): Table {
  return {
    title: `In-process form in ${language}: read lock, atomic fetch-add modulo length, clone of the agent`,
    columns: [{ title: "agents" }, { title: "tasks at once" }, ...NANOS],
    rows: PICKS.map(({ agents, batch }, i) => [
      agents.toLocaleString("en"),
      batch.toLocaleString("en"),
      ...cells(picked.map((each) => each[i] as Quantiles)),
    ]),
  };
}

function handOverTable(handOvers: Pairs<readonly HandOver[]>): Table {
  const us = (title: string): Column => ({ title, digits: 1 });
  return {
    title: `From the pull to the agent in a node of ${AGENTS} agents, microseconds of one task`,
    columns: [
      { title: "in flight" },
      ...["p50", "p99", "p99.9"].map((each) => us(`handed over ${each}`)),
      ...["p50", "p99", "p99.9"].map((each) => us(`share of the swap's time ${each}`)),
      us("swap p50"),
      us("tasks a swap"),
      { title: "share of a swap's cost", digits: 2 },
    ],
    rows: LOADS.map(({ inFlight }, i) => {
      const of = handOvers.map((each) => each[i] as HandOver);
      return [
        inFlight.toLocaleString("en"),
        ...cells(of.map(({ waited }) => waited)),
        ...cells(of.map(({ share }) => share)),
        of.map(({ swap }) => swap.p50),
        of.map(({ tasksPerSwap }) => tasksPerSwap),
        shares(handOvers, i),
      ];
    }),
  };
}

/** What a swap takes where nothing else is to be done, by the tasks of a batch. */
function shares(handOvers: Pairs<readonly HandOver[]>, load: number): Samples {
  return handOvers.map((each) => (each[0] as HandOver).swap.p50 / (each[load] as HandOver).tasksPerSwap);
}

async function decide(draws: number): Promise<readonly Quantiles[]> {
  return JSON.parse(await runWorker("allocation/draw-worker.ts", String(draws))) as readonly Quantiles[];
}

async function handOver({ quick }: Bench): Promise<readonly HandOver[]> {
  const broker = await BenchBroker.start();
  try {
    const { seed, inboxPrefix } = await broker.home.credentials.issueNode("dispatcher");
    const args = [broker.url, new TextDecoder().decode(seed), inboxPrefix, String(AGENTS), String(SLOTS)];
    const node = await startWorker("allocation/node-worker.ts", ...args);
    try {
      const subject = broker.names.task(LANE.pool, LANE.kind);
      const share = quick ? QUICK_SHARE : 1;
      await keepInFlight(broker, subject, task, 1_000, WARM_UP / share);
      await noted(node);
      const handed: HandOver[] = [];
      for (const { inFlight, tasks } of LOADS) {
        await keepInFlight(broker, subject, task, inFlight, tasks / share);
        handed.push(await noted(node));
      }
      return handed;
    } finally {
      await stopWorker(node);
    }
  } finally {
    await broker.stop();
  }
}

/** What the node noted since it was last asked. */
async function noted(node: ChildProcess): Promise<HandOver> {
  const answered = once(node.stdout as NodeJS.ReadableStream, "data");
  node.kill("SIGUSR2");
  return JSON.parse(String((await answered)[0])) as HandOver;
}
