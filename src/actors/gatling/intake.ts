/**
 * Turns pulled messages into tasks in hand, or into verdicts.
 *
 * 1. A first delivery of a task without an id of its own runs at once: nothing can be known of it.
 * 2. Everything else is looked up first (past.ts).
 * 3. A first delivery at or below the highest sequence that was handed out before we (re)connected is a delivery that the
 *    broker forgot: first deliveries of a priority come in order. It is treated as a later one.
 */
import type { Bus } from "../../bus/bus.ts";
import { type ParsedTask, readEncoding, readTasks } from "../../bus/codec/task.ts";
import { nakTask, type PulledMessage } from "../../bus/pull.ts";
import type { Clock } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import type { Logger } from "../../protocols/logger.ts";
import { HEADERS, type LaneName, type Names, type Priority } from "../../protocols/subjects.ts";
import { parseEnvelope, type TaskEnvelope } from "../../protocols/task.ts";
import { automaticId, isAutomaticId, isToken } from "../../protocols/tokens.ts";
import { traceparentOf } from "../../protocols/traceparent.ts";
import type { Doubtful, Past } from "./past.ts";
import { ArrayInHand, type TaskInHand } from "./task-in-hand.ts";
import type { Condemned, Verdicts } from "./verdicts.ts";

export interface IntakeOptions {
  readonly lane: LaneName;
  readonly names: Names;
  readonly bus: Bus;
  readonly verdicts: Verdicts;
  readonly past: Past;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Highest stream sequence of a priority handed out before this dispatcher (re)connected. */
  readonly forgottenBelow: (priority: Priority) => number;
  /** Counts the restarts of the broker: what was pulled before one is not ours any more. */
  readonly generation: () => number;
  /** Takes tasks that may run now. */
  readonly accept: (tasks: readonly TaskInHand[]) => void;
  readonly onArray: (array: ArrayInHand) => void;
  readonly onArraySettled: (array: ArrayInHand) => void;
  /** Its message comes back. */
  readonly onArrayAbandoned: (array: ArrayInHand) => void;
}

/** Pause before a message is asked for again of which a host still runs something, ms. */
const STILL_RUNNING_MS = 1_000;

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
  take(message: PulledMessage, priority: Priority): number {
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
      this.#sort(message, priority, parsed, array, array ? element : undefined, ready, doubtful);
    }
    if (ready.length > 0) this.#options.accept(ready);
    if (doubtful.length > 0) this.#lookUp(message, array, doubtful);
    return read.tasks.length;
  }

  #openArray(message: PulledMessage, elements: number): ArrayInHand {
    const array = new ArrayInHand(
      message.ack,
      elements,
      this.#options.clock,
      this.#options.onArraySettled,
      this.#options.onArrayAbandoned,
    );
    this.#options.onArray(array);
    return array;
  }

  #sort(
    message: PulledMessage,
    priority: Priority,
    parsed: ParsedTask,
    array: ArrayInHand | undefined,
    element: number | undefined,
    ready: TaskInHand[],
    doubtful: Doubtful[],
  ): void {
    let envelope: TaskEnvelope;
    try {
      if (!parsed.ok) throw parsed.error;
      envelope = parseEnvelope(parsed.fields, this.#options.lane, priority);
    } catch (error) {
      this.#refuse(message, parsed, array ? { array, element: element as number } : undefined, error);
      return;
    }
    const requeuedId = array ? undefined : requeued(message);
    const submittedAt = requeuedId === undefined ? message.timestampMs : Number(message.header(HEADERS.submittedAt));
    const presumed = requeuedId === undefined ? 0 : Number(message.header(HEADERS.attempts));
    const redelivered = message.deliveries > 1 || message.sequence <= this.#options.forgottenBelow(priority);
    const task: TaskInHand = {
      id: requeuedId ?? envelope.id ?? automaticId(message.sequence, element),
      lane: this.#laneKey,
      priority,
      generation: this.#options.generation(),
      sequence: message.sequence,
      submittedAt,
      timeoutMs: envelope.timeoutMs,
      maxAttempts: envelope.maxAttempts,
      expiresAt: envelope.expiresMs === undefined ? undefined : submittedAt + envelope.expiresMs,
      replyTo: envelope.replyTo,
      traceparent: traceparentOf(message.header(HEADERS.traceparent)),
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
      traceparent: traceparentOf(message.header(HEADERS.traceparent)),
      encoding: parsed?.encoding ?? readEncoding(message.data),
      body: parsed?.body ?? message.data,
      ack: message.ack,
      array: place?.array,
    };
    this.#options.verdicts.fail(this.#options.lane, condemned, parsed?.ok ? "invalid" : "malformed", error);
  }

  #lookUp(message: PulledMessage, array: ArrayInHand | undefined, doubtful: readonly Doubtful[]): void {
    const { past, accept, logger } = this.#options;
    this.#lookups += doubtful.length;
    past.resolve(doubtful).then(
      ({ runnable, wait }) => {
        this.#lookups -= doubtful.length;
        if (wait) this.#comeBack(message, array);
        accept(runnable);
      },
      (error: unknown) => {
        this.#lookups -= doubtful.length;
        // Nothing was decided: un-acknowledged, the message comes back by ack_wait.
        logger.warn({ sequence: message.sequence, error: String(error) }, "a task could not be looked up");
        array?.abandon();
        accept([]);
      },
    );
  }

  /** A host still runs some of it, or could not be asked: the message is to come back a little later. */
  #comeBack(message: PulledMessage, array: ArrayInHand | undefined): void {
    array?.abandon();
    nakTask(this.#options.bus, message.ack, STILL_RUNNING_MS);
  }
}

/** The id that an array element keeps when it is published again on its own. Headers that no dispatcher writes count as none. */
function requeued(message: PulledMessage): string | undefined {
  const id = message.header(HEADERS.taskId);
  const submittedAt = Number(message.header(HEADERS.submittedAt) ?? Number.NaN);
  const attempts = Number(message.header(HEADERS.attempts) ?? Number.NaN);
  const whole =
    Number.isSafeInteger(submittedAt) && submittedAt >= 0 && Number.isSafeInteger(attempts) && attempts >= 0;
  return id !== undefined && isToken(id) && whole ? id : undefined;
}
