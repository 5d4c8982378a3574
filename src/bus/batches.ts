/**
 * The batches of one publisher that are in flight: which messages each holds, and how its messages say so to the server (ADR-50 of NATS).
 *
 * - atomic: the server stores a batch as a whole, with one forced write and one answer, or nothing of it.
 * - fast ("fast-ingest"): the server stores each message as if it came by itself, in order, up to the first that it does not take, and
 *   says once how many. That is no less than an answer for each, at a third of what it costs us to read them.
 */
import { randomBytes } from "node:crypto";
import { HEADERS } from "../protocols/subjects.ts";
import type { PublishOptions } from "./bus.ts";
import type { Gathering } from "./gathering.ts";
import { EncodedHeaders } from "./headers.ts";
import type { PendingPublish } from "./publish-queue.ts";

export type BatchKind = "atomic" | "fast";

export interface Batch {
  readonly name: string;
  readonly messages: readonly PendingPublish[];
  readonly gathering: Gathering;
}

const RANDOM_BYTES = 9;
/** Begins the name of each; the tokens of answers to single messages, of base 36, have no capitals. */
const START = "B";
/**
 * What follows the name in the reply subject of a fast batch's message: that its progress need not be told before that many messages,
 * and that it ends at the first that is not stored.
 */
const FLOW = ".500.fail.";
/** First message, a further one, the last one: what the server calls the operation. */
const OPENS = ".0.$FI";
const APPENDS = ".1.$FI";
const COMMITS = ".2.$FI";

export class Batches {
  /** No two publishers use the same name for a batch. */
  readonly #run = `${START}${randomBytes(RANDOM_BYTES).toString("base64url")}`;
  readonly #inFlight = new Map<string, Batch>();
  #last = 0;

  open(messages: readonly PendingPublish[], gathering: Gathering): Batch {
    const batch = { name: this.#run + (++this.#last).toString(36), messages, gathering };
    for (const message of messages) message.batch = batch;
    this.#inFlight.set(batch.name, batch);
    return batch;
  }

  /** Whether `token`, with which an answer's subject goes on after the publisher's inbox, is for a batch. */
  static isAnswer(token: string): boolean {
    return token.startsWith(START);
  }

  /** The one in flight that such an answer is for. */
  answered(token: string): Batch | undefined {
    const end = token.indexOf(".");
    return this.#inFlight.get(end < 0 ? token : token.slice(0, end));
  }

  /** How its message at `position`, counted from 1, is published; `inbox` is what answers' subjects begin with, up to the token. */
  options({ name, messages, gathering }: Batch, position: number, inbox: string): PublishOptions {
    const headers = messages[position - 1]?.headers;
    const last = position === messages.length;
    if (gathering.kind === "fast") {
      const operation = last ? COMMITS : position === 1 ? OPENS : APPENDS;
      const reply = inbox + name + FLOW + position + operation;
      return headers === undefined ? { reply } : { reply, headers };
    }
    const commit = last ? `${HEADERS.batchCommit}: 1\r\n` : "";
    const lines = `${HEADERS.batchId}: ${name}\r\n${HEADERS.batchSequence}: ${position}\r\n${commit}`;
    const extended = EncodedHeaders.extended(headers, lines);
    return last ? { reply: inbox + name, headers: extended } : { headers: extended };
  }

  /** All of it was settled. */
  stored(batch: Batch): void {
    this.#inFlight.delete(batch.name);
    batch.gathering.batchEnded(0);
  }

  /** It is no batch any more; returns its messages that are not settled, which go on by themselves. */
  dissolve(batch: Batch): readonly PendingPublish[] {
    if (!this.#inFlight.delete(batch.name)) return [];
    const left = batch.messages.filter(({ settled }) => !settled);
    for (const message of left) message.batch = undefined;
    batch.gathering.batchEnded(left.length);
    return left;
  }

  dissolveAll(): void {
    for (const batch of [...this.#inFlight.values()]) this.dissolve(batch);
  }
}
