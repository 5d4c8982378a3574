/**
 * What is known of tasks that were, or may have been, delivered before.
 *
 * 1. A task whose result is stored is settled and not run again.
 * 2. A task that a living host still runs is left to it. A host that does not answer is waited for: it answers, or is
 *    evicted. Nobody is asked about an attempt that is recorded as ended.
 * 3. An earlier delivery of which nothing is recorded counts as one execution: it cannot be known that it was none.
 * 4. The start of the next execution is recorded before the task may run, and only if nothing was recorded since it was looked up:
 *    a dispatcher that stood still may have lost the task to another.
 * 5. An element of an array runs from the message that owns it, and from no other (bus/element-owners.ts).
 */
import type { AttemptsLog, RecordedAttempts } from "../../bus/attempts.ts";
import type { Bus } from "../../bus/bus.ts";
import { decodeMirrored, type TaskEncoding } from "../../bus/codec/task.ts";
import { nakTask } from "../../bus/pull.ts";
import type { ResultStore } from "../../bus/results.ts";
import { failpoint } from "../../failpoints/failpoints.ts";
import type { Clock } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import type { AttemptsRecord } from "../../protocols/host-messages.ts";
import type { Logger } from "../../protocols/logger.ts";
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
  readonly nonce: () => string;
  readonly logger: Logger;
  /** Publishes elements again, and takes them out of their array where that is done. */
  readonly giveBack: (lane: LaneName, tasks: readonly TaskInHand[]) => void;
  /** Those of `ids` that some host still runs; undefined if a host did not answer. */
  readonly stillRunning: (lane: LaneName, ids: readonly string[]) => Promise<ReadonlySet<string> | undefined>;
}

/** Longest pause asked of the broker for a task that is to wait, ms: clocks of two machines may differ. */
export const MAX_DELAY_MS = 3_600_000;

const WAIT: Resolution = { runnable: [], wait: true };

/** Results that are stored, by task. */
type Done = ReadonlyMap<string, Uint8Array>;

const NONE_DONE: Done = new Map();

export class Past {
  readonly #options: PastOptions;

  constructor(options: PastOptions) {
    this.#options = options;
  }

  /** Decides about the doubtful tasks of one message. */
  async resolve(all: readonly Doubtful[]): Promise<Resolution> {
    const { lane, results, attempts, stillRunning } = this.#options;
    const { doubtful, done } = await this.#unfold(all);
    const isOpen = ({ task, seenBefore }: Doubtful): boolean => seenBefore && !done.has(task.id);
    const records = await Promise.all(
      doubtful.map((each) => (isOpen(each) ? attempts.readRevision(lane.pool, each.task) : undefined)),
    );
    const unsure = doubtful.filter((each, i) => isOpen(each) && !records[i]?.record?.ended).map(({ task }) => task.id);
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

  /**
   * Of an array that was delivered before, the elements that were moved out of it are left to their own messages, and what is done is
   * not asked about one by one.
   */
  async #unfold(all: readonly Doubtful[]): Promise<{ readonly doubtful: readonly Doubtful[]; readonly done: Done }> {
    const { lane, results, attempts, giveBack } = this.#options;
    const array = all[0]?.task.array;
    if (array?.delivery === undefined) return { doubtful: all, done: NONE_DONE };
    const done = await results.findMany(
      lane.pool,
      all.map(({ task }) => task.id),
    );
    const isMoved = await Promise.all(
      all.map(async ({ task: { id, element = "" } }) =>
        done.has(id) ? false : (await attempts.elements.moved(lane.pool, element)) !== undefined,
      ),
    );
    const moved = all.filter((_, i) => isMoved[i]);
    if (moved.length === 0) return { doubtful: all, done };
    giveBack(
      lane,
      moved.map(({ task }) => task),
    );
    return { doubtful: all.filter((_, i) => !isMoved[i]), done };
  }

  #alreadyDone(task: TaskInHand, result: Uint8Array): undefined {
    if (task.replyTo !== undefined) this.#options.results.reply(task.replyTo, result);
    this.#options.verdicts.settleDone(this.#options.lane, task, result);
    const { cancels, lane, now } = this.#options;
    if (task.now !== undefined) now.accepted(task, (decodeMirrored(result).value as TaskResult).agent ?? "");
    if (cancels.has(lane.pool, task.id)) cancels.reached(lane.pool, task.id);
  }

  async #recordStart(doubtful: Doubtful, recorded: RecordedAttempts | undefined): Promise<TaskInHand | undefined> {
    const { attempts, lane, clock, bus, nonce, logger } = this.#options;
    const { task, presumed, seenBefore } = doubtful;
    if (!seenBefore) return task;
    if (!(await this.#owns(task))) return undefined;
    const record = recorded?.record;
    const leftMs = (record?.notBefore ?? 0) - clock.now();
    const delayMs = Math.min(MAX_DELAY_MS, leftMs, record?.delayMs ?? Number.POSITIVE_INFINITY);
    if (record && delayMs > 0 && task.ack !== "") {
      // The clock of whoever wrote it is ahead: the pause is made once, by the broker, and not again at the next delivery.
      if (record.delayMs !== undefined && leftMs > record.delayMs) {
        const paused = { ...record, notBefore: undefined, by: nonce() };
        if ((await attempts.follow(lane.pool, task, paused, recorded)) === undefined) return undefined;
      }
      nakTask(bus, task.ack, delayMs);
      return undefined;
    }
    const attempt = (record?.attempts ?? presumed) + 1;
    if (attempt > task.maxAttempts) {
      this.#exhausted(doubtful, record);
      return undefined;
    }
    const start = { attempts: attempt, by: nonce(), ...(record?.error ? { error: record.error } : {}) };
    const revision = await attempts.follow(lane.pool, task, start, recorded);
    if (revision !== undefined) return { ...task, attempt, revision };
    failpoint("task.outrun");
    // Un-acknowledged by us: whoever has recorded more has it, or it comes back by ack_wait.
    logger.info(
      { task: task.id },
      "a task was recorded by another dispatcher while it was looked up; it is left to it",
    );
    task.array?.abandon();
    return undefined;
  }

  /** Whether this message may run the task. If not, it is let go: another message has it. */
  async #owns(task: TaskInHand): Promise<boolean> {
    const { attempts, lane, giveBack, verdicts } = this.#options;
    const { element, array, sequence } = task;
    if (element === undefined) return true;
    if (array !== undefined) {
      if (await attempts.elements.keep(lane.pool, element, array.delivery ?? "")) return true;
      giveBack(lane, [task]);
      return false;
    }
    if (await attempts.elements.claim(lane.pool, element, sequence)) return true;
    failpoint("copy.dropped");
    verdicts.settle(task);
    return false;
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
