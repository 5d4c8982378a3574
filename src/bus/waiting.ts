/**
 * Looks at tasks that wait in the stream, without a consumer: on a work queue even a consumer that only looks would be in the
 * dispatchers' way. What is read stays as it is; whether somebody has it in hand cannot be seen here.
 */
import type { Bus } from "./bus.ts";
import { JsApiError, jsApiFind } from "./js-api.ts";
import { isClustered } from "./leader.ts";
import { nextBySubject, type StoredMessage } from "./stored.ts";
import { consumerInfo } from "./topology.ts";

export interface WaitingOptions {
  /** Subjects, with wildcards as NATS has them; `Names.tasks` gives those of a lane, one for each priority. */
  readonly filter: string;
  /** First sequence that is of interest. Default: the oldest. */
  readonly from?: number;
  /** At most this many messages. Default: all. */
  readonly maxMessages?: number;
}

/** Messages asked for at once; with less than a burst's bytes, so that looking never fills the server's buffers. */
const BATCH_MESSAGES = 512;
const BATCH_BYTES = 1_048_576;
/** The server's codes for a sequence that is deleted or was never there. */
const GONE: ReadonlySet<number> = new Set([10_037, 10_043, 10_057]);

/**
 * The messages of `stream` that `filter` covers, in order. No more than were there at the start, so that it ends however fast
 * others submit; what is removed meanwhile is left out, and what comes meanwhile may stand in for it.
 *
 * @throws VgasError UNDELIVERABLE if there is no such stream; TIMEOUT; PERMISSION_DENIED
 */
export async function* waitingMessages(
  bus: Bus,
  stream: string,
  { filter, from = 1, maxMessages = Number.POSITIVE_INFINITY }: WaitingOptions,
): AsyncGenerator<StoredMessage, void, undefined> {
  let next = from;
  let left = maxMessages;
  while (left > 0) {
    const batch = { filter, from: next, maxMessages: Math.min(left, BATCH_MESSAGES), maxBytes: BATCH_BYTES };
    const { messages, behind } = await nextBySubject(bus, stream, batch);
    yield* messages;
    const last = messages.at(-1);
    if (last === undefined) return;
    next = last.sequence + 1;
    left = Math.min(left - messages.length, behind);
  }
}

/** The oldest message of `stream` that `filter` covers, or undefined if there is none. Fails as `waitingMessages`. */
export async function oldestWaiting(bus: Bus, stream: string, filter: string): Promise<StoredMessage | undefined> {
  for await (const message of waitingMessages(bus, stream, { filter, maxMessages: 1 })) return message;
  return undefined;
}

/** Takes a message out of `stream` for good; nothing happens if it is gone. */
export async function removeWaiting(bus: Bus, stream: string, sequence: number): Promise<void> {
  try {
    await jsApiFind(bus, `removing a message of ${stream}`, (manager) =>
      manager.streams.deleteMessage(stream, sequence, false),
    );
  } catch (error) {
    if (!(error instanceof JsApiError && GONE.has(error.apiCode))) throw error;
  }
}

/**
 * As `removeWaiting`, but in a cluster only what `consumer`, whose message it is, has never delivered; the rest is for whoever has it
 * in hand to acknowledge.
 *
 * nats-server 2.15.1 loses tasks otherwise: where a message that is out is deleted while nobody leads its consumer, the servers' copies
 * of the consumer no longer agree on what is acknowledged. One of them may refuse the next snapshot of it for older than its own, go on
 * without what was delivered before it, and when it leads, remove that from the queue (test/faults/vanishing.ts).
 */
export async function removeUndelivered(bus: Bus, stream: string, consumer: string, sequence: number): Promise<void> {
  if (isClustered(bus)) {
    const state = await consumerInfo(bus, stream, consumer);
    if (state !== undefined && sequence <= state.delivered) return;
  }
  await removeWaiting(bus, stream, sequence);
}
