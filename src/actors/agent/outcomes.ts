/**
 * What becomes of an attempt that has ended: a stored result, or another attempt.
 *
 * 1. The task is acknowledged only after its result is stored (P1), and its entry stays in the work table until then.
 * 2. A failed attempt that may be repeated is recorded before the task is given back, so that it counts.
 * 3. When neither can be done the task is left un-acknowledged: it comes back by `ack_wait`.
 */
import type { AttemptsLog } from "../../bus/attempts.ts";
import type { Bus } from "../../bus/bus.ts";
import type { TaskCheckpoints } from "../../bus/checkpoints.ts";
import { encode } from "../../bus/codec/codec.ts";
import { encodeObject } from "../../bus/codec/object.ts";
import { EncodingTooLarge } from "../../bus/codec/plain.ts";
import { encodeResult, type WholeResult } from "../../bus/codec/result.ts";
import { makeUpLetter } from "../../bus/missing-letters.ts";
import type { Publisher } from "../../bus/publisher.ts";
import { ackTask, nakTask } from "../../bus/pull.ts";
import type { ResultStore } from "../../bus/results.ts";
import type { TaskObjects } from "../../bus/task-objects.ts";
import { failpoint } from "../../failpoints/failpoints.ts";
import type { Clock, Random } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import type { Logger } from "../../protocols/logger.ts";
import type { DeadLetter, ObjectRef, ResultStatus, TaskUsage } from "../../protocols/result.ts";
import { agentId } from "../../protocols/rotation.ts";
import type { Names } from "../../protocols/subjects.ts";
import type { Usage } from "../../protocols/vault/keys.ts";
import { toWireError, type WireError } from "../../protocols/wire-error.ts";
import { pauseAfter } from "./backoff.ts";
import { publishEvent } from "./context.ts";
import type { Run, RunOutcome } from "./run.ts";

/** Kept free of a result message for headers and for the broker's own framing. */
const RESULT_RESERVE_BYTES = 4_096;

export interface OutcomesOptions {
  readonly bus: Bus;
  readonly publisher: Publisher;
  readonly results: ResultStore;
  readonly attempts: AttemptsLog;
  readonly objects: TaskObjects;
  readonly names: Names;
  readonly hostId: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** The attempt is over for this host: its result is stored, or the task was given back. `again`: an element to be published anew. */
  readonly settled: (run: Run, next: "done" | "again") => void;
}

export class Outcomes {
  readonly #options: OutcomesOptions;
  /** Ids of agents, by their numbers. */
  readonly #agentIds: string[] = [];
  #open = 0;

  constructor(options: OutcomesOptions) {
    this.#options = options;
  }

  /** Attempts that have ended and are not settled. */
  get open(): number {
    return this.#open;
  }

  /** Settles `run`. Returns true if it failed. */
  settle(run: Run, outcome: RunOutcome): boolean {
    this.#open++;
    if (!outcome.ok) return this.#endFailed(run, toWireError(outcome.thrown));
    const { output } = outcome;
    try {
      const bytes = this.#encodeSmall(run, output);
      if (bytes === undefined) void this.#storeLarge(run, output);
      else this.#store(run, bytes, undefined);
      return false;
    } catch (thrown) {
      this.#fail(run, toWireError(thrown));
      return true;
    }
  }

