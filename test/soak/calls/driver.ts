/**
 * A user of the library, in a process of its own: does everything it offers, over and over, for so many seconds, and reports
 * what came of it. Arguments: home of the swarm, seconds.
 */
import { setTimeout as pause } from "node:timers/promises";
import { connect, type TaskResult } from "vgas";
import { Tally } from "./tally.ts";

const [home = "", seconds = "0"] = process.argv.slice(2);
const until = performance.now() + Number(seconds) * 1_000;
const client = await connect({ home });
const tally = new Tally();
/** The swarm is to be under load, and not buried: what is submitted waits for its results. */
const PAUSE_MS = 20;
const BATCH = 200;

await Promise.all([
  ...Array.from({ length: 8 }, (_, i) => over(() => single(i))),
  over(batch),
  over(now),
  over(cancelRunning),
  over(cancelWaiting),
  over(events),
  over(reattach, 2_000),
  over(status),
]);
await tally.count("close", client.close());
console.log(JSON.stringify(tally.report));

async function over(step: () => Promise<void>, pauseMs = PAUSE_MS): Promise<void> {
  while (performance.now() < until) {
    await step();
    await pause(pauseMs);
  }
}

async function single(loop: number): Promise<void> {
  const priority = (["high", "normal", "low"] as const)[loop % 3] ?? "normal";
  const task = await tally.count("submit", client.submit("echo", loop, { priority }));
  if (task === undefined) return;
  tally.accepted++;
  const result = await tally.count("result", task.result());
  ended("result", result, "ok", loop);
}

async function batch(): Promise<void> {
  const inputs = Array.from({ length: BATCH }, (_, i) => i);
  const tasks = await tally.count("submitMany", client.submitMany("echo", inputs));
  if (tasks === undefined) return;
  tally.accepted += tasks.length;
  let sum = 0;
  const reading = async (): Promise<void> => {
    for await (const result of tasks.results()) {
      sum += Number(result.output);
      ended("batch results", result, "ok");
    }
  };
  await tally.count("batch results", reading());
  tally.check("batch results", sum === (BATCH * (BATCH - 1)) / 2, `the outputs add up to ${sum}`);
  const progress = await tally.count("batch progress", tasks.progress());
  tally.check("batch progress", progress === undefined || progress.ok === BATCH, `says ${JSON.stringify(progress)}`);
}

async function now(): Promise<void> {
  // Whether an agent is free is the swarm's to say; that an answer was lost with the broker can only be told as TIMEOUT.
  const task = await tally.count("now", client.now("echo", "now"), ["RESOURCE_LIMIT", "TIMEOUT"]);
  if (task === undefined) return;
  tally.accepted++;
  ended("now result", await tally.count("now result", task.result()), "ok", "now");
}

async function cancelRunning(): Promise<void> {
  const task = await tally.count("submit", client.submit("sleep", { ms: 600_000 }, { timeoutMs: 900_000 }));
  if (task === undefined) return;
  tally.accepted++;
  await pause(200);
  await tally.count("cancel", task.cancel());
  ended("cancelled result", await tally.count("cancelled result", task.result()), "cancelled");
}

async function cancelWaiting(): Promise<void> {
  const task = await tally.count("submit", client.submit("echo", "later", { delayMs: 600_000 }));
  if (task === undefined) return;
  tally.accepted++;
  await tally.count("cancel", task.cancel());
  ended("cancelled result", await tally.count("cancelled result", task.result()), "cancelled");
}

/** Events are not stored, so some may be lost with the broker; what must not happen is an error, or no end. */
async function events(): Promise<void> {
  const task = await tally.count("submit", client.submit("steps", 5));
  if (task === undefined) return;
  tally.accepted++;
  const reading = async (): Promise<void> => {
    for await (const _ of task.events()) tally.add("event");
  };
  await tally.count("events", reading());
  ended("events result", await tally.count("events result", task.result()), "ok", 5);
}

/** Another client, made for one task that this one has submitted. */
async function reattach(): Promise<void> {
  const task = await tally.count("submit", client.submit("echo", "again"));
  if (task === undefined) return;
  tally.accepted++;
  const other = await tally.count("connect", connect({ home, timeoutMs: 60_000 }));
  if (other === undefined) return;
  ended(
    "reattached result",
    await tally.count("reattached result", other.handle(task.pool, task.id).result()),
    "ok",
    "again",
  );
  await other.close();
}

async function status(): Promise<void> {
  const task = await tally.count("submit", client.submit("echo", "where"));
  if (task === undefined) return;
  tally.accepted++;
  await tally.count("status", task.status());
  await tally.count("result", task.result());
}

function ended(call: string, result: TaskResult | undefined, wanted: TaskResult["status"], output?: unknown): void {
  if (result === undefined) return;
  tally.check(call, result.status === wanted, `${result.id} is ${result.status}: ${result.error?.message}`);
  if (output !== undefined)
    tally.check(call, result.output === output, `${result.id} gave ${JSON.stringify(result.output)}`);
}
