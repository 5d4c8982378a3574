/** Durable tasks per second, submit to stored result, next to the raw JetStream floor of the same run. */
import { once } from "node:events";
import { encode } from "../src/bus/codec/codec.ts";
import { BenchBroker, drive, median, spread, startWorker, stopWorker } from "./swarm.ts";

const TASKS = 100_000;
const PER_ARRAY = 10;
const PAIRS = 5;
const IN_FLIGHT = 1_024;
const AGENTS = 16;

/** A task of 200 bytes. */
const task = { input: { text: "x".repeat(180) } };
const LANE = { pool: "default", kind: "echo" };

interface Outcome {
  readonly single: number;
  readonly arrays?: number;
  readonly heapGrowth?: number;
}

export interface ThroughputReport {
  readonly floor: readonly number[];
  readonly single: readonly number[];
  readonly arrays: readonly number[];
  readonly heapGrowth: readonly number[];
}

/** Runs floor and vgas in turn, each time with a fresh broker and fresh processes. */
export async function throughput(log: (line: string) => void): Promise<ThroughputReport> {
  const floor: number[] = [];
  const single: number[] = [];
  const arrays: number[] = [];
  const heapGrowth: number[] = [];
  for (let pair = 0; pair < PAIRS; pair++) {
    floor.push((await measure("floor")).single);
    const vgas = await measure("vgas");
    single.push(vgas.single);
    arrays.push(vgas.arrays as number);
    heapGrowth.push(vgas.heapGrowth as number);
    log(
      `pair ${pair + 1} of ${PAIRS}: floor ${Math.round(floor[pair] as number)}/s, vgas ${Math.round(vgas.single)}/s, arrays ${Math.round(vgas.arrays as number)}/s`,
    );
  }
  return { floor, single, arrays, heapGrowth };
}

export function printThroughput({ floor, single, arrays, heapGrowth }: ThroughputReport): string {
  const ratio = (values: readonly number[]): readonly number[] =>
    values.map((value, i) => value / (floor[i] as number));
  return [
    `throughput: ${TASKS.toLocaleString("en")} durable 200-byte echo tasks, submit to stored result, ${PAIRS} pairs, median (min - max)`,
    "",
    "| what | tasks/s | of the floor |",
    "|---|---|---|",
    `| raw JetStream, no dispatch (the floor) | ${spread(floor, 0)} | 1 |`,
    `| vgas, one by one | ${spread(single, 0)} | ${spread(ratio(single), 2)} |`,
    `| vgas, arrays of ${PER_ARRAY} | ${spread(arrays, 0)} | ${spread(ratio(arrays), 2)} |`,
    "",
    `heap after collection, growth over ${TASKS.toLocaleString("en")} further tasks: ${spread(
      heapGrowth.map((bytes) => bytes / 2 ** 20),
      2,
    )} MiB`,
    `one by one ${median(ratio(single)) >= 0.7 ? "is" : "IS NOT"} above 0.7 of the floor`,
  ].join("\n");
}

async function measure(what: "floor" | "vgas"): Promise<Outcome> {
  const broker = await BenchBroker.start();
  try {
    const user =
      what === "vgas"
        ? await broker.home.credentials.issueNode("dispatcher")
        : await broker.home.credentials.read("system");
    const seed = new TextDecoder().decode(user.seed);
    const subject = broker.names.task(LANE.pool, LANE.kind);
    const one = encode(task);
    const many = encode(new Array(PER_ARRAY).fill(task));
    const worker =
      what === "floor"
        ? await startWorker("floor-worker.ts", broker.url, seed, user.inboxPrefix, String(IN_FLIGHT))
        : await startWorker(
            "host-worker.ts",
            broker.url,
            seed,
            user.inboxPrefix,
            String(AGENTS),
            String(IN_FLIGHT / AGENTS),
          );
    const heap = async (): Promise<number> => {
      worker.kill("SIGUSR2");
      return Number(String((await once(worker.stdout as NodeJS.ReadableStream, "data"))[0]));
    };
    try {
      await drive(broker, subject, new Array(10_000).fill(one), 10_000);
      const single = await drive(broker, subject, new Array(TASKS).fill(one), TASKS);
      if (what === "floor") return { single };
      const before = await heap();
      await drive(broker, subject, new Array(TASKS).fill(one), TASKS);
      const heapGrowth = (await heap()) - before;
      const arrays = await drive(broker, subject, new Array(TASKS / PER_ARRAY).fill(many), TASKS);
      return { single, arrays, heapGrowth };
    } finally {
      await stopWorker(worker);
    }
  } finally {
    await broker.stop();
  }
}
