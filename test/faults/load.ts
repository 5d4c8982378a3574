/**
 * A client of a world of faults, in a process of its own: submits tasks and writes down each submission before it is sent, and how
 * it came out after. It rides out everything. Argument: its settings as JSON. Lines of its input: `go` and `end`.
 *
 * It says `quiet` when its first tasks have their results, and `done` when everything that it submitted has come out and every
 * result that it waits for has come.
 */
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { jetstream } from "@nats-io/jetstream";
import { connect as connectToNats } from "@nats-io/transport-node";
import { type ClientOptions, connect, type SubmitOptions, type TaskHandle, VgasError } from "vgas";
import type { Order } from "./agents.ts";
import { type Entry, moment, ONCE, type Submit } from "./history.ts";
import { between, oneOf, randomOf } from "./random.ts";

export interface LoadSettings {
  /** Where the history is written. */
  readonly dir: string;
  readonly seed: string;
  readonly client: ClientOptions;
  /** Tasks a second, about. */
  readonly rate: number;
}

/** How a submission is planned. */
interface Plan {
  readonly order: Order;
  readonly options: SubmitOptions;
  readonly ends: Submit["ends"];
}

const POOL = "default";
const QUIET_TASKS = 20;
const TICK_MS = 50;
/** Sent again under the same message id until then. */
const SUBMIT_TIMEOUT_MS = 30_000;
/** With these it is certain that nothing was stored. */
const REFUSALS: readonly string[] = ["INVALID", "TOO_LARGE", "LANE_FULL", "STREAM_FULL", "PERMISSION_DENIED"];
/** Bytes that are no task, and such as are one only almost. */
const HOSTILE: readonly (readonly [Uint8Array, NonNullable<Submit["hostile"]>])[] = [
  [new Uint8Array(0), "malformed"],
  [Uint8Array.of(0xc1), "malformed"],
  [Buffer.from("{"), "malformed"],
  [Buffer.from("[]"), "malformed"],
  [Buffer.from('{"timeoutMs":-1}'), "invalid"],
  [Uint8Array.of(0x81, 0xa2, 0x69, 0x64, 0x93, 0x93, 0x93), "malformed"],
  [Buffer.concat([Uint8Array.of(0x81, 0xa1, 0x78), Buffer.alloc(2_000, 0x91)]), "malformed"],
];

const { dir, seed, client: clientOptions, rate }: LoadSettings = JSON.parse(process.argv[2] ?? "");
const random = randomOf(`${seed}/load`);
const file = join(dir, `client-${process.pid}.jsonl`);
const client = await connect({ ...clientOptions, timeoutMs: 60_000 });
const raw = clientOptions.url === undefined ? undefined : await rawPublisher(clientOptions.url);
const under: Set<Promise<void>> = new Set();
let calls = 0;
let named = 0;

await Promise.all(Array.from({ length: QUIET_TASKS }, async () => await quiet()));
console.log("quiet");
let going = false;
let ended = false;
const lines = createInterface(process.stdin);
lines.on("line", (line) => {
  if (line === "go") going = true;
  if (line === "end") ended = true;
});
lines.on("close", () => process.exit(ended ? 0 : 1));
while (!ended) {
  if (going) for (let budget = (rate * TICK_MS) / 1_000; budget > 0; ) budget -= next();
  await pause(TICK_MS);
}
while (under.size > 0) await Promise.all(under);
console.log("done");
await client.close();
process.exit(0);

/** Starts the next submission. Returns how many tasks it has. */
function next(): number {
  const kind = random() < 0.8 ? "work" : "other";
  const choice = random();
  if (choice < 0.02) return many(kind);
  if (choice < 0.025) return hostile(kind);
  const plan = planned(choice);
  const id = random() < 0.8 ? newId(plan.options) : undefined;
  const cancelled = plan.ends.includes("cancelled");
  const call = begin({ kind, ids: id === undefined ? null : [id], count: 1, plan });
  const told = random() < 0.1;
  const options = id === undefined ? plan.options : { ...plan.options, id };
  watch(
    out(call, async () => [await client.submit(kind, plan.order, options)]).then(async ([handle]) => {
      if (handle === undefined) return;
      if (cancelled) await cancel(handle);
      if (told) await result(handle);
    }),
  );
  return 1;
}

function planned(choice: number): Plan {
  const ms = between(random, 0, 300);
  const priority = oneOf(random, ["normal", "normal", "normal", "high", "low"] as const);
  const common = { priority, submitTimeoutMs: SUBMIT_TIMEOUT_MS };
  if (choice < 0.06) return { order: { ms, fail: true }, options: { ...common, maxAttempts: 3 }, ends: ["failed"] };
  if (choice < 0.1)
    return { order: { ms, failUntil: 2 }, options: { ...common, maxAttempts: 5 }, ends: ["ok", "failed"] };
  if (choice < 0.14) {
    const delayMs = between(random, 200, 3_000);
    return { order: { ms }, options: { ...common, delayMs, maxAttempts: 100 }, ends: ["ok"] };
  }
  if (choice < 0.17) {
    const delayMs = between(random, 0, 500);
    return { order: { ms }, options: { ...common, delayMs }, ends: ["ok", "failed", "cancelled"] };
  }
  if (choice < 0.45) return { order: { ms }, options: { ...common, maxAttempts: 1 }, ends: ["ok", "failed"] };
  if (choice < 0.75) return { order: { ms }, options: { ...common, maxAttempts: 3 }, ends: ["ok", "failed"] };
  return { order: { ms }, options: { ...common, maxAttempts: 100 }, ends: ["ok"] };
}

