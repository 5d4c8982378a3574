/** Acknowledged submissions per second, by one submitter: the client library, next to raw JetStream and BullMQ. */
import type { Bar, Bench, Benchmark, Cell, Report, Samples, Target } from "./benchmark.ts";
import { BullMq, findBullMq } from "./rivals/bullmq.ts";
import { PairedSamples } from "./statistics.ts";
import type { How, Order } from "./submit-worker.ts";
import { BenchBroker, runWorker } from "./swarm.ts";

interface Side {
  readonly how: How;
  readonly title: string;
  readonly of: Bar["of"];
  /** For about half a second each. */
  readonly tasks: number;
  /** Those that were fastest on this kind of machine. */
  readonly window: number;
  readonly bulk: number;
  /** In every pair; others in every third. */
  readonly judged?: true;
}

const EVERY = 3;
const SIDES: readonly Side[] = [
  {
    how: "raw",
    title: "raw JetStream publish, windowed",
    of: "floor",
    tasks: 60_000,
    window: 500,
    bulk: 0,
    judged: true,
  },
  { how: "rawWithId", title: "the same with message ids", of: "floor", tasks: 40_000, window: 500, bulk: 0 },
  { how: "submit", title: "vgas submit", of: "vgas", tasks: 20_000, window: 500, bulk: 0 },
  { how: "submitMany", title: "vgas submitMany, a message each", of: "vgas", tasks: 20_000, window: 4, bulk: 1_000 },
  { how: "arrays", title: "vgas submitMany", of: "vgas", tasks: 80_000, window: 4, bulk: 1_000, judged: true },
  {
    how: "arraysUntracked",
    title: "vgas submitMany, no answer wanted",
    of: "vgas",
    tasks: 80_000,
    window: 4,
    bulk: 1_000,
  },
  { how: "addBulk", title: "BullMQ addBulk", of: "rival", tasks: 10_000, window: 4, bulk: 500, judged: true },
];
const QUICK_TASKS = 1_000;
/** One of each kind. */
const QUICK: readonly How[] = ["raw", "arrays", "addBulk"];

export const submit: Benchmark = {
  name: "submit",
  measures: "acknowledged submissions per second; against BullMQ addBulk and the best windowed JetStream publish",
  run: async (bench) => {
    const rival = await findBullMq(bench);
    const bullmq = rival instanceof BullMq ? rival : undefined;
    const sides = SIDES.filter(
      ({ how, of }) => (of !== "rival" || bullmq !== undefined) && (!bench.quick || QUICK.includes(how)),
    );
    const rates = new PairedSamples();
    for (let pair = 0; pair < bench.pairs; pair++) {
      const inPair = pair % EVERY === 0 ? sides : sides.filter(({ judged }) => judged);
      const now: string[] = [];
      // Each is first in turn.
      for (let i = 0; i < inPair.length; i++) {
        const side = inPair[(pair + i) % inPair.length] as Side;
        const rate = await measure(side, bench, bullmq);
        rates.note(side.how, pair, rate);
        now.push(`${side.title} ${Math.round(rate)}/s`);
      }
      bench.log(`pair ${pair + 1} of ${bench.pairs}: ${now.join(", ")}`);
    }
    return reportOf(sides, rates, bullmq === undefined ? [(rival as { readonly reason: string }).reason] : []);
  },
};

async function measure(side: Side, { quick }: Bench, bullmq: BullMq | undefined): Promise<number> {
  const { how, window } = side;
  const tasks = quick ? QUICK_TASKS : side.tasks;
  const bulk = Math.min(side.bulk, tasks / 4);
  if (side.of === "rival" && bullmq !== undefined) {
    const system = await bullmq.start({ workers: 0 });
    try {
      return await rateOf({
        how,
        window,
        bulk,
        tasks,
        subject: "",
        to: { port: system.port, queue: system.queue.name },
      });
    } finally {
      await system.stop();
    }
  }
  const broker = await BenchBroker.start();
  try {
    const { seed, inboxPrefix } = await broker.home.credentials.read("client");
    const to = { url: broker.url, nkeySeed: new TextDecoder().decode(seed), inboxPrefix };
    return await rateOf({ how, window, bulk, tasks, to, subject: broker.names.task("default", "echo") });
  } finally {
    await broker.stop();
  }
}

async function rateOf(order: Order): Promise<number> {
  return Number(await runWorker("submit-worker.ts", JSON.stringify(order)));
}

function reportOf(sides: readonly Side[], rates: PairedSamples, notCompared: readonly string[]): Report {
  const of = (how: How): Samples => rates.of(how);
  const timesBullMq = (how: How): Samples => rates.ratios(how, "addBulk");
  const row = ({ how, title, of: kind }: Side): readonly Cell[] => [
    title,
    of(how),
    how === "raw" ? "1" : rates.ratios(how, "raw"),
    kind === "rival" ? "-" : timesBullMq(how),
  ];
  const what = "submitMany";
  const targets: readonly Target[] = [
    { what, unit: "of the best windowed publish", samples: rates.ratios("arrays", "raw"), bound: { atLeast: 0.9 } },
    { what, unit: "times addBulk", samples: timesBullMq("arrays"), digits: 1, bound: { atLeast: 10 } },
  ];
  return {
    tables: [
      {
        title: "200-byte tasks submitted and acknowledged as stored, one submitter, nobody works on them",
        columns: [
          { title: "what" },
          { title: "tasks/s" },
          { title: "of raw JetStream", digits: 2 },
          { title: "times addBulk", digits: 1 },
        ],
        rows: sides.map(row),
      },
    ],
    charts: [
      {
        title: "Submission: tasks acknowledged as stored, by one submitter",
        unit: "tasks/s, more is better",
        bars: sides.map(({ how, title, of: kind }) => ({ label: title, samples: of(how), of: kind })),
      },
    ],
    targets: targets.filter(({ samples }) => samples.length > 0),
    notes: [
      "what is not judged is measured in every third pair",
      "submitMany sends a hundred tasks in a message, its default, and addBulk 500 jobs in a call; raw JetStream sends each by itself, and so do submit and submitMany with a message each",
      "no answer wanted (track: false): as with a job of addBulk, whoever wants its result later looks for it; by default a submitter is told",
    ],
    notCompared,
  };
}
