/**
 * Turns pulled messages into tasks in hand, or into verdicts.
 *
 * 1. A first delivery of a task without an id of its own runs at once: nothing can be known of it.
 * 2. Everything else is looked up first: is a result stored? how many executions are recorded? An earlier delivery of
 *    which nothing is recorded counts as one execution, because it cannot be known that it was none.
 * 3. The start of an execution that was looked up is recorded before the task is in hand.
 * 4. A first delivery at or below the highest sequence that was handed out before we (re)connected is a delivery that the
 *    broker forgot: first deliveries come in order. It is treated as a later one.
 */
import type { AttemptsLog } from "../../bus/attempts.ts";
import type { Bus } from "../../bus/bus.ts";
import { type ParsedTask, readEncoding, readTasks, type TaskEncoding } from "../../bus/codec/task.ts";
import { nakTask, type PulledMessage } from "../../bus/pull.ts";
import type { ResultStore } from "../../bus/results.ts";
import type { Clock } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import type { AttemptsRecord } from "../../protocols/host-messages.ts";
import type { Logger } from "../../protocols/logger.ts";
import { HEADERS, type LaneName, type Names } from "../../protocols/subjects.ts";
import { parseEnvelope, type TaskEnvelope } from "../../protocols/task.ts";
import { automaticId, isAutomaticId, isToken } from "../../protocols/tokens.ts";
import { ArrayInHand, type TaskInHand } from "./task-in-hand.ts";
import type { Condemned, Verdicts } from "./verdicts.ts";

export interface IntakeOptions {
  readonly lane: LaneName;
  readonly names: Names;
  readonly bus: Bus;
  readonly verdicts: Verdicts;
  readonly results: ResultStore;
  readonly attempts: AttemptsLog;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Highest stream sequence handed out before this dispatcher (re)connected. */
  readonly forgottenBelow: () => number;
  /** Takes tasks that may run now. */
  readonly accept: (tasks: readonly TaskInHand[]) => void;
  readonly onArray: (array: ArrayInHand) => void;
  readonly onArraySettled: (array: ArrayInHand) => void;
}

/** A task that is looked up before it may run. */
interface Doubtful {
  readonly task: TaskInHand;
  readonly encoding: TaskEncoding;
  /** Executions that count although nothing is recorded. */
  readonly presumed: number;
  /** It was delivered before, so records may exist. */
  readonly seenBefore: boolean;
}

/** Longest pause asked of the broker for a task that is to wait for its backoff, ms: clocks of two machines may differ. */
const MAX_DELAY_MS = 3_600_000;

export class Intake {
  readonly #options: IntakeOptions;
  readonly #laneKey: string;
  #lookups = 0;

  constructor(options: IntakeOptions) {
    this.#options = options;
    this.#laneKey = options.names.consumer(options.lane);
  }

  /** Tasks that are being looked up and are not yet in hand. */
  get lookups(): number {
    return this.#lookups;
  }

  /** Takes one pulled message. Returns the number of tasks in it. */
  take(message: PulledMessage): number {
    let read: ReturnType<typeof readTasks>;
    try {
      read = readTasks(message.data);
    } catch (error) {
      this.#refuse(message, undefined, undefined, error);
      return 0;
    }
    const array = read.array ? this.#openArray(message, read.tasks.length) : undefined;
    const ready: TaskInHand[] = [];
    const doubtful: Doubtful[] = [];
    for (const [element, parsed] of read.tasks.entries()) {
      this.#sort(message, parsed, array, array ? element : undefined, ready, doubtful);
    }
    if (ready.length > 0) this.#options.accept(ready);
    if (doubtful.length > 0) this.#lookUp(message, doubtful);
    return read.tasks.length;
  }

  #openArray(message: PulledMessage, elements: number): ArrayInHand {
    const array = new ArrayInHand(message.ack, elements, this.#options.clock, this.#options.onArraySettled);
    this.#options.onArray(array);
    return array;
  }

