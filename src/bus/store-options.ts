/** How a message is to be stored, and the headers that say so to the server. */
import type { VgasError } from "../protocols/errors.ts";
import { HEADERS } from "../protocols/subjects.ts";
import type { BatchKind } from "./batches.ts";
import { EncodedHeaders, encodeHeaders, type HeaderRecord } from "./headers.ts";
import type { PubAck } from "./pub-ack.ts";

/** Either `error` or `ack`. */
export type Stored = (error: VgasError | undefined, ack: PubAck | undefined) => void;

export interface StoreOptions {
  /** De-duplicates within the stream's window. */
  readonly msgId?: string;
  readonly headers?: HeaderRecord;
  /** Stored only if the newest message of the subject has this sequence (0: there is none); else CONFLICT. */
  readonly expectLastSubjectSequence?: number;
  /** Invariant 3. Default: true, except with `expectLastSubjectSequence`. */
  readonly retry?: boolean;
  /**
   * Stored in one batch with others of this name that wait, where the stream takes batches (gathering.ts). The name is that of the
   * stream, or the subject itself where there may be several messages of it; one name never stands for two streams.
   */
  readonly together?: string | undefined;
  /**
   * How (batches.ts). Default: "atomic". As "fast" the acknowledgement's sequence is that of the last message that is stored with it, for the
   * server says no other.
   */
  readonly as?: BatchKind | undefined;
  /** Gives up waiting, with ABORTED. What was sent may still be stored. */
  readonly signal?: AbortSignal | undefined;
}

const EXPECT_LAST_SUBJECT_SEQUENCE = "Nats-Expected-Last-Subject-Sequence";

/** Text that every header can hold. */
const PLAIN = /^[\w-]+$/;

/** @throws VgasError INVALID for what no header can hold */
export function storeHeaders(headers: HeaderRecord | undefined, options: StoreOptions): EncodedHeaders | undefined {
  const { msgId, expectLastSubjectSequence } = options;
  const given = headers ?? options.headers;
  if (given === undefined && expectLastSubjectSequence === undefined) {
    if (msgId === undefined) return undefined;
    // What most messages of a client have, and nothing else.
    if (PLAIN.test(msgId)) return EncodedHeaders.extended(undefined, `${HEADERS.msgId}: ${msgId}\r\n`);
  }
  const record: Record<string, string> = { ...given };
  if (msgId !== undefined) record[HEADERS.msgId] = msgId;
  if (expectLastSubjectSequence !== undefined) record[EXPECT_LAST_SUBJECT_SEQUENCE] = String(expectLastSubjectSequence);
  return encodeHeaders(record);
}
