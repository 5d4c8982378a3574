import { setMaxListeners } from "node:events";
import { VgasError } from "../protocols/errors.ts";
import type { TaskResult } from "../protocols/result.ts";
import type { PendingResult } from "./pending-result.ts";
import type { WaitingResults } from "./waiting-results.ts";

export interface WaitOptions {
  /** Gives up after this many ms, with TIMEOUT. Default: never. */
  readonly timeoutMs?: number;
  /** Gives up when it fires, with ABORTED. The task goes on. */
  readonly signal?: AbortSignal;
}

/** Longest delay of a timer, ms. */
const MAX_DELAY_MS = 2 ** 31 - 1;

/** A task that was submitted. Its id is enough to come back to it later, from anywhere: `client.handle(pool, id)`. */
export class TaskHandle<Output = unknown> {
  readonly id: string;
  readonly pool: string;
  /** Undefined for a handle that was made of an id. */
  readonly kind: string | undefined;
  readonly #waiting: WaitingResults;
  /** Told of by `replyTo`, so it stays known until the result has come. */
  readonly #tracked: boolean;
  #pending: PendingResult | undefined;

  constructor(
    waiting: WaitingResults,
    names: { id: string; pool: string; kind: string | undefined },
    pending?: PendingResult,
  ) {
    this.id = names.id;
    this.pool = names.pool;
    this.kind = names.kind;
    this.#waiting = waiting;
    this.#tracked = pending !== undefined;
    this.#pending = pending;
  }

  /**
   * Resolves with the task's one result, whatever its `status` is: a failed task is no rejection. Can be called any number
   * of times, also after giving up.
   *
   * @throws VgasError TIMEOUT, ABORTED, SHUTTING_DOWN when the client is closed, INVALID for a `timeoutMs` that is none
   */
  async result(options: WaitOptions = {}): Promise<TaskResult<Output>> {
    const { timeoutMs, signal } = options;
    if (timeoutMs !== undefined && !(timeoutMs >= 0 && timeoutMs <= MAX_DELAY_MS)) {
      throw new VgasError("INVALID", `timeoutMs must be from 0 to ${MAX_DELAY_MS} ms, got ${timeoutMs}`);
    }
    this.#pending ??= this.#waiting.watch(this.pool, this.id);
    const pending = this.#pending;
    if (pending.outcome === undefined) await this.#settled(pending, timeoutMs, signal);
    const { outcome } = pending;
    if (outcome instanceof VgasError) throw outcome;
    return outcome as TaskResult<Output>;
  }

  #settled(pending: PendingResult, timeoutMs: number | undefined, signal: AbortSignal | undefined): Promise<void> {
    const operation = `waiting for the result of ${this.id}`;
    return new Promise((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined;
      const end = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", abort);
      };
      const stop = pending.listen(() => {
        end();
        resolve();
      });
      const giveUp = (error: VgasError): void => {
        end();
        stop();
        this.#giveUp(pending);
        reject(error);
      };
      const abort = (): void => giveUp(new VgasError("ABORTED", `${operation} was aborted`, { cause: signal?.reason }));
      if (signal?.aborted) {
        abort();
        return;
      }
      // Many handles may wait with one signal.
      if (signal !== undefined) setMaxListeners(0, signal);
      signal?.addEventListener("abort", abort);
      if (timeoutMs !== undefined) {
        timer = setTimeout(
          () => giveUp(new VgasError("TIMEOUT", `${operation} timed out after ${timeoutMs} ms`)),
          timeoutMs,
        );
      }
      this.#waiting.want(pending);
    });
  }

  /** A subscription of its own is not kept for nobody. */
  #giveUp(pending: PendingResult): void {
    if (this.#tracked || pending.wanted || this.#pending !== pending) return;
    this.#waiting.forget(pending);
    this.#pending = undefined;
  }
}