/**
 * An array. Elements that fail for now, and all of one that is delayed, leave it for messages of their own. Those of every second one end in
 * the turn in which they begin, so that their results are stored in batches.
 */
function many(kind: string): number {
  const count = between(random, 10, 50);
  const maxAttempts = oneOf(random, [1, 3, 100]);
  const ids = random() < 0.5 ? Array.from({ length: count }, () => newId({ maxAttempts })) : null;
  const atOnce = random() < 0.5;
  const orders = Array.from(
    { length: count },
    (): Order => ({
      ...(!atOnce && { ms: between(random, 0, 200) }),
      ...(random() < 0.1 && { failUntil: 2 }),
    }),
  );
  const delayMs = random() < 0.2 ? between(random, 200, 2_000) : undefined;
  const options = { maxAttempts, submitTimeoutMs: SUBMIT_TIMEOUT_MS, ...(delayMs !== undefined && { delayMs }) };
  const call = begin({ kind, ids, count, plan: { options, ends: maxAttempts === 100 ? ["ok"] : ["ok", "failed"] } });
  const task = (_: Order, i: number) => (ids === null ? {} : { id: ids[i] as string });
  const told = random() < 0.2;
  watch(
    out(call, async () => [...(await client.submitMany(kind, orders, { ...options, task }))]).then(async (handles) => {
      if (told) await Promise.all(handles.map(result));
    }),
  );
  return count;
}

/** Bytes that are no task, past the library. */
function hostile(kind: string): number {
  const [bytes, reason] = oneOf(random, HOSTILE);
  if (raw === undefined) return 1;
  const call = begin({ kind, ids: null, count: 1, plan: { options: {}, ends: ["failed"] }, hostile: reason });
  watch(out(call, async () => [{ id: `s${await raw(`vgas.tasks.${POOL}.${kind}`, bytes)}` }]).then(() => undefined));
  return 1;
}

async function quiet(): Promise<void> {
  const id = newId({});
  const order = { ms: 10 };
  const plan: Plan = { order, options: { submitTimeoutMs: SUBMIT_TIMEOUT_MS }, ends: ["ok"] };
  const call = begin({ kind: "work", ids: [id], count: 1, plan });
  const [handle] = await out(call, async () => [await client.submit("work", order, { id, ...plan.options })]);
  if (handle !== undefined) await result(handle);
}

interface Beginning extends Pick<Submit, "kind" | "ids" | "count" | "hostile"> {
  readonly plan: Omit<Plan, "order">;
}

function begin({ plan, ...of }: Beginning): string {
  const call = `${process.pid}-${calls++}`;
  const maxAttempts = plan.options.maxAttempts ?? 3;
  write({ type: "submit", at: moment(), call, pool: POOL, ...of, maxAttempts, ends: plan.ends });
  return call;
}

/** What it resolves with is written down as accepted. Never rejects. */
async function out<H extends { readonly id: string }>(call: string, submit: () => Promise<H[]>): Promise<H[]> {
  try {
    const handles = await submit();
    write({ type: "accepted", at: moment(), call, ids: handles.map(({ id }) => id) });
    return handles;
  } catch (error) {
    const code = error instanceof VgasError ? error.code : String(error);
    write({ type: REFUSALS.includes(code) ? "refused" : "unknown", at: moment(), call, code });
    return [];
  }
}

async function cancel(handle: TaskHandle): Promise<void> {
  await pause(between(random, 0, 300));
  // Whether it came to be cancelled, its result says.
  await handle.cancel().catch(() => undefined);
}

async function result(handle: TaskHandle): Promise<void> {
  const { id, pool, status, attempt, finishedAt } = await handle.result();
  write({ type: "told", at: moment(), pool, id, status, attempt, finishedAt });
}

function watch(work: Promise<void>): void {
  const watched = work.finally(() => under.delete(watched));
  under.add(watched);
}

/** It tells strikes which tasks may run only once. */
function newId({ maxAttempts }: SubmitOptions): string {
  return `t${seed.replace(/[^A-Za-z0-9]/g, "").slice(-12)}-${named++}${maxAttempts === 1 ? ONCE : ""}`;
}

function write(entry: Entry): void {
  appendFileSync(file, `${JSON.stringify(entry)}\n`);
}

async function rawPublisher(url: string): Promise<(subject: string, bytes: Uint8Array) => Promise<number>> {
  const stream = jetstream(await connectToNats({ servers: url.split(","), maxReconnectAttempts: -1 }));
  return async (subject, bytes) => (await stream.publish(subject, bytes)).seq;
}
