/**
 * The execution records of tasks that were delivered more than once (design section "Executions are counted").
 *
 * What became of an execution never takes the place of a later one's record: a host that was paused or cut off for long may come back
 * with it when the task has begun again elsewhere.
 */
import { VgasError } from "../protocols/errors.ts";
import { type AttemptsRecord, attemptsRecord } from "../protocols/host-messages.ts";
import type { Names } from "../protocols/subjects.ts";
import { decode, encode } from "./codec/codec.ts";
import { ElementOwners } from "./element-owners.ts";
import type { KvBucket, KvEntry } from "./kv.ts";

/** Lost races and lost answers in a row, before a write gives up: few ever write to one key. */
const MAX_TRIES = 8;

/** What is recorded, and the revision that the next write follows. */
export interface RecordedAttempts {
  readonly revision: number;
  readonly record: AttemptsRecord | undefined;
}

export class AttemptsLog {
  /** Of elements of arrays: which message they run from. */
  readonly elements: ElementOwners;
  readonly #bucket: KvBucket;
  readonly #names: Names;

  constructor(bucket: KvBucket, names: Names) {
    this.#bucket = bucket;
    this.#names = names;
    this.elements = new ElementOwners(bucket, names);
  }

  /** What is recorded of a task's executions, or undefined if nothing is. A damaged record counts as nothing. */
  async read(pool: string, id: string): Promise<AttemptsRecord | undefined> {
    return (await this.readRevision(pool, id)).record;
  }

  /** As `read`, with the revision. */
  async readRevision(pool: string, id: string): Promise<RecordedAttempts> {
    const entry = await this.#bucket.getEntry(this.#names.taskKey(pool, id));
    return entry ? { revision: entry.revision, record: recordOf(entry) } : NOTHING;
  }

  /** Durable when it resolves. */
  async write(pool: string, id: string, record: Omit<AttemptsRecord, "v">): Promise<void> {
    await this.#bucket.put(this.#names.taskKey(pool, id), encode({ v: 1, ...record }));
  }

  /**
   * Records what became of execution number `execution`, unless a later one is recorded: then false, and the task is no longer the
   * caller's. Durable when it resolves.
   */
  async close(pool: string, id: string, execution: number, record: Omit<AttemptsRecord, "v">): Promise<boolean> {
    const key = this.#names.taskKey(pool, id);
    const value = encode({ v: 1, ...record });
    // Of a first execution mostly nothing is recorded.
    let found = execution > 1 ? await this.readRevision(pool, id) : NOTHING;
    for (let left = MAX_TRIES; ; left--) {
      if (found.record !== undefined && found.record.attempts > execution) return false;
      try {
        await this.#bucket.cas(key, value, found.revision);
        return true;
      } catch (error) {
        const again = error instanceof VgasError && (error.code === "CONFLICT" || error.code === "TIMEOUT");
        if (!again || left === 1) throw error;
        found = await this.readRevision(pool, id);
      }
    }
  }

  /**
   * Writes if nothing was written since `revision`, whatever becomes of the answers; `by` is in no other record. Resolves with the new
   * revision, or with undefined if somebody else has written.
   */
  async follow(
    pool: string,
    id: string,
    record: Omit<AttemptsRecord, "v"> & { readonly by: string },
    revision: number,
  ): Promise<number | undefined> {
    try {
      return await this.#bucket.casAgain(this.#names.taskKey(pool, id), encode({ v: 1, ...record }), revision);
    } catch (error) {
      if (!(error instanceof VgasError && error.code === "CONFLICT")) throw error;
      const found = await this.readRevision(pool, id);
      return found.record?.by === record.by ? found.revision : undefined;
    }
  }
}

function recordOf({ value, deleted }: KvEntry): AttemptsRecord | undefined {
  if (deleted) return undefined;
  try {
    return attemptsRecord.safeParse(decode(value)).data;
  } catch (error) {
    if (error instanceof VgasError) return undefined;
    throw error;
  }
}

const NOTHING: RecordedAttempts = { revision: 0, record: undefined };
