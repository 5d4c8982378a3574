/**
 * The client of the soak, in a process of its own: submits so many tasks over so long a time, waits for every result, and writes
 * down each submission and how it came out. Its parent says over IPC what to run.
 *
 *   load.ts URL FILE SEED
 *
 * 1. A submission is written down before it is made, and its outcome after it.
 * 2. No submission has a timeout: the client rides out whatever strikes, so all are accepted, and accepted = stored can be asked for.
 * 3. What is not finished is bounded, so a swarm that stands still is not buried.
 */
import { openSync, writeSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { type Client, connect, VgasError } from "vgas";
import type { TaskResult } from "../../src/protocols/result.ts";
import type { Order } from "../faults/agents.ts";
import { moment, ONCE, type Outcome, type Submit } from "../faults/history.ts";
import { randomOf } from "../faults/random.ts";

/** Parent to load: a phase of the run. */
export interface Phase {
  readonly tasks: number;
  readonly ms: number;
}

/** Load to parent. */
export type Told =
  | { readonly type: "ready" }
  | ({ readonly type: "progress" | "done" } & Counts)
  | { readonly type: "failed"; readonly why: string };

/** Of all phases so far. */
export interface Counts {
  readonly submissions: number;
  readonly accepted: number;
  /** Results that came to the client. */
  readonly results: number;
  readonly statuses: Readonly<Record<string, number>>;
}

const MAX_OPEN = 20_000;
const TURN_MS = 50;
const PROGRESS_MS = 1_000;
/** Elements of an array: from, and how many more at most. */
const ELEMENTS = [50, 150] as const;
/** Part of the submissions that are a single task: slow ones, so that a host runs some whenever it is struck. */
const SINGLE = 0.7;
/** Parts of the tasks that fail for good, and that fail once. */
const HOPELESS = 0.001;
const FAILING = 0.01;

const [url = "", path = "", seed = "1"] = process.argv.slice(2);
const random = randomOf(`${seed}/load`);
const file = openSync(path, "a");
const statuses: Record<string, number> = {};
let submissions = 0;
let accepted = 0;
let results = 0;
let own = 0;

const client = await connect({ url, timeoutMs: 60_000 });
process.on("message", (phase: Phase | null) => {
  if (phase === null) void client.close().then(() => process.disconnect());
  else
    void run(phase).then(
      () => tell({ type: "done", ...counts() }),
      (error) => tell({ type: "failed", why: error instanceof VgasError ? `${error.code}: ${error}` : String(error) }),
    );
});
// A parent that was killed has ended it too.
process.on("disconnect", () => process.exit());
setInterval(() => tell({ type: "progress", ...counts() }), PROGRESS_MS).unref();
tell({ type: "ready" });

function counts(): Counts {
  return { submissions, accepted, results, statuses };
}

function tell(told: Told): void {
  if (process.connected) process.send?.(told);
}

function write(entry: Submit | Outcome): void {
  writeSync(file, `${JSON.stringify(entry)}\n`);
}

/** Submits evenly over the time, catches up after what held it up, and resolves with the last result. */
async function run({ tasks, ms }: Phase): Promise<void> {
  const began = moment();
  const open = new Set<Promise<void>>();
  const before = results;
  let issued = 0;
  let failure: unknown;
  while (issued < tasks && failure === undefined) {
    const due = Math.min(tasks, Math.ceil((tasks * (moment() - began)) / ms));
    while (issued < due && issued - (results - before) < MAX_OPEN) {
      const { count, done } = submit(Math.min(tasks - issued, size()));
      issued += count;
      const ending = done
        .catch((error: unknown) => {
          failure ??= error;
        })
        .finally(() => open.delete(ending));
      open.add(ending);
    }
    await pause(TURN_MS);
  }
  await Promise.all(open);
  if (failure !== undefined) throw failure;
}

/** How many tasks the next submission has: most submissions are a single task, most tasks are in arrays. */
function size(): number {
  const [least, more] = ELEMENTS;
  return random() < SINGLE ? 1 : least + Math.floor(random() * (more + 1));
}

function submit(count: number): { count: number; done: Promise<void> } {
  const call = `load-${submissions++}`;
  const kind = "work";
  // With one execution at most, a task that a fault caught is failed; with three, one that three faults caught.
  const maxAttempts = count === 1 ? pick([1, 3, 100], [0.6, 0.1, 0.3]) : pick([1, 3, 100], [0.02, 0.15, 0.83]);
  const named = maxAttempts === 1 || random() < 0.2;
  // Its name tells strikes which task may run only once.
  const ids = named ? Array.from({ length: count }, () => `own-${own++}${maxAttempts === 1 ? ONCE : ""}`) : null;
  const orders = Array.from({ length: count }, () => order(maxAttempts, count === 1));
  const ends: Submit["ends"] = maxAttempts === 100 && orders.every(({ fail }) => !fail) ? ["ok"] : ["ok", "failed"];
  write({ type: "submit", at: moment(), call, pool: "default", kind, ids, count, maxAttempts, ends });
  return { count, done: finish(call, kind, orders, ids, maxAttempts) };
}

function order(maxAttempts: number, slow: boolean): Order {
  const ms = slow ? 50 + Math.floor(random() * 250) : random() < 0.6 ? 0 : Math.floor(random() * 20);
  const fate = random();
  if (fate < HOPELESS) return { ms, fail: true };
  return fate < HOPELESS + FAILING && maxAttempts > 1 ? { ms, failUntil: 2 } : { ms };
}

async function finish(
  call: string,
  kind: string,
  orders: readonly Order[],
  ids: readonly string[] | null,
  maxAttempts: number,
): Promise<void> {
  const priority = pick(["normal", "high", "low"] as const, [0.8, 0.1, 0.1]);
  const common = { maxAttempts, priority };
  const [first] = orders;
  try {
    if (orders.length === 1 && first !== undefined) {
      const id = ids?.[0];
      const task = await client.submit(kind, first, id === undefined ? common : { ...common, id });
      write({ type: "accepted", at: moment(), call, ids: [task.id] });
      accepted++;
      got(await task.result());
      return;
    }
    const batch = await sendArray(client, kind, orders, ids, common);
    write({ type: "accepted", at: moment(), call, ids: batch.map(({ id }) => id) });
    accepted += batch.length;
    for await (const result of batch.results()) got(result);
  } catch (error) {
    const code = error instanceof VgasError ? error.code : String(error);
    write({ type: "unknown", at: moment(), call, code });
    throw error;
  }
}

function sendArray(
  to: Client,
  kind: string,
  orders: readonly Order[],
  ids: readonly string[] | null,
  common: { readonly maxAttempts: number; readonly priority: "normal" | "high" | "low" },
): ReturnType<Client["submitMany"]> {
  const named = (_: unknown, i: number): { id?: string } => {
    const id = ids?.[i];
    return id === undefined ? {} : { id };
  };
  return to.submitMany(kind, orders, { ...common, array: 1_000, task: named });
}

function got({ status }: TaskResult): void {
  results++;
  statuses[status] = (statuses[status] ?? 0) + 1;
}

/** One of `values`, each with its probability. */
function pick<T>(values: readonly [T, ...T[]], chances: readonly number[]): T {
  let rest = random();
  for (const [i, value] of values.entries()) {
    rest -= chances[i] ?? 0;
    if (rest < 0) return value;
  }
  return values[0];
}
