/**
 * The atomic batches of one publisher that are in flight: which messages each holds, and what its messages carry. The server stores a
 * batch as a whole, with one forced write and one answer, or nothing of it.
 */
import { randomBytes } from "node:crypto";
import { HEADERS } from "../protocols/subjects.ts";
import type { Gathering } from "./gathering.ts";
import { EncodedHeaders } from "./headers.ts";
import type { PendingPublish } from "./publish-queue.ts";

export interface AtomicBatch {
  readonly id: number;
  readonly messages: readonly PendingPublish[];
  readonly gathering: Gathering;
}

const RANDOM_BYTES = 9;

export class AtomicBatches {
  /** No two publishers use the same name for a batch. */
  readonly #run = randomBytes(RANDOM_BYTES).toString("base64url");
  readonly #inFlight = new Map<number, AtomicBatch>();
  #last = 0;

  open(messages: readonly PendingPublish[], gathering: Gathering): AtomicBatch {
    const batch = { id: ++this.#last, messages, gathering };
    for (const message of messages) message.batch = batch.id;
    this.#inFlight.set(batch.id, batch);
    return batch;
  }

  /** The one in flight of this name. */
  find(id: number): AtomicBatch | undefined {
    return this.#inFlight.get(id);
  }

  /** Headers of its message at `position`, counted from 1. */
  headers({ id, messages }: AtomicBatch, position: number): EncodedHeaders {
    const name = `${this.#run}-${id.toString(36)}`;
    const commit = position === messages.length ? `${HEADERS.batchCommit}: 1\r\n` : "";
    const lines = `${HEADERS.batchId}: ${name}\r\n${HEADERS.batchSequence}: ${position}\r\n${commit}`;
    return EncodedHeaders.extended(messages[position - 1]?.headers, lines);
  }

  /** All of it was settled. */
  stored(batch: AtomicBatch): void {
    this.#inFlight.delete(batch.id);
    batch.gathering.batchEnded(0);
  }

  /** It is no batch any more; returns its messages that are not settled, which go on by themselves. */
  dissolve(batch: AtomicBatch): readonly PendingPublish[] {
    if (!this.#inFlight.delete(batch.id)) return [];
    const left = batch.messages.filter(({ settled }) => !settled);
    for (const message of left) message.batch = 0;
    batch.gathering.batchEnded(left.length);
    return left;
  }

  dissolveAll(): void {
    for (const batch of [...this.#inFlight.values()]) this.dissolve(batch);
  }
}
