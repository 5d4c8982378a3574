/**
 * Which message an element of an array runs from: the array's, or one of its own that it was published again as.
 *
 * Both can be in the queue at once, several of either too: an array comes back when its dispatcher dies, and a publish whose answer
 * was lost is repeated. So a record of each element that is no longer with the first delivery of its array names its one owner.
 *
 * 1. A record is only ever written by compare-and-swap, so at most one message owns an element at a time.
 * 2. Who is not the owner lets the element go, and loses nothing: the owner's message is in the stream until a result is stored.
 * 3. `moved` without `as` names no owner: whoever has the array publishes the element until it is stored, and has that message, or
 *    another that was published so, own it (`settle`). Only then it leaves the array.
 *
 * | record | owner |
 * |---|---|
 * | none | the first delivery of the array |
 * | `by` | the later delivery of the array that has this name |
 * | `moved` | nobody yet |
 * | `moved`, `as` | the message at this sequence |
 */
import { VgasError } from "../protocols/errors.ts";
import { type ElementOwner, elementOwner } from "../protocols/host-messages.ts";
import type { Names } from "../protocols/subjects.ts";
import { decode, encode } from "./codec/codec.ts";
import type { KvBucket } from "./kv.ts";

/** An element that was moved: executions that counted by then, and the sequence of its message if that is known. */
export interface Moved {
  /** Of its record. */
  readonly revision: number;
  readonly attempts: number;
  readonly as: number | undefined;
}

interface Read {
  readonly revision: number;
  readonly record: Omit<ElementOwner, "v"> | undefined;
}

export class ElementOwners {
  readonly #bucket: KvBucket;
  readonly #names: Names;

  constructor(bucket: KvBucket, names: Names) {
    this.#bucket = bucket;
    this.#names = names;
  }

  /** How the element with this automatic id was moved; undefined if it was not. */
  async moved(pool: string, element: string): Promise<Moved | undefined> {
    return movedBy(await this.#read(pool, element));
  }

  /** The delivery `by` of the array, which is not its first, is about to run the element. Resolves with false if it must not. */
  async keep(pool: string, element: string, by: string): Promise<boolean> {
    for (;;) {
      const { revision, record } = await this.#read(pool, element);
      if (record?.moved !== undefined) return false;
      if (record?.by === by || (await this.#swap(pool, element, revision, { by })) !== undefined) return true;
    }
  }

  /**
   * The delivery `by` of the array (undefined: its first) is about to publish the element. Undefined if the element is not its own
   * any more: a later delivery has it. What was moved before stays as it was moved.
   */
  async move(pool: string, element: string, attempts: number, by: string | undefined): Promise<Moved | undefined> {
    // Seldom is anything recorded of the first delivery.
    let read: Read = by === undefined ? NOTHING : await this.#read(pool, element);
    for (;;) {
      const moved = movedBy(read);
      if (moved !== undefined) return moved;
      if (read.record?.by !== undefined && read.record.by !== by) return undefined;
      const revision = await this.#swap(pool, element, read.revision, { moved: attempts });
      if (revision !== undefined) return { revision, attempts, as: undefined };
      read = await this.#read(pool, element);
    }
  }

  /** The element was published as the message at `sequence`. False if it was given back to the array meanwhile. */
  async settle(pool: string, element: string, moved: Moved, sequence: number): Promise<boolean> {
    for (let now: Moved | undefined = moved; ; now = movedBy(await this.#read(pool, element))) {
      if (now?.as !== undefined || now === undefined) return now !== undefined;
      const record = { moved: now.attempts, as: sequence };
      if ((await this.#swap(pool, element, now.revision, record)) !== undefined) return true;
    }
  }

  /** The moved element was not published: it is the array's again, whose delivery `by` lets it come once more. */
  async unmove(pool: string, element: string, by: string): Promise<void> {
    const { revision, record } = await this.#read(pool, element);
    if (record?.moved !== undefined && record.as === undefined) await this.#swap(pool, element, revision, { by });
  }

  /** The message at `sequence`, which owned the element, is lost: the next that is published has it. False if another has it. */
  async release(pool: string, element: string, sequence: number): Promise<boolean> {
    const { revision, record } = await this.#read(pool, element);
    // Its record was lost, or has expired: `claim` lets any message have it.
    if (record === undefined) return true;
    if (record.moved === undefined) return false;
    if (record.as === undefined) return true;
    return record.as === sequence && (await this.#swap(pool, element, revision, { moved: record.moved })) !== undefined;
  }

  /** Whether the message at `sequence`, which the element was published as, may run it. */
  async claim(pool: string, element: string, sequence: number): Promise<boolean> {
    for (;;) {
      const { revision, record } = await this.#read(pool, element);
      // Its record was lost, or has expired: then there is nothing better than to run it.
      if (record === undefined) return true;
      if (record.moved === undefined) return false;
      if (record.as !== undefined) return record.as === sequence;
      const claimed = { moved: record.moved, as: sequence };
      if ((await this.#swap(pool, element, revision, claimed)) !== undefined) return true;
    }
  }

  async #read(pool: string, element: string): Promise<Read> {
    const entry = await this.#bucket.getEntry(this.#names.elementKey(pool, element));
    if (entry === undefined) return NOTHING;
    const { revision, value, deleted } = entry;
    if (deleted) return { revision, record: undefined };
    try {
      return { revision, record: elementOwner.safeParse(decode(value)).data };
    } catch (error) {
      if (error instanceof VgasError) return { revision, record: undefined };
      throw error;
    }
  }

  /** The new revision; undefined if another record stands there, which may be this very one, whose answer was lost. */
  async #swap(
    pool: string,
    element: string,
    revision: number,
    record: Omit<ElementOwner, "v">,
  ): Promise<number | undefined> {
    const key = this.#names.elementKey(pool, element);
    try {
      return await this.#bucket.casAgain(key, encode({ v: 1, ...record }), revision);
    } catch (error) {
      if (error instanceof VgasError && error.code === "CONFLICT") return undefined;
      throw error;
    }
  }
}

const NOTHING: Read = { revision: 0, record: undefined };

function movedBy({ revision, record }: Read): Moved | undefined {
  return record?.moved === undefined ? undefined : { revision, attempts: record.moved, as: record.as };
}
