/**
 * A BullMQ worker whose jobs give their data back. A job whose data has `begins` says in that file when it begins, as
 * recovery-agent.ts does, and its first execution lasts `ms`, or until the file `until` is there.
 *
 * Arguments: port of Redis, queue, concurrency.
 */
import { appendFileSync, existsSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { type Job, loadBullMq } from "./bullmq-package.ts";

const [port = "", queue = "", concurrency = "1"] = process.argv.slice(2);
const { Worker } = loadBullMq();

interface Order {
  readonly begins?: string;
  readonly until?: string;
  readonly ms?: number;
}

async function work({ id, data, attemptsStarted }: Job): Promise<unknown> {
  const { begins, until, ms } = data as Order;
  if (begins !== undefined) appendFileSync(begins, `${id} ${attemptsStarted} ${process.pid} ${Date.now()}\n`);
  if (ms !== undefined) await pause(ms);
  while (attemptsStarted === 1 && until !== undefined && !existsSync(until)) await pause(50);
  return data;
}

const worker = new Worker(queue, work, {
  connection: { host: "127.0.0.1", port: Number(port), maxRetriesPerRequest: null },
  concurrency: Number(concurrency),
});
await worker.waitUntilReady();
process.on("SIGTERM", async () => {
  await worker.close();
  process.exit(0);
});
console.log("ready");
