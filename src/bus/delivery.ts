/** What JetStream says about a delivery, in the subject that acknowledges it. */
import { VgasError } from "../protocols/errors.ts";
import { ACK_PREFIX } from "../protocols/subjects.ts";

export interface Delivery {
  /** Sequence in the stream. */
  readonly sequence: number;
  /** 1 for the first delivery. */
  readonly deliveries: number;
  /** Sequence among the deliveries of the consumer. */
  readonly consumerSequence: number;
  /** When the message was stored, ms since the epoch. */
  readonly timestampMs: number;
  /** Messages of the consumer's subjects that wait behind this one. */
  readonly pending: number;
}

/** `$JS.ACK.<stream>.<consumer>.` and five numbers. */
const SHORT_TOKENS = 9;
const SHORT_FIRST_NUMBER = 4;
/** `$JS.ACK.<domain>.<account hash>.<stream>.<consumer>.`, five numbers, and in newer servers a random token. */
const LONG_MIN_TOKENS = 11;
const LONG_FIRST_NUMBER = 6;
const NANOS_PER_MS = 1e6;

/** Whether `subject` acknowledges a delivery. */
export function isAckSubject(subject: string | undefined): subject is string {
  return subject?.startsWith(ACK_PREFIX) === true;
}

/** @throws VgasError INVALID if it is in neither form */
export function parseDelivery(ack: string): Delivery {
  const tokens = ack.split(".");
  const first = tokens.length === SHORT_TOKENS ? SHORT_FIRST_NUMBER : LONG_FIRST_NUMBER;
  if (!isAckSubject(ack) || (tokens.length !== SHORT_TOKENS && tokens.length < LONG_MIN_TOKENS)) {
    throw new VgasError("INVALID", `no acknowledgement subject: ${JSON.stringify(ack.slice(0, 200))}`);
  }
  return {
    deliveries: Number(tokens[first]),
    sequence: Number(tokens[first + 1]),
    consumerSequence: Number(tokens[first + 2]),
    timestampMs: Math.floor(Number(tokens[first + 3]) / NANOS_PER_MS),
    pending: Number(tokens[first + 4]),
  };
}
