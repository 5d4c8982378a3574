/**
 * Load whose arrivals do not wait for what came before (an open loop). What stalls is charged for everything that was to be sent
 * meanwhile: each time is counted from when the task was to be sent, not from when it was.
 */
import { Worker } from "node:worker_threads";

/** Wakes the main thread when something is due: a timer of Node's loop is late by up to a millisecond, this by a tenth of one. */
const PACER = `
const { parentPort, workerData: { flags, headStartMs, intervalMs, count } } = require("node:worker_threads");
const nowMs = () => Number(process.hrtime.bigint()) / 1e6;
const startMs = nowMs() + headStartMs;
parentPort.postMessage(startMs);
for (let due = startMs, i = 0; i < count; i++, due += intervalMs) {
  const left = due - nowMs();
  if (left > 0) Atomics.wait(flags, 1, 0, left);
  if (Atomics.exchange(flags, 0, 1) === 0) parentPort.postMessage(0);
}`;
/** For the thread's word of when it begins. */
const HEAD_START_MS = 20;

export interface Load {
  readonly perSecond: number;
  readonly seconds: number;
}

/** Begins a round trip at each of its times, and resolves with the milliseconds that each took, when all are over. */
export async function openLoop(roundTrip: () => Promise<void>, { perSecond, seconds }: Load): Promise<number[]> {
  const count = Math.max(1, Math.round(perSecond * seconds));
  const intervalMs = 1_000 / perSecond;
  // The first says that the main thread was woken and has not looked yet.
  const flags = new Int32Array(new SharedArrayBuffer(8));
  const workerData = { flags, headStartMs: HEAD_START_MS, intervalMs, count };
  const pacer = new Worker(PACER, { eval: true, workerData });
  const times: number[] = [];
  try {
    await new Promise<void>((resolve, reject) => {
      let startMs = 0;
      let sent = 0;
      pacer.on("error", reject);
      pacer.on("message", (word: number) => {
        // The time to start comes first: a thread needs longer than many intervals until it runs.
        if (startMs === 0) {
          startMs = word;
          return;
        }
        Atomics.store(flags, 0, 0);
        for (; sent < count && startMs + sent * intervalMs <= nowMs(); sent++) {
          const due = startMs + sent * intervalMs;
          roundTrip().then(() => {
            times.push(nowMs() - due);
            if (times.length === count) resolve();
          }, reject);
        }
      });
    });
  } finally {
    await pacer.terminate();
  }
  return times;
}

/** Of one clock in all threads. */
function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
