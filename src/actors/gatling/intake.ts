/**
 * Turns pulled messages into tasks in hand, or into verdicts.
 *
 * 0. A task that is not to start yet waits in the stream (delays.ts), an element of an array as a message of its own.
 * 1. A first delivery of a task without an id of its own runs at once: nothing can be known of it.
 * 2. Everything else is looked up first (past.ts).
 * 3. A first delivery at or below the highest sequence that was handed out before we (re)connected is a delivery that the
 *    broker forgot: first deliveries of a priority come in order. It is treated as a later one.
 */
import { type ParsedTask, readEncoding, readTasks } from "../../bus/codec/task.ts";
import { nakTask, type PulledMessage, workingOnTask } from "../../bus/pull.ts";
import { failpoint } from "../../failpoints/failpoints.ts";
import type { LaneMeter } from "../../metrics/lane-meters.ts";
import { VgasError } from "../../protocols/errors.ts";
import type { Logger } from "../../protocols/logger.ts";
import { HEADERS, type LaneName, type Names, type Priority } from "../../protocols/subjects.ts";
import { parseEnvelope, type TaskEnvelope } from "../../protocols/task.ts";
import { automaticId, isAutomaticId, isToken } from "../../protocols/tokens.ts";
import { traceparentOf } from "../../protocols/traceparent.ts";
import { type DelaysOptions, delayOf, postpone } from "./delays.ts";
import { Now } from "./now.ts";
import type { Doubtful, Past } from "./past.ts";
import { elementOfRequeued, requeued } from "./requeued.ts";
import { ArrayInHand, type TaskInHand } from "./task-in-hand.ts";
import type { Condemned, Verdicts } from "./verdicts.ts";

export interface IntakeOptions extends DelaysOptions {
  readonly names: Names;
  readonly verdicts: Verdicts;
  readonly meter: LaneMeter;
  readonly past: Past;
  readonly logger: Logger;
  /** Highest stream sequence of a priority handed out before this dispatcher (re)connected. */
  readonly forgottenBelow: (priority: Priority) => number;
  /** Counts the restarts of the broker: what was pulled before one is not ours any more. */
  readonly generation: () => number;
  readonly nonce: () => string;
  /** Publishes elements again that are not to run now. */
  readonly giveBack: (lane: LaneName, tasks: readonly TaskInHand[]) => void;
  /** Takes tasks that may run now. */
  readonly accept: (tasks: readonly TaskInHand[]) => void;
  readonly onArray: (array: ArrayInHand) => void;
  readonly onArraySettled: (array: ArrayInHand) => void;
  /** Its message comes back. */
  readonly onArrayAbandoned: (array: ArrayInHand) => void;
}

/** What the tasks of one message have in common. */
interface Source {
  readonly message: PulledMessage;
  readonly priority: Priority;
  readonly redelivered: boolean;
  readonly array: ArrayInHand | undefined;
  /** Id of an element that was published again on its own. */
  readonly requeuedId: string | undefined;
  readonly submittedAt: number;
  /** Executions of it that the message tells of. */
  readonly presumed: number;
  readonly traceparent: string | undefined;
}

/** What is to become of the tasks of one message. */
interface Sorted {
  readonly ready: TaskInHand[];
  readonly doubtful: Doubtful[];
  readonly later: TaskInHand[];
}

/** Pause before a message is asked for again of which a host still runs something, ms. */
const STILL_RUNNING_MS = 1_000;

export class Intake {
  readonly #options: IntakeOptions;
  readonly #laneKey: string;
  #lookups = 0;
  /** Ack subjects of what is looked up. */
  readonly #lookedUp = new Set<string>();

  constructor(options: IntakeOptions) {
    this.#options = options;
    this.#laneKey = options.names.consumer(options.lane);
  }

  /** Tasks that are being looked up and are not yet in hand. */
  get lookups(): number {
    return this.#lookups;
  }

  /** Tells the broker that what is looked up is still wanted: a look that takes longer than `ack_wait` must not bring it to another. */
  keepAlive(): void {
    for (const ack of this.#lookedUp) workingOnTask(this.#options.bus, ack);
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
    const redelivered = message.deliveries > 1 || message.sequence <= this.#options.forgottenBelow(priority);
    if (redelivered) this.#options.meter.redeliveries++;
    const array = read.array ? this.#openArray(message, redelivered, read.tasks.length) : undefined;
    const sorted: Sorted = { ready: [], doubtful: [], later: [] };
    const { ready, doubtful, later } = sorted;
    const source = sourceOf(message, priority, redelivered, array);
    for (let i = 0; i < read.tasks.length; i++) this.#sort(source, array && i, read.tasks[i] as ParsedTask, sorted);
    if (ready.length > 0) this.#options.accept(ready);
    if (doubtful.length > 0) this.#lookUp(message, array, doubtful, later);
    else if (later.length > 0) this.#options.giveBack(this.#options.lane, later);
    return read.tasks.length;
  }

  #openArray(message: PulledMessage, redelivered: boolean, elements: number): ArrayInHand {
    const array = new ArrayInHand(
      message.ack,
      redelivered ? this.#options.nonce() : undefined,
      elements,
      this.#options.clock,
      this.#options.onArraySettled,
      this.#options.onArrayAbandoned,
    );
    this.#options.onArray(array);
    return array;
  }

