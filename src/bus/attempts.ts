/** The execution records of tasks that were delivered more than once (design section "Executions are counted"). */
import { VgasError } from "../protocols/errors.ts";
import { type AttemptsRecord, attemptsRecord } from "../protocols/host-messages.ts";
import type { Names } from "../protocols/subjects.ts";
import { decode, encode } from "./codec/codec.ts";
import type { KvBucket } from "./kv.ts";

export class AttemptsLog {
  readonly #bucket: KvBucket;
  readonly #names: Names;

  constructor(bucket: KvBucket, names: Names) {
    this.#bucket = bucket;
    this.#names = names;
  }

  /** What is recorded of a task's executions, or undefined if nothing is. A damaged record counts as nothing. */
  async read(pool: string, id: string): Promise<AttemptsRecord | undefined> {
    const entry = await this.#bucket.get(this.#names.taskKey(pool, id));
    if (!entry) return undefined;
    try {
      const parsed = attemptsRecord.safeParse(decode(entry.value));
      return parsed.success ? parsed.data : undefined;
    } catch (error) {
      if (error instanceof VgasError) return undefined;
      throw error;
    }
  }

  /** Durable when it resolves. */
  async write(pool: string, id: string, record: Omit<AttemptsRecord, "v">): Promise<void> {
    await this.#bucket.put(this.#names.taskKey(pool, id), encode({ v: 1, ...record }));
  }
}
