/**
 * BullMQ on Redis, as its users run it, for benchmarks that compare with it:
 *
 *   const found = await findBullMq(bench);
 *   if (!(found instanceof BullMq)) notCompared.push(found.reason);
 *   else {
 *     const system = await found.start({ workers: 2 });
 *     try { rates.push(await system.drive(jobs, data)); } finally { await system.stop(); }
 *   }
 */
import type { ChildProcess } from "node:child_process";
import { setTimeout as pause } from "node:timers/promises";
import { reasonOf } from "../../scripts/lib/log.mjs";
import { withSetupLock } from "../../scripts/lib/setup-lock.mjs";
import type { Bench } from "../benchmark.ts";
import { startWorker, stopWorker } from "../swarm.ts";
import {
  type BullMqPackage,
  type ConnectionOptions,
  installBullMq,
  installedVersion,
  isBullMqInstalled,
  type JobOptions,
  loadBullMq,
  type Queue,
  type QueueEvents,
} from "./bullmq-package.ts";
import { bringRedis, findRedis, Redis, type RedisBinary, type RedisOptions } from "./redis.ts";

/** Its name. */
export const QUEUE = "bench";
/** Jobs in one addBulk, and how many of those are under way at once. */
const PER_BULK = 500;
const BULKS_AT_ONCE = 4;
/** Jobs that are added one by one, under way at once. */
const ADDS_AT_ONCE = 500;

/** A rival that cannot be had here. */
export interface NotThere {
  /** What is not compared, and why; for `Report.notCompared`. */
  readonly reason: string;
}

export interface BullMqOptions extends RedisOptions {
  /** Worker processes. Default 1. */
  readonly workers?: number;
  /** Jobs at once in each of them. Default: what makes it fastest here. */
  readonly concurrency?: number;
}

const BEST_CONCURRENCY = 300;

let looked: Promise<BullMq | NotThere> | undefined;

/** Installs what is missing, except with `--quick`, and says so. Asked again, it tells the same. */
export function findBullMq(bench: Pick<Bench, "quick" | "log">): Promise<BullMq | NotThere> {
  looked ??= look(bench).catch((error: unknown) => ({ reason: `BullMQ: ${reasonOf(error)}` }));
  return looked;
}

async function look({ quick, log }: Pick<Bench, "quick" | "log">): Promise<BullMq | NotThere> {
  const installed = isBullMqInstalled();
  const redis = findRedis();
  if (quick && (!installed || redis === undefined))
    return { reason: `BullMQ: ${installed ? "redis-server" : "it"} is not there, and --quick installs nothing` };
  if (installed && redis !== undefined) return new BullMq(redis);
  // Another run may be about to bring the same.
  return await withSetupLock(async () => {
    if (!isBullMqInstalled()) await installBullMq({ log });
    return new BullMq(findRedis() ?? (await bringRedis({ log })));
  });
}

export class BullMq {
  readonly versions: { readonly bullmq: string; readonly redis: string };
  readonly #redis: RedisBinary;
  readonly #package: BullMqPackage = loadBullMq();

  constructor(redis: RedisBinary) {
    this.#redis = redis;
    this.versions = { bullmq: installedVersion() ?? "", redis: redis.version };
  }

  /** A fresh Redis, workers in processes of their own, and a queue. */
  async start({ workers = 1, concurrency = BEST_CONCURRENCY, ...redis }: BullMqOptions = {}): Promise<BullMqSystem> {
    const system = new BullMqSystem(this.#package, await Redis.start(this.#redis, redis));
    try {
      await system.queue.waitUntilReady();
      for (let i = 0; i < workers; i++) await system.startWorker(concurrency);
      return system;
    } catch (error) {
      await system.stop();
      throw error;
    }
  }
}

export class BullMqSystem {
  readonly queue: Queue;
  /** In the order in which they were started; to be killed, if you like. */
  readonly workers: ChildProcess[] = [];
  readonly #package: BullMqPackage;
  readonly #redis: Redis;
  readonly #connection: ConnectionOptions;
  #events: QueueEvents | undefined;

  constructor(bullmq: BullMqPackage, redis: Redis) {
    this.#package = bullmq;
    this.#redis = redis;
    this.#connection = { host: "127.0.0.1", port: redis.port, maxRetriesPerRequest: null };
    this.queue = new bullmq.Queue(QUEUE, { connection: this.#connection });
  }

  /** Of its Redis, for a submitter in another process. */
  get port(): number {
    return this.#redis.port;
  }

  /** What `job.waitUntilFinished()` needs. */
  async events(): Promise<QueueEvents> {
    this.#events ??= new this.#package.QueueEvents(QUEUE, { connection: this.#connection });
    await this.#events.waitUntilReady();
    return this.#events;
  }

  async startWorker(concurrency = BEST_CONCURRENCY): Promise<ChildProcess> {
    const worker = await startWorker("rivals/bullmq-worker.ts", String(this.#redis.port), QUEUE, String(concurrency));
    this.workers.push(worker);
    return worker;
  }

  /** Adds `jobs` jobs, with addBulk unless `oneByOne`; resolves when Redis has acknowledged all. */
  async add(jobs: number, data: unknown, opts: JobOptions = {}, oneByOne = false): Promise<void> {
    let left = jobs;
    const addNext = async (): Promise<void> => {
      const count = Math.min(oneByOne ? 1 : PER_BULK, left);
      left -= count;
      if (oneByOne) await this.queue.add("echo", data, opts);
      else await this.queue.addBulk(Array.from({ length: count }, () => ({ name: "echo", data, opts })));
    };
    const adder = async (): Promise<void> => {
      while (left > 0) await addNext();
    };
    await Promise.all(Array.from({ length: oneByOne ? ADDS_AT_ONCE : BULKS_AT_ONCE }, adder));
  }

  async completed(): Promise<number> {
    return (await this.queue.getJobCounts("completed"))["completed"] ?? 0;
  }

  /** Jobs per second, from the first one that is added to the last result that is stored. */
  async drive(jobs: number, data: unknown, options: JobOptions = {}, oneByOne = false): Promise<number> {
    const before = await this.completed();
    const started = performance.now();
    await this.add(jobs, data, options, oneByOne);
    while ((await this.completed()) - before < jobs) await pause(10);
    return (jobs / (performance.now() - started)) * 1_000;
  }

  async stop(): Promise<void> {
    for (const worker of this.workers) await stopWorker(worker);
    await this.#events?.close();
    await this.queue.close();
    await this.#redis.stop();
  }
}
