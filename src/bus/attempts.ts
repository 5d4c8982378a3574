/**
 * The execution records of tasks that were delivered more than once (design section "Executions are counted").
 *
 * What became of an execution never takes the place of a later one's record: a host that was paused or cut off for long may come back
 * with it when the task has begun again elsewhere.
 *
 * An entry outlives the result, after which an id of a client's own may be used again: so a record says of which submission it is, and
 * counts for no other. An entry keeps those of the last few submissions, as several of one id may be open at once.
 */
import { VgasError } from "../protocols/errors.ts";
import { type AttemptsRecord, attemptsRecord } from "../protocols/host-messages.ts";
import type { Names } from "../protocols/subjects.ts";
import { decode, encode } from "./codec/codec.ts";
import { ElementOwners } from "./element-owners.ts";
import type { KvBucket, KvEntry } from "./kv.ts";

/** Submissions whose records an entry keeps. */
const MAX_SUBMISSIONS = 3;

/** Lost races and lost answers in a row, before a write gives up: few ever write to one key. */
const MAX_TRIES = 8;

/** A task as it was submitted; where it is not known when, whatever is recorded under its id counts. */
export interface Submission {
  readonly id: string;
  /** Milliseconds since the epoch, by the broker's clock. */
  readonly submittedAt?: number | undefined;
}

/** What is recorded, and the revision that the next write follows. */
export interface RecordedAttempts {
  readonly revision: number;
  readonly record: AttemptsRecord | undefined;
  /** Those of other submissions, the last that was written first. */
  readonly others: readonly AttemptsRecord[];
}

/** What a caller says of a task's executions. */
type NewRecord = Omit<AttemptsRecord, "v" | "submittedAt" | "others">;

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

  /** What is recorded of a task's executions, or undefined if nothing is. A damaged record counts as nothing, and one of another task. */
  async read(pool: string, task: Submission): Promise<AttemptsRecord | undefined> {
    return (await this.readRevision(pool, task)).record;
  }

  /** As `read`, with the revision. */
  async readRevision(pool: string, { id, submittedAt }: Submission): Promise<RecordedAttempts> {
    const entry = await this.#bucket.getEntry(this.#names.taskKey(pool, id));
    if (entry === undefined) return NOTHING;
    const all = recordsOf(entry);
    const isOwn = (each: AttemptsRecord): boolean => isOf(each, submittedAt);
    return { revision: entry.revision, record: all.find(isOwn), others: all.filter((each) => !isOwn(each)) };
  }

  /** Durable when it resolves. */
  async write(pool: string, task: Submission, record: NewRecord): Promise<void> {
    await this.#store(pool, task, record, await this.readRevision(pool, task), () => true);
  }

  /**
   * Records what became of execution number `execution`, unless a later one is recorded: then false, and the task is no longer the
   * caller's. Durable when it resolves.
   */
  async close(pool: string, task: Submission, execution: number, record: NewRecord): Promise<boolean> {
    // Of a first execution mostly nothing is recorded.
    const found = execution > 1 ? await this.readRevision(pool, task) : NOTHING;
    return await this.#store(pool, task, record, found, (last) => last === undefined || last.attempts <= execution);
  }

  /** Writes as long as `may` says so of the task's last record; whether it did. */
  async #store(
    pool: string,
    task: Submission,
    record: NewRecord,
    first: RecordedAttempts,
    may: (last: AttemptsRecord | undefined) => boolean,
  ): Promise<boolean> {
    const key = this.#names.taskKey(pool, task.id);
    let found = first;
    for (let left = MAX_TRIES; ; left--) {
      if (!may(found.record)) return false;
      try {
        await this.#bucket.cas(key, bytesOf(record, task, found), found.revision);
        return true;
      } catch (error) {
        const again = error instanceof VgasError && (error.code === "CONFLICT" || error.code === "TIMEOUT");
        if (!again || left === 1) throw error;
        found = await this.readRevision(pool, task);
      }
    }
  }

  /**
   * Writes if nothing was written since `found`, whatever becomes of the answers; `by` is in no other record. Resolves with the new
   * revision, or with undefined if somebody else has written.
   */
  async follow(
    pool: string,
    task: Submission,
    record: NewRecord & { readonly by: string },
    found: RecordedAttempts = NOTHING,
  ): Promise<number | undefined> {
    const key = this.#names.taskKey(pool, task.id);
    try {
      return await this.#bucket.casAgain(key, bytesOf(record, task, found), found.revision);
    } catch (error) {
      if (!(error instanceof VgasError && error.code === "CONFLICT")) throw error;
      const now = await this.readRevision(pool, task);
      return now.record?.by === record.by ? now.revision : undefined;
    }
  }
}

/** A record that says nothing of it is of every submission. */
function isOf(record: AttemptsRecord, submittedAt: number | undefined): boolean {
  return submittedAt === undefined || record.submittedAt === undefined || record.submittedAt === submittedAt;
}

function bytesOf(record: NewRecord, { submittedAt }: Submission, found: RecordedAttempts): Uint8Array {
  const others = found.others.slice(0, MAX_SUBMISSIONS - 1);
  const own = { v: 1, ...record, ...(submittedAt !== undefined && { submittedAt }) };
  return encode(others.length > 0 ? { ...own, others } : own);
}

function recordsOf({ value, deleted }: KvEntry): readonly AttemptsRecord[] {
  if (deleted) return [];
  try {
    const { data } = attemptsRecord.safeParse(decode(value));
    if (data === undefined) return [];
    const { others = [], ...last } = data;
    return [last, ...others];
  } catch (error) {
    if (error instanceof VgasError) return [];
    throw error;
  }
}

const NOTHING: RecordedAttempts = { revision: 0, record: undefined, others: [] };
