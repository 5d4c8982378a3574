/**
 * What is known of tasks that were, or may have been, delivered before.
 *
 * 1. A task whose result is stored is settled and not run again.
 * 2. A task that a living host still runs is left to it. A host that does not answer is waited for: it answers, or is
 *    evicted. Nobody is asked about an attempt that is recorded as ended.
 * 3. An earlier delivery of which nothing is recorded counts as one execution: it cannot be known that it was none.
 * 4. The start of the next execution is recorded before the task may run.
 */
import type { AttemptsLog } from "../../bus/attempts.ts";
import type { Bus } from "../../bus/bus.ts";
import { decodeMirrored, type TaskEncoding } from "../../bus/codec/task.ts";
import { nakTask } from "../../bus/pull.ts";
import type { ResultStore } from "../../bus/results.ts";
import { failpoint } from "../../failpoints/failpoints.ts";
import type { Clock } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import type { AttemptsRecord } from "../../protocols/host-messages.ts";
import type { TaskResult } from "../../protocols/result.ts";
import type { LaneName } from "../../protocols/subjects.ts";
import type { Cancels } from "./cancels.ts";
import type { Now } from "./now.ts";
import type { TaskInHand } from "./task-in-hand.ts";
import type { Verdicts } from "./verdicts.ts";

/** A task that is looked up before it may run. */
export interface Doubtful {
  readonly task: TaskInHand;
  readonly encoding: TaskEncoding;
  /** Executions that count although nothing is recorded. */
  readonly presumed: number;
  /** It was delivered before, so records may exist, or a host may run it. */
  readonly seenBefore: boolean;
}

/** `wait`: something of the message still runs, so all of it is to come back later. */
export interface Resolution {
  readonly runnable: readonly TaskInHand[];
  readonly wait: boolean;
}

export interface PastOptions {
  readonly lane: LaneName;
  readonly bus: Bus;
  readonly verdicts: Verdicts;
  readonly results: ResultStore;
  readonly attempts: AttemptsLog;
  readonly clock: Clock;
  readonly cancels: Pick<Cancels, "has" | "reached">;
  readonly now: Pick<Now, "accepted">;
  /** Those of `ids` that some host still runs; undefined if a host did not answer. */
  readonly stillRunning: (lane: LaneName, ids: readonly string[]) => Promise<ReadonlySet<string> | undefined>;
}

/** Longest pause asked of the broker for a task that is to wait, ms: clocks of two machines may differ. */
export const MAX_DELAY_MS = 3_600_000;

const WAIT: Resolution = { runnable: [], wait: true };

export class Past {
  readonly #options: PastOptions;

  constructor(options: PastOptions) {
    this.#options = options;
  }

  /** Decides about the doubtful tasks of one message. */
  async resolve(doubtful: readonly Doubtful[]): Promise<Resolution> {
    const { lane, results, attempts, stillRunning } = this.#options;
    const records = await Promise.all(
      doubtful.map(({ task, seenBefore }) => (seenBefore ? attempts.read(lane.pool, task.id) : undefined)),
    );
    const unsure = doubtful.filter(({ seenBefore }, i) => seenBefore && !records[i]?.ended).map(({ task }) => task.id);
    // In this order: what ends between the two questions is found stored.
    const running = unsure.length > 0 ? await stillRunning(lane, unsure) : new Set<string>();
    const ids = doubtful.map(({ task }) => task.id);
    const stored = await results.findMany(lane.pool, ids);
    if (running ? ids.some((id) => running.has(id) && !stored.has(id)) : unsure.some((id) => !stored.has(id)))
      return WAIT;
    const tasks = await Promise.all(
      doubtful.map((each, i) => {
        const result = stored.get(each.task.id);
        return result === undefined ? this.#recordStart(each, records[i]) : this.#alreadyDone(each.task, result);
      }),
    );
    return { runnable: tasks.filter((task) => task !== undefined), wait: false };
  }

  #alreadyDone(task: TaskInHand, result: Uint8Array): undefined {
    if (task.replyTo !== undefined) this.#options.results.reply(task.replyTo, result);
    this.#options.verdicts.settle(task);
    const { cancels, lane, now } = this.#options;
    if (task.now !== undefined) now.accepted(task, (decodeMirrored(result).value as TaskResult).agent ?? "");
    if (cancels.has(lane.pool, task.id)) cancels.reached(lane.pool, task.id);
  }

  async #recordStart(doubtful: Doubtful, record: AttemptsRecord | undefined): Promise<TaskInHand | undefined> {
    const { attempts, lane, clock, bus } = this.#options;
    const { task, presumed, seenBefore } = doubtful;
    if (!seenBefore) return task;
    const leftMs = (record?.notBefore ?? 0) - clock.now();
    const delayMs = Math.min(MAX_DELAY_MS, leftMs, record?.delayMs ?? Number.POSITIVE_INFINITY);
    if (record && delayMs > 0 && task.ack !== "") {
      // The clock of whoever wrote it is ahead: the pause is made once, by the broker, and not again at the next delivery.
      if (record.delayMs !== undefined && leftMs > record.delayMs)
        await attempts.write(lane.pool, task.id, { ...record, notBefore: undefined });
      nakTask(bus, task.ack, delayMs);
      return undefined;
    }
    const attempt = (record?.attempts ?? presumed) + 1;
    if (attempt > task.maxAttempts) {
      this.#exhausted(doubtful, record);
      return undefined;
    }
    await attempts.write(lane.pool, task.id, { attempts: attempt, ...(record?.error ? { error: record.error } : {}) });
    return { ...task, attempt };
  }

  #exhausted({ task, encoding }: Doubtful, record: AttemptsRecord | undefined): void {
    failpoint("task.exhausted");
    const last = record?.error ? `; the last error was ${record.error.code}: ${record.error.message}` : "";
    const error =
      task.maxAttempts === 1
        ? new VgasError("INTERRUPTED", `it cannot be known whether the only attempt ran, so it is not run again${last}`)
        : new VgasError(
            "CRASHED_REPEATEDLY",
            `started ${task.maxAttempts} times without an end, as often as it may be${last}`,
          );
    const condemned = { ...task, encoding, attempts: task.maxAttempts };
    this.#options.verdicts.fail(this.#options.lane, condemned, "crashed-repeatedly", error);
  }
}
