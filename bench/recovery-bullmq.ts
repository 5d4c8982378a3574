/**
 * What a killed worker costs with BullMQ at its defaults: a job's lock lasts 30 s, and every 30 s the others look for jobs that had
 * none the last time either. So it takes up to a minute, at hardly any cost: several are killed side by side.
 */
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { Bench } from "./benchmark.ts";
import { type Begin, begunIn } from "./recovery-swarm.ts";
import type { BullMq } from "./rivals/bullmq.ts";

const JOBS = 16;
/** Whoever is left has room for all of them. */
const CONCURRENCY = JOBS;
/** Locks are renewed so often: the kill comes at any moment between two renewals. */
const RENEWAL_MS = 15_000;
const LIMIT_MS = 120_000;
const LOOK_MS = 20;

/** Kills `workers` workers, each of a system of its own, and resolves with what began again how long after the kill. */
export async function stalledJobs(bullmq: BullMq, workers: number, bench: Bench): Promise<readonly Begins[]> {
  return await Promise.all(Array.from({ length: workers }, () => stalledJobsOfOne(bullmq, bench)));
}

/** What began again, and when its worker was killed. */
export interface Begins {
  readonly killedAt: number;
  readonly again: readonly Begin[];
}

async function stalledJobsOfOne(bullmq: BullMq, { log }: Bench): Promise<Begins> {
  const dir = mkdtempSync(join(tmpdir(), "vgas-recovery-bullmq-"));
  const system = await bullmq.start({ workers: 2, concurrency: CONCURRENCY });
  try {
    const [begins, until] = [join(dir, "begins"), join(dir, "release")];
    await system.add(JOBS, { begins, until });
    await became(() => begunIn(begins).length >= JOBS, "all jobs to begin");
    const ofWorker = ({ pid }: ChildProcess): number =>
      begunIn(begins).filter(({ host }) => host === String(pid)).length;
    const [victim] = [...system.workers].sort((a, b) => ofWorker(b) - ofWorker(a)) as [ChildProcess];
    const lost = ofWorker(victim);
    await pause(Math.random() * RENEWAL_MS);
    const killedAt = Date.now();
    victim.kill("SIGKILL");
    const again = (): readonly Begin[] => begunIn(begins).filter(({ attempt }) => attempt > 1);
    await became(() => again().length >= lost, "the jobs to begin again");
    log(`BullMQ: its jobs begin again ${((Date.now() - killedAt) / 1_000).toFixed(1)} s after their worker was killed`);
    writeFileSync(until, "");
    return { killedAt, again: again() };
  } finally {
    await system.stop();
    rmSync(dir, { recursive: true, force: true });
  }
}

async function became(check: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + LIMIT_MS;
  while (!check()) {
    if (performance.now() > deadline) throw new Error(`gave up waiting for ${what}`);
    await pause(LOOK_MS);
  }
}