  #sort(
    message: PulledMessage,
    parsed: ParsedTask,
    array: ArrayInHand | undefined,
    element: number | undefined,
    ready: TaskInHand[],
    doubtful: Doubtful[],
  ): void {
    let envelope: TaskEnvelope;
    try {
      if (!parsed.ok) throw parsed.error;
      envelope = parseEnvelope(parsed.fields, this.#options.lane);
    } catch (error) {
      this.#refuse(message, parsed, array ? { array, element: element as number } : undefined, error);
      return;
    }
    const requeuedId = array ? undefined : requeued(message);
    const submittedAt = requeuedId === undefined ? message.timestampMs : Number(message.header(HEADERS.submittedAt));
    const presumed = Number(message.header(HEADERS.attempts) ?? 0) || 0;
    const redelivered = message.deliveries > 1 || message.sequence <= this.#options.forgottenBelow();
    const task: TaskInHand = {
      id: requeuedId ?? envelope.id ?? automaticId(message.sequence, element),
      lane: this.#laneKey,
      sequence: message.sequence,
      submittedAt,
      timeoutMs: envelope.timeoutMs,
      maxAttempts: envelope.maxAttempts,
      expiresAt: envelope.expiresMs === undefined ? undefined : submittedAt + envelope.expiresMs,
      replyTo: envelope.replyTo,
      attempt: 1,
      ack: array ? "" : message.ack,
      body: parsed.body,
      array,
    };
    if (!redelivered && requeuedId === undefined && envelope.id === undefined) ready.push(task);
    else {
      doubtful.push({
        task,
        encoding: parsed.encoding,
        presumed: redelivered ? presumed + 1 : presumed,
        seenBefore: redelivered || requeuedId !== undefined,
      });
    }
  }

  /** Bytes that are no task, or a task with a bad field. */
  #refuse(
    message: PulledMessage,
    parsed: ParsedTask | undefined,
    place: { readonly array: ArrayInHand; readonly element: number } | undefined,
    thrown: unknown,
  ): void {
    const error = thrown instanceof VgasError ? thrown : new VgasError("INVALID", String(thrown), { cause: thrown });
    const named = parsed?.ok ? parsed.fields.id : undefined;
    const condemned: Condemned = {
      id:
        isToken(named) && !isAutomaticId(named)
          ? named
          : (requeued(message) ?? automaticId(message.sequence, place?.element)),
      submittedAt: message.timestampMs,
      attempts: 0,
      replyTo: undefined,
      encoding: parsed?.encoding ?? readEncoding(message.data),
      body: parsed?.body ?? message.data,
      ack: message.ack,
      array: place?.array,
    };
    this.#options.verdicts.fail(this.#options.lane, condemned, parsed?.ok ? "invalid" : "malformed", error);
  }

  #lookUp(message: PulledMessage, doubtful: readonly Doubtful[]): void {
    this.#lookups += doubtful.length;
    this.#resolve(doubtful).then(
      (tasks) => {
        this.#lookups -= doubtful.length;
        if (tasks.length > 0) this.#options.accept(tasks);
      },
      (error: unknown) => {
        this.#lookups -= doubtful.length;
        // Nothing was decided: un-acknowledged, the message comes back after ack_wait.
        this.#options.logger.warn(
          { sequence: message.sequence, error: String(error) },
          "a task could not be looked up",
        );
        this.#options.accept([]);
      },
    );
  }

  /** The tasks that may run, their starts recorded. */
  async #resolve(doubtful: readonly Doubtful[]): Promise<readonly TaskInHand[]> {
    const { lane, results } = this.#options;
    const stored = await results.findMany(
      lane.pool,
      doubtful.map(({ task }) => task.id),
    );
    const tasks = await Promise.all(
      doubtful.map((each) => {
        const result = stored.get(each.task.id);
        return result === undefined ? this.#recordStart(each) : this.#alreadyDone(each.task, result);
      }),
    );
    return tasks.filter((task) => task !== undefined);
  }

  #alreadyDone(task: TaskInHand, result: Uint8Array): undefined {
    if (task.replyTo !== undefined) this.#options.results.reply(task.replyTo, result);
    this.#options.verdicts.settle(task);
  }

  async #recordStart(doubtful: Doubtful): Promise<TaskInHand | undefined> {
    const { attempts, lane, clock, bus } = this.#options;
    const { task, presumed, seenBefore } = doubtful;
    if (!seenBefore) return task;
    const record = await attempts.read(lane.pool, task.id);
    const delayMs = Math.min(MAX_DELAY_MS, (record?.notBefore ?? 0) - clock.now());
    if (delayMs > 0 && task.ack !== "") {
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
    const last = record?.error ? `; the last error was ${record.error.code}: ${record.error.message}` : "";
    const error =
      task.maxAttempts === 1
        ? new VgasError("INTERRUPTED", `it cannot be known whether the only attempt ran, so it is not run again${last}`)
        : new VgasError(
            "CRASHED_REPEATEDLY",
            `started ${task.maxAttempts} times without an end, as often as it may be${last}`,
          );
    this.#options.verdicts.fail(
      this.#options.lane,
      { ...task, encoding, attempts: task.maxAttempts },
      "crashed-repeatedly",
      error,
    );
  }
}

/** The id that an array element keeps when it is published again on its own. */
function requeued(message: PulledMessage): string | undefined {
  const id = message.header(HEADERS.taskId);
  return id !== undefined && isToken(id) && Number.isFinite(Number(message.header(HEADERS.submittedAt)))
    ? id
    : undefined;
}
