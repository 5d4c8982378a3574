/**
 * One submitter of the latency benchmark, in a process of its own. Argument: an `Order` as JSON. Prints `ready`, then an `Outcome` as
 * JSON, and ends.
 */
import { encode } from "../src/bus/codec/codec.ts";
import { connectBus } from "../src/bus/connection.ts";
import { Publisher } from "../src/bus/publisher.ts";
import { connect } from "../src/client.ts";
import { Names } from "../src/protocols/subjects.ts";
import { type Load, openLoop } from "./open-loop.ts";
import { loadBullMq } from "./rivals/bullmq-package.ts";

export interface Order {
  readonly target: Target;
  /** Round trips one after the other. */
  readonly idle: number;
  /** Before anything is measured, one after the other. */
  readonly warmUps: readonly Crowd[];
  /** Where the most that it carries is looked for. */
  readonly most: Crowd;
  readonly loads: readonly Load[];
  /** Loads of this length at these shares of the most that it carries. */
  readonly shares: { readonly of: readonly number[]; readonly seconds: number };
}

/** So many round trips at once, for so long. */
export interface Crowd {
  readonly atOnce: number;
  readonly seconds: number;
}

export type Target =
  | { readonly system: "bullmq"; readonly port: number; readonly queue: string }
  | {
      readonly system: "floor" | "vgas";
      readonly connection: { readonly url: string; readonly nkeySeed: string; readonly inboxPrefix: string };
    };
type NatsTarget = Extract<Target, { readonly connection: unknown }>;

/** Times are milliseconds. */
export interface Outcome {
  readonly most: number;
  readonly idle: readonly number[];
  readonly loads: readonly (readonly number[])[];
  readonly shares: readonly { readonly perSecond: number; readonly times: readonly number[] }[];
}

/** Submits a task and resolves with its stored result. */
type RoundTrip = () => Promise<void>;

const INPUT = { text: "x".repeat(180) };
const LANE = { pool: "default", kind: "echo" };
const DIGITS = 3;

const order = JSON.parse(process.argv[2] as string) as Order;
const roundTrip = await roundTripOf(order.target);
await roundTrip();
console.log(JSON.stringify(await measure(order, roundTrip)));
process.exit(0);

async function measure({ idle, warmUps, most, loads, shares }: Order, roundTrip: RoundTrip): Promise<Outcome> {
  // Everything is new, and compiled while it runs.
  for (const crowd of warmUps) await mostOf(roundTrip, crowd);
  const perSecond = await mostOf(roundTrip, most);
  const alone: number[] = [];
  for (let i = 0; i < idle; i++) {
    const startedAt = performance.now();
    await roundTrip();
    alone.push(performance.now() - startedAt);
  }
  const loaded: (readonly number[])[] = [];
  for (const load of loads) loaded.push(rounded(await openLoop(roundTrip, load)));
  const shared: Outcome["shares"][number][] = [];
  for (const share of shares.of) {
    const load = { perSecond: share * perSecond, seconds: shares.seconds };
    shared.push({ perSecond: load.perSecond, times: rounded(await openLoop(roundTrip, load)) });
  }
  return { most: perSecond, idle: rounded(alone), loads: loaded, shares: shared };
}

/** Round trips per second with so many at once. */
async function mostOf(roundTrip: RoundTrip, { seconds, atOnce }: Crowd): Promise<number> {
  const startedAt = performance.now();
  const until = startedAt + seconds * 1_000;
  let done = 0;
  const loop = async (): Promise<void> => {
    while (performance.now() < until) {
      await roundTrip();
      done++;
    }
  };
  await Promise.all(Array.from({ length: atOnce }, loop));
  return (done / (performance.now() - startedAt)) * 1_000;
}

function rounded(times: readonly number[]): number[] {
  return times.map((time) => Number(time.toFixed(DIGITS)));
}

function roundTripOf(target: Target): Promise<RoundTrip> {
  if (target.system === "bullmq") return bullmq(target);
  return target.system === "vgas" ? vgas(target) : floor(target);
}

async function bullmq({ port, queue: name }: Extract<Target, { readonly system: "bullmq" }>): Promise<RoundTrip> {
  const { Queue, QueueEvents } = loadBullMq();
  const connection = { host: "127.0.0.1", port, maxRetriesPerRequest: null };
  const queue = new Queue(name, { connection });
  const events = new QueueEvents(name, { connection });
  // Each job that is waited for listens to both.
  for (const each of [queue, events]) (each as unknown as NodeJS.EventEmitter).setMaxListeners(0);
  await Promise.all([queue.waitUntilReady(), events.waitUntilReady()]);
  return async () => {
    const job = await queue.add(LANE.kind, INPUT);
    await job.waitUntilFinished(events);
  };
}

async function vgas({ connection }: NatsTarget): Promise<RoundTrip> {
  const client = await connect({ connection });
  return async () => {
    const task = await client.submit(LANE.kind, INPUT);
    await task.result();
  };
}

/** What a client of NATS alone would do: one inbox for all answers, and a publish that is acknowledged. */
async function floor({ connection: { url, nkeySeed, inboxPrefix } }: NatsTarget): Promise<RoundTrip> {
  const seed = new TextEncoder().encode(nkeySeed);
  const bus = await connectBus({ url, seed, inboxPrefix, name: "floor client" });
  const publisher = new Publisher(bus);
  const subject = new Names().task(LANE.pool, LANE.kind);
  const inbox = bus.inbox();
  const waiting = new Map<string, () => void>();
  await bus.subscribe(`${inbox}.*`, (answer) => {
    waiting.get(answer.subject)?.();
    waiting.delete(answer.subject);
  });
  let next = 0;
  return () =>
    new Promise((resolve, reject) => {
      const replyTo = `${inbox}.${(next++).toString(36)}`;
      waiting.set(replyTo, resolve);
      publisher.send(subject, encode({ input: INPUT, replyTo }), undefined, (error) => {
        if (error) reject(error);
      });
    });
}
