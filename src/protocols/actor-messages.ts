/**
 * What is said to an actor, and what it answers (contract section 1, `actors.<name>` and `actors.<name>.<hostId>`).
 *
 * A message is a map `{type, ...fields}`. Where it carries a reply inbox it is answered once, with `{value}` or
 * `{error: {code, message, retryable}}`:
 * - asked (no header): with what the actor replies; a type without a reply schema is answered with nil once it is processed;
 * - told (header `Vgas-Delivery: tell`): with nil as soon as the mailbox has it.
 *
 * | message | subject | sender | reply |
 * |---|---|---|---|
 * | `{type, ...}` | actors.<name> | anyone allowed | ActorReply from the owner of the name |
 * | `{type, ...}` | actors.<name>.<hostId> | anyone allowed | ActorReply from the actor of that name on that node |
 * | OwnerRecord | key `<name>` of bucket `owners` | hosts | none |
 */
import { z } from "zod";

/** Headers of a message to an actor. */
export const ACTOR_HEADERS = {
  /** `tell`: answer when the mailbox has the message, not when the actor has answered it. */
  delivery: "Vgas-Delivery",
  /** How long the sender waits for the answer, ms: after that the actor's mailbox need not count the message. */
  timeoutMs: "Vgas-Timeout-Ms",
} as const;

/** Value of the delivery header for a message that wants no answer of the actor. */
export const DELIVERY_TELL = "tell";

/** A message as it must look before its protocol is known. */
export const actorMessage = z.looseObject({ type: z.string().min(1).max(128) });

/** The one answer to a message. `value` is left out or nil where there is nothing to say. */
export const actorReply = z.union([
  z.object({ error: z.object({ code: z.string(), message: z.string(), retryable: z.boolean() }) }),
  z.object({ value: z.unknown().optional() }),
]);
export type ActorReply = z.infer<typeof actorReply>;

/** Longest lease that a reader believes, ms: a nonsensical record must not block a name for ever. */
const MAX_LEASE_MS = 3_600_000;

/** In the record that begins an ownership, whose revision nobody knows before it is written. */
export const EPOCH_IS_REVISION = 0;

/**
 * Who owns a name. `run` is the incarnation of the host; `epoch` is the fencing token: the revision of the record by
 * which this ownership began, so it only grows. The record is good for `leaseMs` after it was written, unless `released`.
 */
export const ownerRecord = z.object({
  v: z.literal(1),
  host: z.string(),
  run: z.string(),
  epoch: z.number().int().min(0),
  leaseMs: z.number().int().min(1).max(MAX_LEASE_MS),
  released: z.boolean(),
});
export type OwnerRecord = z.infer<typeof ownerRecord>;
