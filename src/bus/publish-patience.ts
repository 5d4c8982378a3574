/** How long a publish waits for its answer, and for another one than a refusal that may pass. Times are ms of a monotonic clock. */
import { ELECTION_MS } from "./leader.ts";
import type { PendingPublish } from "./publish-queue.ts";

/** Each repetition waits twice as long as the one before, up to this: a slow server is not helped by more messages. */
const MAX_ACK_TIMEOUT_MS = 30_000;
/** "No stream takes it" is believed after this long: a server that starts answers so too. */
const NO_STREAM_GRACE_MS = 1_000;
/** How often such a message is offered again at most: thousands may be in flight while nobody takes them. */
const REFUSED_PAUSE_MS = 500;

/** It has waited so long for its answer, or since it was refused, that something is to be done. */
export function isOverdue(pending: PendingPublish, now: number, ackTimeoutMs: number): boolean {
  if (pending.again) return now - pending.sentAt >= Math.min(REFUSED_PAUSE_MS, pending.sentAt - pending.refusedAt);
  const allowed = Math.min(
    ackTimeoutMs * 2 ** Math.max(0, pending.sends - 1),
    Math.max(MAX_ACK_TIMEOUT_MS, ackTimeoutMs),
  );
  return now - (pending.sends === 0 ? pending.since : pending.sentAt) >= allowed;
}

/**
 * Whether the refusal of one that is known not to be stored, or has a message id that is in process, may still be another one soon. `leaderless`:
 * a cluster refuses until it has elected another leader of the stream, and a server that is about to stop until it does.
 */
export function mayChange(pending: PendingPublish, now: number, leaderless: boolean): boolean {
  return now - pending.refusedAt <= (leaderless ? ELECTION_MS : NO_STREAM_GRACE_MS);
}
