/** Reads JetStream's answers to a publish, without a JSON parser for the common one. */
import { VgasError } from "../protocols/errors.ts";
import { isTaskSubject } from "../protocols/subjects.ts";
import { API, apiErrorCode } from "./nats-errors.ts";

/** The server has stored it at `sequence`, or had (`duplicate`: same message id within the stream's window). */
export interface PubAck {
  readonly stream: string;
  readonly sequence: number;
  readonly duplicate: boolean;
}

/** `count` is undefined if the server stored the message by itself: it knows no batches. */
export interface BatchAck extends PubAck {
  readonly count?: number;
}

/** JetStream's refusal of a publish. `apiCode` is the server's error code, for what the catalogue does not tell apart. */
export class PublishRefused extends VgasError {
  readonly apiCode: number;
  /** The server's own words. */
  readonly description: string;

  constructor(subject: string, apiCode: number, description: string) {
    const laneFull = apiCode === API.storeFailed && /per subject/.test(description) && isTaskSubject(subject);
    super(
      laneFull ? "LANE_FULL" : apiErrorCode(apiCode),
      `the stream did not take ${subject}: ${description} (${apiCode})`,
    );
    this.apiCode = apiCode;
    this.description = description;
  }
}

const PROGRESS = Buffer.from('{"type":');

/**
 * Whether it is no answer but what the server tells of a fast batch meanwhile: that it has begun, how far it is, that a message is refused
 * or missing. What became of it is in the answer that follows.
 */
export function isProgress(data: Uint8Array): boolean {
  return startsWith(data, PROGRESS);
}

interface KnownStream {
  readonly stream: string;
  /** `{"stream":"NAME","seq":` as the server writes it. */
  readonly start: Uint8Array;
}

const ZERO = 0x30;
const NINE = 0x39;
const CLOSING_BRACE = 0x7d;
/** More streams than a node publishes to; answers of further ones go through the JSON parser. */
const MAX_KNOWN_STREAMS = 8;

/**
 * Learns how the answers of each stream begin, so that the next one is only a comparison and a number. 40-byte answers
 * come as often as messages are published: `JSON.parse` and the text decoding before it would cost more than the rest.
 */
export class PubAckReader {
  readonly #known: KnownStream[] = [];

  /** The answer for a publish to `subject`. */
  read(subject: string, data: Uint8Array): PubAck | VgasError {
    for (const { stream, start } of this.#known) {
      const sequence = startsWith(data, start) ? readSequence(data, start.length) : undefined;
      if (sequence !== undefined) return { stream, sequence, duplicate: false };
    }
    return this.#parse(subject, data);
  }

  /** The answer to the last message of a batch to `subject`: its sequence, and how many were stored with it. */
  readBatch(subject: string, data: Uint8Array): BatchAck | VgasError {
    return this.#parse(subject, data);
  }

  #parse(subject: string, data: Uint8Array): BatchAck | VgasError {
    const text = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString();
    const answer = parseAnswer(text);
    if (answer?.error !== undefined) {
      const { err_code: apiCode = 0, description = "no reason given" } = answer.error;
      return new PublishRefused(subject, apiCode, description);
    }
    if (typeof answer?.stream !== "string" || typeof answer.seq !== "number") {
      return new VgasError(
        "INTERNAL",
        `the answer to a publish on ${subject} is no acknowledgement: ${text.slice(0, 200)}`,
      );
    }
    const ack = { stream: answer.stream, sequence: answer.seq, duplicate: answer.duplicate === true };
    if (typeof answer.count === "number") return { ...ack, count: answer.count };
    if (this.#known.length < MAX_KNOWN_STREAMS && !this.#known.some(({ stream }) => stream === ack.stream))
      this.#learn(ack, text);
    return ack;
  }

  #learn({ stream, sequence }: PubAck, text: string): void {
    const end = text.lastIndexOf(`${sequence}}`);
    if (end > 0 && end + `${sequence}}`.length === text.length)
      this.#known.push({ stream, start: Buffer.from(text.slice(0, end)) });
  }
}

interface Answer {
  readonly stream?: unknown;
  readonly seq?: unknown;
  readonly duplicate?: unknown;
  readonly count?: unknown;
  readonly error?: { readonly err_code?: number; readonly description?: string };
}

function parseAnswer(text: string): Answer | undefined {
  try {
    const answer: unknown = JSON.parse(text);
    return typeof answer === "object" && answer !== null ? answer : undefined;
  } catch {
    return undefined;
  }
}

function startsWith(data: Uint8Array, start: Uint8Array): boolean {
  if (data.length <= start.length) return false;
  for (let i = 0; i < start.length; i++) {
    if (data[i] !== start[i]) return false;
  }
  return true;
}

/** Digits from `from` up to a closing brace that ends the text, or undefined for anything else. */
function readSequence(data: Uint8Array, from: number): number | undefined {
  const last = data.length - 1;
  if (from >= last || data[last] !== CLOSING_BRACE) return undefined;
  let sequence = 0;
  for (let i = from; i < last; i++) {
    const byte = data[i] ?? 0;
    if (byte < ZERO || byte > NINE) return undefined;
    sequence = sequence * 10 + (byte - ZERO);
  }
  return sequence;
}
