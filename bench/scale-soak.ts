/**
 * Whether memory stays flat over very many tasks: a dispatcher and two hosts in processes of their own, and results that are kept
 * for a minute, so that only what the processes themselves keep can grow.
 */
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import { reasonOf } from "../scripts/lib/log.mjs";
import { encode } from "../src/bus/codec/codec.ts";
import { Publisher } from "../src/bus/publisher.ts";
import { streamInfo } from "../src/bus/topology.ts";
import type { Target } from "./benchmark.ts";
import { cleanUpAtTheEnd } from "./clean-up.ts";
import { isReached, targetLine } from "./print.ts";
import { BenchNode } from "./scale/nodes.ts";
import { residentBytes } from "./scale/resident.ts";
import { median } from "./statistics.ts";
import { BenchBroker } from "./swarm.ts";

/** With fewer a sample is mostly noise; more would take a day. */
const [LEAST, MOST] = [10_000, 1_000_000_000];
const USAGE = `usage: npm run bench:soak -- [--tasks N]
  --tasks N     how many tasks go through, ${LEAST} to ${MOST} (default 10000000)
Puts them through a dispatcher and two hosts in processes of their own, half one by one and half in arrays, with results that are
kept for a minute, and prints the heap of each after a collection, forty times. The exit code is 1 if one has grown.`;

const LANE = { pool: "default", kind: "echo" };
const RESULTS_TTL_MS = 60_000;
const PER_ARRAY = 10;
/** Submitted and not done, at most: so that the queue is no part of what is measured. */
const MAX_OPEN = 40_000;
const CHUNK = 10_000;
const SAMPLES = 40;
/** Until caches, pools and compiled code have their size. */
const WARM_SHARE = 0.1;
const MOST_GROWTH_MIB = 2;
const NODES = [
  { name: "dispatcher", roles: ["dispatcher"] },
  { name: "host 1", roles: ["agents"] },
  { name: "host 2", roles: ["agents"] },
] as const;

const tasks = tasksOf(process.argv.slice(2));
cleanUpAtTheEnd();
const broker = await BenchBroker.start({ resultsTtlMs: RESULTS_TTL_MS });
const nodes = await Promise.all(
  NODES.map(({ roles }) =>
    BenchNode.start(broker, { roles, agents: 16, slots: 64, kinds: [LANE.kind], shared: false }),
  ),
);
const publisher = new Publisher(broker.bus);
const heaps: number[][] = NODES.map(() => []);
const started = performance.now();
let submitted = 0;
console.log(
  `${tasks.toLocaleString("en")} echo tasks of 200 bytes through a dispatcher and two hosts, half one by one and half in arrays of ${PER_ARRAY}; heap of each process after a collection`,
);
console.log(
  ["tasks", "tasks/s", ...NODES.map(({ name }) => `${name}, heap MiB`), "nats-server, resident MiB"].join("\t"),
);
for (let sample = 1; sample <= SAMPLES; sample++) {
  const until = Math.floor((tasks * sample) / SAMPLES);
  const from = performance.now();
  const before = submitted;
  while (submitted < until) await submit(Math.min(CHUNK, until - submitted));
  await done(submitted);
  const rate = ((submitted - before) / (performance.now() - from)) * 1_000;
  const now = await Promise.all(nodes.map((node) => node.memory()));
  for (const [i, { heap }] of now.entries()) heaps[i]?.push(heap / 2 ** 20);
  const shown = [...now.map(({ heap }) => heap), residentBytes(broker.pid)].map((bytes) =>
    (bytes / 2 ** 20).toFixed(1),
  );
  console.log([submitted, Math.round(rate), ...shown].join("\t"));
}
console.log(`${submitted.toLocaleString("en")} tasks in ${Math.round((performance.now() - started) / 1_000)} s`);
const targets = NODES.map(
  ({ name }, i): Target => ({
    what: `${name}: growth of the heap after the first tenth`,
    unit: "MiB",
    samples: [growth(heaps[i] as readonly number[])],
    bound: { atMost: MOST_GROWTH_MIB },
  }),
);
for (const target of targets) console.log(targetLine(target));
await Promise.all(nodes.map((node) => node.stop()));
await broker.stop();
process.exit(targets.every(isReached) ? 0 : 1);

/** Half of them one by one, half in arrays. */
async function submit(count: number): Promise<void> {
  await done(submitted - MAX_OPEN);
  const subject = broker.names.task(LANE.pool, LANE.kind);
  const task = { input: { text: "x".repeat(180) } };
  const publish = (body: Uint8Array): void =>
    publisher.send(subject, body, undefined, (error) => {
      if (error) throw error;
    });
  const arrays = Math.floor(count / 2 / PER_ARRAY);
  const [single, array] = [encode(task), encode(new Array(PER_ARRAY).fill(task))];
  for (let i = 0; i < arrays; i++) publish(array);
  for (let i = count - arrays * PER_ARRAY; i > 0; i--) publish(single);
  await publisher.idle();
  submitted += count;
}

/** Resolves when that many results were stored. */
async function done(results: number): Promise<void> {
  const { bus, names } = broker;
  while (results > 0 && ((await streamInfo(bus, names.streams.results))?.lastSequence ?? 0) < results) await pause(10);
}

/** Medians of a few samples each, because one collection leaves a little more than another. */
function growth(heap: readonly number[]): number {
  const warm = Math.floor(heap.length * WARM_SHARE);
  return median(heap.slice(-5)) - median(heap.slice(warm, warm + 5));
}

function tasksOf(args: readonly string[]): number {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: { tasks: { type: "string", default: "10000000" }, help: { type: "boolean", short: "h" } },
    });
    if (values.help) {
      console.log(USAGE);
      process.exit(0);
    }
    const count = Number(values.tasks);
    if (/^\d+$/.test(values.tasks) && count >= LEAST && count <= MOST) return count;
    throw new Error(`--tasks must be an integer from ${LEAST} to ${MOST}, got ${values.tasks}`);
  } catch (error) {
    console.error(`${reasonOf(error)}\n${USAGE}`);
    return process.exit(2);
  }
}
