/**
 * Ends tasks that never reach an agent: bytes that are no task, tasks that expired, and tasks that were started as often
 * as they may be. Each gets its one stored result, and what failed for good a dead letter, before the message is
 * acknowledged.
 */
import type { Bus } from "../../bus/bus.ts";
import { encode } from "../../bus/codec/codec.ts";
import { encodeMirrored, readReplayOf, type TaskEncoding } from "../../bus/codec/task.ts";
import { makeUpLetter } from "../../bus/missing-letters.ts";
import type { Publisher } from "../../bus/publisher.ts";
import { ackTask } from "../../bus/pull.ts";
import type { ResultStore } from "../../bus/results.ts";
import type { TaskObjects } from "../../bus/task-objects.ts";
import type { LaneMeters } from "../../metrics/lane-meters.ts";
import type { Clock } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import type { Logger } from "../../protocols/logger.ts";
import type { DeadLetter, DeadReason, ResultStatus, TaskResult } from "../../protocols/result.ts";
import type { LaneName, Names } from "../../protocols/subjects.ts";
import { toWireError } from "../../protocols/wire-error.ts";
import type { ArrayInHand } from "./task-in-hand.ts";

/** What a verdict needs to know of a task, whether or not it could be read. */
export interface Condemned {
  readonly id: string;
  readonly submittedAt: number;
  readonly attempts: number;
  readonly replyTo: string | undefined;
  readonly traceparent: string | undefined;
  readonly encoding: TaskEncoding;
  readonly body: Uint8Array;
  readonly ack: string;
  readonly array: ArrayInHand | undefined;
}

export interface VerdictsOptions {
  readonly bus: Bus;
  readonly publisher: Publisher;
  readonly results: ResultStore;
  readonly objects: TaskObjects;
  readonly names: Names;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly meters: LaneMeters;
}

export class Verdicts {
  readonly #options: VerdictsOptions;

  constructor(options: VerdictsOptions) {
    this.#options = options;
  }

  /** Stores a failed result and a dead letter. */
  fail(lane: LaneName, task: Condemned, reason: DeadReason, error: VgasError): void {
    const bury = (): void => this.#bury(lane, task, reason, error);
    this.#store(lane, task, "failed", error, bury, (stored) =>
      // What was read is told by its result.
      this.#makeUp(lane, task, stored, reason === "crashed-repeatedly" ? undefined : reason),
    );
  }

  /** Stores an `expired` result. */
  expire(lane: LaneName, task: Condemned, error: VgasError): void {
    this.#store(lane, task, "expired", error, () => this.settle(task));
  }

  /** Stores a `cancelled` result, unless one is stored already, and calls `done` when the task needs nothing more. */
  cancel(lane: LaneName, task: Condemned, done: () => void): void {
    const end = (): void => {
      // Also where the canceller has stored the result: it does not always have the task.
      this.#options.objects.removeOf(task.body);
      this.settle(task);
      done();
    };
    this.#store(lane, task, "cancelled", new VgasError("CANCELLED", "the task was cancelled"), end, end);
  }

  /** Settles a task whose result is stored. Whoever stored it may have died before anything else. */
  settleDone(lane: LaneName, task: Pick<Condemned, "id" | "body" | "ack" | "array">, stored: Uint8Array): void {
    this.#makeUp(lane, task, stored);
  }

  /** Acknowledges the message, or counts the element as settled. */
  settle(task: Pick<Condemned, "ack" | "array">): void {
    if (task.array) task.array.settleOne();
    else ackTask(this.#options.bus, task.ack);
  }

  #store(
    lane: LaneName,
    task: Condemned,
    status: ResultStatus,
    error: VgasError,
    next: () => void,
    already: (stored: Uint8Array) => void = () => this.settle(task),
  ): void {
    const { clock, results, logger } = this.#options;
    const replayOf = readReplayOf(task.body);
    const result: TaskResult = {
      id: task.id,
      pool: lane.pool,
      kind: lane.kind,
      status,
      error: { ...toWireError(error), retryable: false },
      attempt: task.attempts,
      submittedAt: task.submittedAt,
      finishedAt: clock.now(),
      ...(replayOf !== undefined && { replayOf }),
    };
    const { replyTo, traceparent } = task;
    const bytes = encodeMirrored(result, task.encoding);
    results.store(lane.pool, task.id, bytes, { replyTo, traceparent }, (refusal, outcome, stored) => {
      if (outcome === "stored") {
        this.#options.meters.of(lane).results[status]++;
        if (status === "expired") this.#options.objects.removeOf(task.body);
        next();
      } else if (stored !== undefined) already(stored);
      else {
        // Un-acknowledged, the message comes back.
        task.array?.abandon();
        logger.warn({ task: task.id, pool: lane.pool }, `a verdict was not stored: ${refusal?.message}`);
      }
    });
  }

  #bury(lane: LaneName, task: Condemned, reason: DeadReason, error: VgasError): void {
    const { clock, names, publisher } = this.#options;
    const letter: DeadLetter = {
      id: task.id,
      pool: lane.pool,
      kind: lane.kind,
      reason,
      message: error.message,
      attempts: task.attempts,
      at: clock.now(),
      task: task.body,
    };
    publisher.send(names.dead(lane.pool, task.id), encode(letter), undefined, (refusal) => {
      if (refusal === undefined) {
        this.#options.meters.of(lane).deadLetters++;
        this.settle(task);
      } else this.#notBuried(lane, task, refusal);
    });
  }

  #makeUp(
    lane: LaneName,
    task: Pick<Condemned, "id" | "body" | "ack" | "array">,
    stored: Uint8Array,
    reason?: DeadReason,
  ): void {
    const done = (refusal: VgasError | undefined): void => {
      if (refusal === undefined) this.settle(task);
      else this.#notBuried(lane, task, refusal);
    };
    makeUpLetter(this.#options, lane, task, stored, done, reason);
  }

  /** Un-acknowledged, the message comes back. */
  #notBuried({ pool }: LaneName, task: Pick<Condemned, "id" | "array">, refusal: VgasError): void {
    task.array?.abandon();
    this.#options.logger.warn({ task: task.id, pool }, `a dead letter was not stored: ${refusal.message}`);
  }
}
