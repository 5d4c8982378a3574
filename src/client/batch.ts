import { MAX_OBJECT_BYTES } from "../protocols/limits.ts";
import type { ResultStatus, TaskResult } from "../protocols/result.ts";
import type { CancelReply } from "../protocols/task-state.ts";
import { ASK_TIMEOUT_MS } from "./asker.ts";
import type { HandleParts, TaskHandle } from "./handle.ts";
import type { CancelOptions } from "./task-questions.ts";
import { type CallOptions, checkTimeout, within } from "./within.ts";

/** How many tasks of a batch there are, wait or run (`open`), and ended how. */
export type BatchProgress = Readonly<Record<"total" | "open" | ResultStatus, number>>;

/** How many tasks of a batch were found in which state when they were cancelled. */
export type BatchCancelled = Readonly<Record<CancelReply["state"], number>>;

/** Results asked for at once. */
const READ_AT_ONCE = 1_024;
/** Cancels under way at once. */
const MAX_CANCELS = 64;

/**
 * The handles of tasks that were submitted together, in the order of their inputs. An array of them; what `map`, `filter` and the like
 * return is a plain one. `client.batch(pool, id)` finds it again from another process.
 */
export class TaskBatch<Output = unknown> extends Array<TaskHandle<Output>> {
  /** Derived arrays are no batches. */
  static override get [Symbol.species](): ArrayConstructor {
    return Array;
  }

  readonly #parts: HandleParts;
  readonly #pool: string;
  readonly #id: string;
  readonly #recorded: Promise<void>;
  /** Of tasks that have ended, by id. */
  readonly #ended = new Map<string, ResultStatus>();

  /** @internal */
  constructor(
    parts: HandleParts,
    names: { readonly pool: string; readonly id: string },
    handles: readonly TaskHandle<Output>[],
    recorded: Promise<void>,
  ) {
    super(handles.length);
    for (let i = 0; i < handles.length; i++) this[i] = handles[i] as TaskHandle<Output>;
    this.#parts = parts;
    this.#pool = names.pool;
    this.#id = names.id;
    this.#recorded = recorded;
    // Whoever does not ask does not want to know.
    recorded.catch(() => undefined);
  }

  /** Token: what `client.batch` finds it by. */
  get id(): string {
    return this.#id;
  }

  get pool(): string {
    return this.#pool;
  }

  /**
   * Resolves when another process can find the batch; `submitMany` does not wait for it. A batch of a single task, or of a guest, is not
   * recorded.
   *
   * @throws VgasError what the record could not be stored for; the tasks are stored all the same
   */
  get recorded(): Promise<void> {
    return this.#recorded;
  }

  /**
   * Counts the tasks by what became of them, from what is known here and from the stored results: about four requests for a
   * thousand tasks that are open. A result that is not kept any more (`--results-ttl`) counts as open.
   *
   * @throws VgasError TIMEOUT (10 000 ms unless `timeoutMs` says otherwise), ABORTED, INVALID, SHUTTING_DOWN
   */
  async progress(options: CallOptions = {}): Promise<BatchProgress> {
    const counts = { total: this.length, open: 0, ok: 0, failed: 0, cancelled: 0, expired: 0 };
    const open = this.#open();
    const operation = `counting batch ${this.#id}`;
    const { asker, waiting } = this.#parts;
    await asker.inTime(operation, options, async (signal) => {
      for (let from = 0; from < open.length; from += READ_AT_ONCE) {
        const ids = open.slice(from, from + READ_AT_ONCE);
        const stored = await asker.reading(operation, signal, () => waiting.read(this.#pool, ids));
        for (const { id, status } of stored) this.#ended.set(id, status);
      }
    });
    for (const { id } of this) counts[this.#ended.get(id) ?? "open"]++;
    return counts;
  }

  /**
   * The tasks' results as they come, each once, in the order of their ends as far as they are waited for; ends with the last one.
   * Leaving the loop leaves the tasks alone.
   *
   * @throws VgasError while iterating: TIMEOUT for the whole of it, ABORTED, SHUTTING_DOWN; INVALID
   */
  async *results(options: CallOptions = {}): AsyncGenerator<TaskResult<Output>, void, undefined> {
    const { timeoutMs, signal } = options;
    checkTimeout(timeoutMs);
    const left = new AbortController();
    const come: TaskResult<Output>[] = [];
    let failure: unknown;
    let wake: () => void = () => undefined;
    const operation = `waiting for the results of batch ${this.#id}`;
    const all = within(operation, { ...options, signal: joined(signal, left) }, async (given) => {
      const limits = given === undefined ? {} : { signal: given };
      await Promise.all(
        this.map(async (handle) => {
          come.push(await handle.stored(limits));
          wake();
        }),
      );
    });
    all.catch((error: unknown) => {
      failure = error;
      wake();
    });
    try {
      for (let handed = 0; handed < this.length; ) {
        const result = come.shift();
        if (result !== undefined) {
          handed++;
          yield await this.#complete(result, options);
        } else if (failure !== undefined) throw failure;
        else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
    } finally {
      left.abort();
    }
  }

  /** Large outputs are fetched one by one, as they are handed over; one that is gone stays a reference. */
  async #complete(result: TaskResult<Output>, { signal }: CallOptions): Promise<TaskResult<Output>> {
    const { outputs } = this.#parts;
    if (result.outputRef === undefined || outputs === undefined) return result;
    return (await outputs.fetchIfSmall(result, MAX_OBJECT_BYTES, { signal })) as TaskResult<Output>;
  }

  /**
   * Cancels what has not ended, 64 at once, and says how many were found in which state; `finished` counts those that had ended.
   *
   * @throws VgasError NO_SWARM at once if no dispatcher is there, PERMISSION_DENIED for a guest, INVALID, TIMEOUT (for the whole of it:
   *   10 000 ms and 10 ms for each task unless `timeoutMs` says otherwise), ABORTED: some may be cancelled then
   */
  async cancel(options: Omit<CancelOptions, "kind"> = {}): Promise<BatchCancelled> {
    const { onlyWaiting, timeoutMs = ASK_TIMEOUT_MS + 10 * this.length } = options;
    const counts = { cancelled: 0, cancelling: 0, finished: 0, running: 0, unknown: 0 };
    const open = new Set(this.#open());
    const left = this.values();
    await this.#parts.asker.inTime(`cancelling batch ${this.#id}`, { ...options, timeoutMs }, async (signal) => {
      const work = async (): Promise<void> => {
        for (const handle of left) {
          if (open.has(handle.id)) {
            const limits = { timeoutMs, signal, ...(onlyWaiting !== undefined && { onlyWaiting }) };
            counts[(await handle.cancel(limits)).state]++;
          } else counts.finished++;
        }
      };
      await Promise.all(Array.from({ length: Math.min(MAX_CANCELS, this.length) }, work));
    });
    return counts;
  }

  /** Ids of tasks that are not known to have ended. */
  #open(): string[] {
    const open: string[] = [];
    for (const { id, outcome } of this) {
      if (outcome !== undefined) this.#ended.set(id, outcome.status);
      else if (!this.#ended.has(id)) open.push(id);
    }
    return open;
  }
}

/** `left`'s signal, which fires with `signal` too. */
function joined(signal: AbortSignal | undefined, left: AbortController): AbortSignal {
  if (signal?.aborted) left.abort(signal.reason);
  else {
    const onAbort = (): void => left.abort(signal?.reason);
    signal?.addEventListener("abort", onAbort);
    left.signal.addEventListener("abort", () => signal?.removeEventListener("abort", onAbort));
  }
  return left.signal;
}
