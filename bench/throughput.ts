/** Durable tasks per second, submit to stored result, next to the raw JetStream floor of the same run. */
import { once } from "node:events";
import { encode } from "../src/bus/codec/codec.ts";
import type { Benchmark } from "./benchmark.ts";
import { ratios } from "./statistics.ts";
import { BenchBroker, drive, startWorker, stopWorker } from "./swarm.ts";

const TASKS = 100_000;
const PER_ARRAY = 10;
const QUICK_TASKS = 5_000;
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

export const throughput: Benchmark = {
  name: "throughput",
  measures: "durable tasks per second, submit to stored result; against the floor: raw JetStream workers",
  run: async ({ quick, pairs, log }) => {
    const tasks = quick ? QUICK_TASKS : TASKS;
    const floor: number[] = [];
    const single: number[] = [];
    const arrays: number[] = [];
    const heapGrowth: number[] = [];
    for (let pair = 0; pair < pairs; pair++) {
      floor.push((await measure("floor", tasks)).single);
      const vgas = await measure("vgas", tasks);
      single.push(vgas.single);
      arrays.push(vgas.arrays as number);
      heapGrowth.push((vgas.heapGrowth as number) / 2 ** 20);
      log(
        `pair ${pair + 1} of ${pairs}: floor ${Math.round(floor[pair] as number)}/s, vgas ${Math.round(vgas.single)}/s, arrays ${Math.round(vgas.arrays as number)}/s`,
      );
    }
    return {
      tables: [
        {
          title: `${tasks.toLocaleString("en")} durable 200-byte echo tasks, submit to stored result`,
          columns: [{ title: "what" }, { title: "tasks/s" }, { title: "of the floor", digits: 2 }],
          rows: [
            ["raw JetStream, no dispatch (the floor)", floor, "1"],
            ["vgas, one by one", single, ratios(single, floor)],
            [`vgas, arrays of ${PER_ARRAY}`, arrays, ratios(arrays, floor)],
          ],
        },
        {
          title: `Heap after a collection, growth over ${tasks.toLocaleString("en")} further tasks`,
          columns: [{ title: "what" }, { title: "MiB", digits: 2 }],
          rows: [["node", heapGrowth]],
        },
      ],
      targets: [
        { what: "one by one", unit: "of the floor", samples: ratios(single, floor), bound: { atLeast: 0.95 } },
        { what: "arrays", unit: "of the floor", samples: ratios(arrays, floor), bound: { atLeast: 2 } },
      ],
      notes: [],
      notCompared: [],
    };
  },
};

async function measure(what: "floor" | "vgas", tasks: number): Promise<Outcome> {
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
      await drive(broker, subject, new Array(tasks / 10).fill(one), tasks / 10);
      const single = await drive(broker, subject, new Array(tasks).fill(one), tasks);
      if (what === "floor") return { single };
      const before = await heap();
      await drive(broker, subject, new Array(tasks).fill(one), tasks);
      const heapGrowth = (await heap()) - before;
      const arrays = await drive(broker, subject, new Array(tasks / PER_ARRAY).fill(many), tasks);
      return { single, arrays, heapGrowth };
    } finally {
      await stopWorker(worker);
    }
  } finally {
    await broker.stop();
  }
}