  /** `element`: its place in the array, if it is of one. */
  #sort(source: Source, element: number | undefined, parsed: ParsedTask, { ready, doubtful, later }: Sorted): void {
    const { message, priority, redelivered, array, requeuedId, submittedAt, presumed } = source;
    let envelope: TaskEnvelope;
    try {
      if (!parsed.ok) throw parsed.error;
      envelope = parseEnvelope(parsed.fields, this.#options.lane, priority);
    } catch (error) {
      this.#refuse(message, parsed, array ? { array, element: element as number } : undefined, error);
      return;
    }
    if (redelivered) failpoint("task.redelivered");
    const inArray = array && automaticId(message.sequence, element);
    const task: TaskInHand = {
      id: requeuedId ?? envelope.id ?? inArray ?? automaticId(message.sequence),
      lane: this.#laneKey,
      priority,
      generation: this.#options.generation(),
      sequence: message.sequence,
      submittedAt,
      timeoutMs: envelope.timeoutMs,
      maxAttempts: envelope.maxAttempts,
      expiresAt: envelope.expiresMs === undefined ? undefined : submittedAt + envelope.expiresMs,
      replyTo: envelope.replyTo,
      traceparent: source.traceparent,
      attempt: 1,
      // Under an id of a client's own another task may have been recorded.
      revision: envelope.id === undefined ? 0 : undefined,
      ack: array ? "" : message.ack,
      body: parsed.body,
      array,
      element: requeuedId === undefined ? inArray : elementOfRequeued(message),
      now: priority === "high" && !redelivered && !array ? Now.askOf(message) : undefined,
    };
    const { notBefore } = envelope;
    if (notBefore !== undefined && delayOf(notBefore, task.expiresAt, this.#options.clock.now()) > 0) {
      if (array) later.push(task);
      else {
        const seenBefore = redelivered || requeuedId !== undefined;
        this.#postpone(task, { notBefore, attempts: presumed, seenBefore, ownId: envelope.id !== undefined });
      }
    } else if (!redelivered && requeuedId === undefined && envelope.id === undefined) ready.push(task);
    else {
      doubtful.push({
        task,
        encoding: parsed.encoding,
        presumed: redelivered ? presumed + 1 : presumed,
        seenBefore: redelivered || requeuedId !== undefined,
      });
    }
  }

  #postpone(task: TaskInHand, known: Parameters<typeof postpone>[2]): void {
    const { accept, logger } = this.#options;
    this.#lookups++;
    postpone(this.#options, task, known)
      // Nothing was recorded: un-acknowledged, it comes back by ack_wait.
      .catch((error: unknown) => logger.warn({ task: task.id, error: String(error) }, "a task could not be postponed"))
      .finally(() => {
        this.#lookups--;
        accept([]);
      });
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

  /** `later` are given back only where the message itself does not come back: each time it does, they would wait once more. */
  #lookUp(
    message: PulledMessage,
    array: ArrayInHand | undefined,
    doubtful: readonly Doubtful[],
    later: readonly TaskInHand[],
  ): void {
    const { past, accept, giveBack, lane, logger } = this.#options;
    this.#lookups += doubtful.length;
    if (array === undefined) this.#lookedUp.add(message.ack);
    past.resolve(doubtful).then(
      ({ runnable, wait }) => {
        this.#lookedUp.delete(message.ack);
        this.#lookups -= doubtful.length;
        if (wait) this.#comeBack(message, array);
        else if (later.length > 0) giveBack(lane, later);
        accept(runnable);
      },
      (error: unknown) => {
        this.#lookedUp.delete(message.ack);
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

function sourceOf(
  message: PulledMessage,
  priority: Priority,
  redelivered: boolean,
  array: ArrayInHand | undefined,
): Source {
  const requeuedId = array ? undefined : requeued(message);
  return {
    message,
    priority,
    redelivered,
    array,
    requeuedId,
    submittedAt: requeuedId === undefined ? message.timestampMs : Number(message.header(HEADERS.submittedAt)),
    presumed: requeuedId === undefined ? 0 : Number(message.header(HEADERS.attempts)),
    traceparent: traceparentOf(message.header(HEADERS.traceparent)),
  };
}
