/**
 * The last checkpoint of each task that wrote one: bucket `checkpoints`, key `<pool>.<taskId>`, record `{v: 1, attempt, state | ref}`.
 *
 * 1. A record of a later attempt is never overwritten: whoever tries is superseded.
 * 2. Writes are compare-and-swap; one whose answer was lost is looked for and written again.
 * 3. A state too large for a message is an object of the store of inputs, removed when the next state or the end replaces it.
 */
import { z } from "zod";
import { VgasError } from "../protocols/errors.ts";
import type { Names } from "../protocols/subjects.ts";
import { decode, encode } from "./codec/codec.ts";
import type { KvBucket } from "./kv.ts";
import type { Objects } from "./objects.ts";

/** Kept free of a message for headers and for what the record adds to the state. */
const RESERVE_BYTES = 4_096;
/** Lost races and lost answers in a row, before a write gives up: only another attempt of the same task writes to its key. */
const MAX_TRIES = 8;

const objectRef = z.object({ bucket: z.string(), name: z.string(), bytes: z.number(), sha256: z.string() });
const record = z.object({
  v: z.literal(1),
  attempt: z.number().int().min(1),
  state: z.unknown().optional(),
  ref: objectRef.optional(),
});
type Record = z.infer<typeof record>;

interface Stored {
  readonly record: Record | undefined;
  /** What the next write expects. */
  readonly revision: number;
}

const NOTHING: Stored = { record: undefined, revision: 0 };

export interface CheckpointsOptions {
  readonly bucket: KvBucket;
  readonly objects: Objects;
  readonly names: Names;
  /** Largest message, bytes. */
  readonly maxPayload: () => number;
}

export class Checkpoints {
  readonly #options: CheckpointsOptions;

  constructor(options: CheckpointsOptions) {
    this.#options = options;
  }

  of(pool: string, id: string): TaskCheckpoints {
    return new TaskCheckpoints(this.#options, this.#options.names.taskKey(pool, id));
  }
}

/** Those of one task, for one attempt of it. */
export class TaskCheckpoints {
  readonly #options: CheckpointsOptions;
  readonly #key: string;
  #stored: Stored = NOTHING;
  /** Writes come one after the other, also if the behaviour does not wait for them. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: CheckpointsOptions, key: string) {
    this.#options = options;
    this.#key = key;
  }

  /** The last state, or undefined if there is none. A damaged record, or a state that is not there any more, counts as none. */
  async read(): Promise<unknown> {
    const { record: found } = await this.#look();
    if (found?.ref === undefined) return found?.state;
    try {
      return decode(await this.#options.objects.get(found.ref));
    } catch (error) {
      if (error instanceof VgasError && !error.retryable) return undefined;
      throw error;
    }
  }

  /**
   * Durable when it resolves.
   *
   * @throws VgasError INVALID_OUTPUT if `state` cannot be encoded, TOO_LARGE above 64 MiB, SUPERSEDED if a later attempt has
   *   written; what the bucket throws
   */
  write(attempt: number, state: unknown): Promise<void> {
    // Encoded now: what the behaviour does to the state afterwards is of no account.
    const whole = encode({ v: 1, attempt, state });
    const large = whole.length > this.#options.maxPayload() - RESERVE_BYTES ? encode(state) : undefined;
    return this.#next(async () => {
      const ref = large && (await this.#options.objects.put("inputs", large));
      try {
        const before = await this.#swap(attempt, ref === undefined ? whole : encode({ v: 1, attempt, ref }));
        this.#stored = { record: { v: 1, attempt, ...(ref && { ref }) }, revision: this.#stored.revision };
        if (before?.ref) await this.#drop(before.ref);
      } catch (error) {
        if (ref) await this.#drop(ref);
        throw error;
      }
    });
  }

  /** Removes what there is, if anything. */
  remove(): Promise<void> {
    return this.#next(async () => {
      const { record: found } = this.#stored;
      if (found === undefined) return;
      await this.#options.bucket.delete(this.#key);
      this.#stored = NOTHING;
      if (found.ref) await this.#drop(found.ref);
    });
  }

  /** Writes `bytes`, and says what they replaced. */
  async #swap(attempt: number, bytes: Uint8Array): Promise<Record | undefined> {
    for (let left = MAX_TRIES; ; left--) {
      const { record: before, revision } = this.#stored;
      if (before !== undefined && before.attempt > attempt) {
        throw new VgasError(
          "SUPERSEDED",
          `attempt ${before.attempt} of the task has written a checkpoint, this is ${attempt}`,
        );
      }
      try {
        const written = await this.#options.bucket.cas(this.#key, bytes, revision);
        this.#stored = { record: before, revision: written };
        return before;
      } catch (error) {
        const again = error instanceof VgasError && (error.code === "CONFLICT" || error.code === "TIMEOUT");
        if (!again || left === 1) throw error;
        await this.#look();
      }
    }
  }

  async #look(): Promise<Stored> {
    const entry = await this.#options.bucket.getEntry(this.#key);
    if (entry === undefined) this.#stored = NOTHING;
    else this.#stored = { record: entry.deleted ? undefined : recordOf(entry.value), revision: entry.revision };
    return this.#stored;
  }

  async #drop(ref: NonNullable<Record["ref"]>): Promise<void> {
    // What is left there is removed by its age.
    await this.#options.objects.remove(ref).catch(() => undefined);
  }

  #next<T>(step: () => Promise<T>): Promise<T> {
    const done = this.#last.then(step);
    this.#last = done.catch(() => undefined);
    return done;
  }
}

function recordOf(bytes: Uint8Array): Record | undefined {
  try {
    return record.safeParse(decode(bytes)).data;
  } catch {
    return undefined;
  }
}
