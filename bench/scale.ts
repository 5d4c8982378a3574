/**
 * What becomes of throughput and memory as a swarm grows: by agents, hosts, lanes, bytes of a task, tasks that wait. Each is
 * compared with its own smallest case of the same pair.
 */
import type { Bench, Benchmark } from "./benchmark.ts";
import { Backlog } from "./scale/backlog.ts";
import { Measured } from "./scale/measured.ts";
import { type Plan, planOf } from "./scale/plan.ts";
import { reportOf } from "./scale/report.ts";
import { type Size, SMALLEST, TASK_BYTES, Trial } from "./scale/trial.ts";

export const scale: Benchmark = {
  name: "scale",
  measures: "throughput and memory by agents, hosts, lanes, bytes of a task, waiting tasks; against its smallest case",
  run: async (bench) => {
    const plan = planOf(bench);
    const measured = new Measured();
    for (let pair = 0; pair < bench.pairs; pair++) {
      await agents(plan, measured, pair);
      tell(bench, pair, measured, "16 agents", `${plan.agents.at(-1)} agents`);
    }
    await backlogs(plan, measured, bench);
    return reportOf(plan, measured);
  },
};

/**
 * Few agents and many in turn, each first in every other pair. They start together, and wait for each other. What is not judged comes
 * after them in the first pair.
 */
async function agents(plan: Plan, measured: Measured, pair: number): Promise<void> {
  const most = plan.agents.at(-1) as number;
  const start = (count: number): Promise<Trial> => Trial.start({ ...SMALLEST, agents: count });
  const [few, many] = await Promise.all([start(SMALLEST.agents), start(most)]);
  try {
    const turns = [
      () => noteAgents(few, SMALLEST.agents, plan.tasks, measured),
      () => noteAgents(many, most, plan.tasks, measured),
    ];
    for (const turn of pair % 2 === 0 ? turns : turns.toReversed()) await turn();
    await many.stop();
    if (pair === 0) await onSmallest(plan, measured, few);
  } finally {
    await Promise.all([few.stop(), many.stop()]);
  }
  if (pair === 0) await others(plan, measured);
}

async function noteAgents(trial: Trial, count: number, tasks: number, measured: Measured): Promise<void> {
  measured.note(`${count} agents`, await trial.rate(tasks, TASK_BYTES));
  const { heap, rss } = await trial.memory();
  measured.note(`${count} agents, heap`, heap / 2 ** 20);
  measured.note(`${count} agents, rss`, rss / 2 ** 20);
}

/** Not next to the rate of a fresh node: this one has run for long by now. */
async function onSmallest(plan: Plan, measured: Measured, trial: Trial): Promise<void> {
  for (const each of plan.bytes) measured.note(`${each.bytes} bytes`, await trial.rate(each.tasks, each.bytes));
  if (plan.hosts.length === 0) return;
  for (const count of [1, ...plan.hosts]) {
    await trial.grow(count);
    measured.note(`${count} hosts`, await trial.rate(plan.tasks, TASK_BYTES));
  }
}

/** Each on a swarm of its own. */
async function others(plan: Plan, measured: Measured): Promise<void> {
  for (const count of plan.agents.slice(0, -1)) {
    await withTrial({ ...SMALLEST, agents: count }, (trial) => noteAgents(trial, count, plan.tasks, measured));
  }
  for (const lanes of plan.lanes) {
    await withTrial({ ...SMALLEST, lanes }, async (trial) =>
      measured.note(`${lanes} lanes`, await trial.rate(plan.tasks, TASK_BYTES)),
    );
  }
  const most = plan.lanes.at(-1);
  if (most === undefined) return;
  await withTrial({ ...SMALLEST, lanes: most, shared: true }, async (trial) =>
    measured.note(`${most} lanes of the same agents`, await trial.rate(plan.tasks, TASK_BYTES)),
  );
}

/** The same node drains a short queue and a long one in turn. */
async function backlogs({ tasks, waiting }: Plan, measured: Measured, bench: Bench): Promise<void> {
  const warm = tasks / 4;
  // What the node has in hand when it ends comes back.
  const few = warm + 2 * tasks;
  const names = waiting > 0 ? ["few waiting", "many waiting"] : ["few waiting"];
  const sides = await Promise.all(names.map(async (name) => ({ name, queue: await Backlog.start() })));
  const [short, long] = sides.map(({ queue }) => queue);
  try {
    await long?.fill(waiting + (bench.pairs + 1) * (warm + 2 * tasks));
    for (let pair = 0; pair < bench.pairs; pair++) {
      await short?.fill(few);
      for (let i = 0; i < sides.length; i++) {
        const { name, queue } = sides[(pair + i) % sides.length] as (typeof sides)[number];
        const { rate, memory } = await queue.drain(warm, tasks);
        measured.note(name, rate);
        measured.note(`${name}, heap`, memory.heap / 2 ** 20);
        const broker = queue.brokerBytes();
        if (Number.isFinite(broker)) measured.note(`${name}, broker`, broker / 2 ** 20);
        measured.note(`${name}, left`, await queue.waiting());
      }
      tell(bench, pair, measured, ...names);
    }
  } finally {
    await Promise.all(sides.map(({ queue }) => queue.stop()));
  }
}

async function withTrial(size: Size, use: (trial: Trial) => Promise<void>): Promise<void> {
  const trial = await Trial.start(size);
  try {
    await use(trial);
  } finally {
    await trial.stop();
  }
}

function tell(bench: Bench, pair: number, measured: Measured, ...names: readonly string[]): void {
  const now = names.map((name) => `${name} ${Math.round(measured.of(name)[pair] ?? Number.NaN)}/s`);
  bench.log(`pair ${pair + 1} of ${bench.pairs}: ${now.join(", ")}`);
}
