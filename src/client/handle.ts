import { setMaxListeners } from "node:events";
import { VgasError } from "../protocols/errors.ts";
import type { Logger } from "../protocols/logger.ts";
import type { TaskEvent, TaskResult } from "../protocols/result.ts";
import type { CancelReply, TaskState } from "../protocols/task-state.ts";
import type { Asker } from "./asker.ts";
import type { EventFeed, EventFeedOptions, EventsDropped } from "./event-feed.ts";
import type { ManyResults } from "./many-results.ts";
import type { Outputs } from "./outputs.ts";
import type { PendingResult } from "./pending-result.ts";
import type { CancelOptions, TaskQuestions } from "./task-questions.ts";
import type { WaitingResults } from "./waiting-results.ts";
import { type CallOptions, checkTimeout, within } from "./within.ts";

/** What the handles of one client do their work with. */
export interface HandleParts {
  readonly asker: Asker;
  readonly logger: Logger;
  readonly waiting: WaitingResults;
  readonly questions: TaskQuestions;
  /** Undefined for a guest, who hears none. @throws VgasError SHUTTING_DOWN */
  readonly events: ((pool: string, options: Omit<EventFeedOptions, "bus" | "subject">) => EventFeed) | undefined;
  /** Undefined for a guest, who cannot read them. */
  readonly outputs: Outputs | undefined;
}

/** What a handle knows of its task from the start. */
export interface HandleNames {
  readonly id: string;
  readonly pool: string;
  readonly kind?: string | undefined;
  readonly agent?: string | undefined;
}

/**
 * A task that was submitted. Its id is enough to come back to it later, from anywhere: `client.handle(pool, id)`. Every method can be
 * called any number of times; a lost connection is waited out.
 */
export class TaskHandle<Output = unknown> {
  readonly id: string;
  readonly pool: string;
  /** Undefined for a handle that was made of an id. */
  readonly kind: string | undefined;
  /** The agent that took it, of a task submitted by `now`; else undefined. */
  readonly agent: string | undefined;
  readonly #parts: HandleParts;
  /** Told of by `replyTo`, so it stays known until the result has come. */
  readonly #tracked: boolean;
  /** If it was submitted with others, and its place among them. */
  readonly #many: ManyResults | undefined;
  readonly #place: number;
  #pending: PendingResult | undefined;

  /** @internal */
  constructor(
    parts: HandleParts,
    names: HandleNames,
    pending?: PendingResult,
    many: ManyResults | undefined = undefined,
    place = 0,
  ) {
    this.id = names.id;
    this.pool = names.pool;
    this.kind = names.kind;
    this.agent = names.agent;
    this.#parts = parts;
    this.#tracked = pending !== undefined || many !== undefined;
    this.#many = many;
    this.#place = place;
    this.#pending = pending;
  }

  /** Its result, if that has come. @internal */
  get outcome(): TaskResult<Output> | undefined {
    const outcome = (this.#pending ?? this.#many?.get(this.#place))?.outcome;
    return outcome instanceof VgasError ? undefined : (outcome as TaskResult<Output> | undefined);
  }

  /**
   * Resolves with the task's one result, whatever its `status` is: a failed task is no rejection. Can be called any number
   * of times, also after giving up. Giving up leaves the task alone. Without `timeoutMs` it waits for ever. An output that was
   * too large for a message (up to 64 MiB) is fetched, each time anew; a guest gets its `outputRef`.
   *
   * @throws VgasError TIMEOUT, ABORTED, SHUTTING_DOWN when the client is closed, INVALID for a `timeoutMs` that is none;
   *   OBJECT_MISSING if a large output is gone
   */
  async result(options: CallOptions = {}): Promise<TaskResult<Output>> {
    const { timeoutMs, signal } = options;
    const startedAt = performance.now();
    const result = await this.stored(options);
    const { outputs } = this.#parts;
    if (result.outputRef === undefined || outputs === undefined) return result;
    const left = {
      ...(signal && { signal }),
      ...(timeoutMs !== undefined && { timeoutMs: Math.max(0, timeoutMs - (performance.now() - startedAt)) }),
    };
    return await within(`reading the output of ${this.id}`, left, (given) => outputs.fetch(result, { signal: given }));
  }

  /** As `result`, as it is stored: a large output is a reference. @internal */
  async stored({ timeoutMs, signal }: CallOptions): Promise<TaskResult<Output>> {
    checkTimeout(timeoutMs);
    const pending = this.#asked();
    if (pending.outcome === undefined) await this.#settled(pending, timeoutMs, signal);
    const { outcome } = pending;
    if (outcome instanceof VgasError) throw outcome;
    return outcome as TaskResult<Output>;
  }

  /**
   * Cancels the task. `cancelled`: it waited, and its `cancelled` result is stored now. `cancelling`: it runs, and was told; how it
   * ends is its result. `finished`: its result was there already. `running`: it runs, and `onlyWaiting` was asked for. `unknown`: an
   * automatic id that is gone.
   *
   * @throws VgasError NO_SWARM at once if no dispatcher is there, PERMISSION_DENIED for a guest, INVALID, TIMEOUT (10 000 ms unless
   *   `timeoutMs` says otherwise), ABORTED, SHUTTING_DOWN
   */
  async cancel(options: CancelOptions = {}): Promise<CancelReply> {
    const kind = options.kind ?? this.kind;
    const known = kind === undefined ? options : { ...options, kind };
    const pending = this.#tracked ? this.#asked() : this.#pending;
    return await this.#parts.questions.cancel(this.pool, this.id, known, pending);
  }

  /**
   * Where the task is: `waiting`, `running` (with host, agent and attempt), `finished` or `unknown`. Times are ms since the epoch.
   *
   * @throws VgasError as `cancel`
   */
  async status(options: CallOptions = {}): Promise<TaskState> {
    return await this.#parts.questions.status(this.pool, this.id, options);
  }

  /**
   * What the task says while it runs, from now on, as `progress`, `output` and `retrying` events; ends when its result is there. Listens
   * at once, before anything is read: made of `client.handle(pool, id)` before a task with that id is submitted, or by `onEvent` of
   * `submit`, it misses nothing. Events are not stored: a `dropped` event tells that some were lost with a connection, or because more
   * than 1 000 of them, or 8 MiB, waited to be read. Leave the loop, or call `return`, to stop listening.
   *
   * @throws VgasError PERMISSION_DENIED for a guest, INVALID; while iterating ABORTED, TIMEOUT, PERMISSION_DENIED, SHUTTING_DOWN
   */
  events(options: CallOptions = {}): AsyncIterableIterator<TaskEvent | EventsDropped, undefined> {
    const { waiting, events } = this.#parts;
    if (events === undefined) throw new VgasError("PERMISSION_DENIED", "a guest cannot listen to events");
    const pending = this.#asked();
    const feed = events(this.pool, { ...options, id: this.id, pending, onEnd: () => this.#giveUp(pending) });
    waiting.want(pending);
    return feed;
  }

  /** Where its result is waited for. @throws VgasError SHUTTING_DOWN */
  #asked(): PendingResult {
    const { waiting } = this.#parts;
    this.#pending ??=
      this.#many === undefined ? waiting.watch(this.pool, this.id) : waiting.element(this.#many, this.#place, this.id);
    return this.#pending;
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
      this.#parts.waiting.want(pending);
    });
  }

  /** A subscription of its own is not kept for nobody. */
  #giveUp(pending: PendingResult): void {
    if (this.#tracked || pending.wanted || this.#pending !== pending) return;
    this.#parts.waiting.forget(pending);
    this.#pending = undefined;
  }
}