  /** Returns true if it counts as failed. */
  #endFailed(run: Run, error: WireError): boolean {
    // Whatever else it may have come to: a cancelled task is neither tried again nor a dead letter.
    if (run.cancelled) {
      const wire = toWireError(new VgasError("CANCELLED", "the task was cancelled"));
      this.#store(run, this.#encode(run, "cancelled", undefined, wire), undefined);
      return false;
    }
    if (error.retryable && run.attempt < run.maxAttempts) {
      // What is no longer ours is not NAKed: that would take it from whoever runs it now. The dispatcher of an element
      // knows whether it has given it to somebody else.
      if (run.lost) {
        failpoint("run.lost");
        this.#close(run, run.ack === "" ? "again" : "done");
      } else void this.#retry(run, error);
    } else this.#fail(run, error);
    return true;
  }

  /** The result in one message; undefined if it does not fit. @throws VgasError INVALID_OUTPUT */
  #encodeSmall(run: Run, output: unknown): Uint8Array | undefined {
    try {
      const bytes = this.#encode(run, "ok", output);
      return bytes.length <= this.#options.bus.maxPayload - RESULT_RESERVE_BYTES ? bytes : undefined;
    } catch (error) {
      if (error instanceof EncodingTooLarge) return undefined;
      throw error;
    }
  }

  /** The output goes to the object store first. What cannot be put there for now fails the attempt. */
  async #storeLarge(run: Run, output: unknown): Promise<void> {
    const { objects } = this.#options;
    try {
      const outputRef = await objects.putOutput(encodeObject(output, run.encoding));
      const bytes = this.#encode(run, "ok", undefined, undefined, outputRef);
      this.#store(run, bytes, undefined, () => objects.dropOutput(outputRef));
    } catch (thrown) {
      this.#endFailed(run, toWireError(thrown));
    }
  }

  /** Gives back an attempt that was broken off: it counts, and its task runs again elsewhere. */
  async giveBack(run: Run): Promise<void> {
    this.#open++;
    await this.#recordAndReturn(run, { attempts: run.attempt, ended: true }, 0);
  }

  async #retry(run: Run, error: WireError): Promise<void> {
    const { clock, random, logger } = this.#options;
    run.meter.retries++;
    const delayMs = pauseAfter(run.attempt, run.backoff, random);
    try {
      publishEvent(run, this.#options, "retrying", { error, delayMs });
    } catch (thrown) {
      logger.debug({ task: run.id, error: String(thrown) }, "a retrying event could not be sent");
    }
    await this.#recordAndReturn(
      run,
      { attempts: run.attempt, ended: true, notBefore: clock.now() + delayMs, delayMs, error },
      delayMs,
    );
  }

  async #recordAndReturn(run: Run, record: Parameters<AttemptsLog["close"]>[3], delayMs: number): Promise<void> {
    const { attempts, bus, logger } = this.#options;
    try {
      const current = await attempts.close(run.lane.pool, run, run.attempt, record);
      // A later attempt has begun elsewhere, or is about to: giving the task back would take it from there.
      if (!current) failpoint("attempt.superseded");
      else if (run.ack !== "") nakTask(bus, run.ack, delayMs);
    } catch (error) {
      logger.warn(
        { id: run.id, error: String(error) },
        "an attempt could not be recorded; the task comes back by ack_wait",
      );
    }
    this.#close(run, run.ack === "" ? "again" : "done");
  }

  #fail(run: Run, error: WireError): void {
    this.#store(run, this.#encode(run, "failed", undefined, { ...error, retryable: false }), error);
  }

  /** `unneeded` is called if another result is there, or this one never will be. */
  #store(run: Run, bytes: Uint8Array, error: WireError | undefined, unneeded?: () => void): void {
    this.#options.results.store(run.lane.pool, run.id, bytes, run, (refusal, outcome, stored) => {
      // One that is cut off by the stop may be stored all the same.
      if (outcome === "already" || refusal?.code === "TOO_LARGE") unneeded?.();
      // A failed task keeps its inputs, so that it can be submitted again.
      else if (outcome === "stored" && run.large && error === undefined) this.#options.objects.removeOf(run.body);
      if (refusal) {
        this.#options.logger.warn({ task: run.id }, `a result was not stored: ${refusal.message}`);
        // A single task comes back by ack_wait; an element is acknowledged by its dispatcher, which must not take it for done.
        this.#close(run, run.ack === "" ? "again" : "done");
        return;
      }
      if (outcome === "stored") run.meter.results[run.cancelled ? "cancelled" : error ? "failed" : "ok"]++;
      if (run.checkpoints) void this.#forget(run.id, run.checkpoints);
      if (error && outcome === "stored") this.#bury(run, error);
      else if (stored) makeUpLetter(this.#options, run.lane, run, stored, (why) => this.#buried(run, why));
      else this.#acknowledge(run);
    });
  }

  /** The task has its result: no attempt follows that could begin at a checkpoint. */
  async #forget(task: string, checkpoints: TaskCheckpoints): Promise<void> {
    try {
      await checkpoints.remove();
    } catch (thrown) {
      this.#options.logger.debug({ task, error: String(thrown) }, "a checkpoint was not removed; its age removes it");
    }
  }

  #bury(run: Run, error: WireError): void {
    const { publisher, names, clock } = this.#options;
    const letter: DeadLetter = {
      id: run.id,
      pool: run.lane.pool,
      kind: run.lane.kind,
      reason: "attempts-exhausted",
      message: `${error.code}: ${error.message}`,
      attempts: run.attempt,
      at: clock.now(),
      task: run.body,
    };
    publisher.send(names.dead(run.lane.pool, run.id), encode(letter), undefined, (refusal) => {
      if (refusal === undefined) run.meter.deadLetters++;
      this.#buried(run, refusal);
    });
  }

  #buried(run: Run, refusal: VgasError | undefined): void {
    if (refusal) this.#options.logger.warn({ task: run.id }, `a dead letter was not stored: ${refusal.message}`);
    this.#acknowledge(run);
  }

  #acknowledge(run: Run): void {
    if (run.ack !== "") ackTask(this.#options.bus, run.ack);
    this.#close(run, "done");
  }

  #close(run: Run, next: "done" | "again"): void {
    this.#open--;
    this.#options.settled(run, next);
  }

  #encode(run: Run, status: ResultStatus, output: unknown, error?: WireError, outputRef?: ObjectRef): Uint8Array {
    const { clock, hostId } = this.#options;
    const started = run.startedAt > 0;
    const result: WholeResult = {
      id: run.id,
      pool: run.lane.pool,
      kind: run.lane.kind,
      status,
      output,
      outputRef,
      error,
      // One that was cancelled before it started is no execution.
      attempt: started ? run.attempt : run.attempt - 1,
      submittedAt: run.submittedAt,
      startedAt: started ? run.startedAt : undefined,
      finishedAt: clock.now(),
      agent: this.#agentId(run.agent),
      host: hostId,
      ticket: run.ticket,
      usage: run.usage && taskUsage(run.usage),
      replayOf: run.replayOf,
    };
    return encodeResult(result, run.encoding);
  }

  #agentId(agent: number): string {
    const known = this.#agentIds[agent] ?? agentId(this.#options.hostId, agent);
    this.#agentIds[agent] = known;
    return known;
  }
}

const NANO_USD_PER_USD = 1_000_000_000;

function taskUsage({ costNanoUsd, ...counters }: Usage): TaskUsage {
  return { ...counters, costUsd: costNanoUsd / NANO_USD_PER_USD };
}
