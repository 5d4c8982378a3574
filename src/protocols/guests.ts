/**
 * What belongs to a guest: its name is the first part of the id of each of its tasks, up to the first dash. So a guest's name
 * holds no dash, and an id belongs to at most one guest.
 */
import { VgasError } from "./errors.ts";
import { inboxPrefix } from "./subjects.ts";
import { isToken } from "./tokens.ts";

const SEPARATOR = "-";

/**
 * Longest message id of a guest, characters. The gate puts the guest's name before it, so that no guest can swallow
 * another's submission by its message id; with that it is as long as anybody's.
 */
const MAX_GUEST_MESSAGE_ID = 100;

const MESSAGE_ID = new RegExp(`^[!-~]{1,${MAX_GUEST_MESSAGE_ID}}$`);

/** What the ids of that guest's tasks begin with. */
export function guestIdPrefix(guest: string): string {
  return `${guest}${SEPARATOR}`;
}

/** True if `name` can be a guest's: a token without a dash. */
export function isGuestName(name: unknown): name is string {
  return isToken(name) && !name.includes(SEPARATOR);
}

/** The guest that a task id belongs to, if it is a guest's. */
export function guestOfId(id: string): string | undefined {
  const end = id.indexOf(SEPARATOR);
  return end > 0 ? id.slice(0, end) : undefined;
}

/** Whether `id` is a token, and one of that guest's. */
export function isOwnId(guest: string, id: unknown): id is string {
  const prefix = guestIdPrefix(guest);
  return isToken(id) && id.startsWith(prefix) && id.length > prefix.length;
}

/** @throws VgasError INVALID naming the rule */
export function checkOwnId(guest: string, id: unknown): asserts id is string {
  if (isOwnId(guest, id)) return;
  const got = typeof id === "string" ? JSON.stringify(id.slice(0, 80)) : id == null ? "none" : `a ${typeof id}`;
  throw new VgasError(
    "INVALID",
    `the id of a guest's task must be a token [A-Za-z0-9_-]{1,64} that begins with "${guestIdPrefix(guest)}", got ${got}`,
  );
}

/** @throws VgasError INVALID naming the rule */
export function checkOwnInbox(guest: string, replyTo: string): void {
  const prefix = `${inboxPrefix(guest)}.`;
  if (replyTo.startsWith(prefix)) return;
  throw new VgasError(
    "INVALID",
    `"replyTo" of a guest's task must begin with "${prefix}", got ${JSON.stringify(replyTo.slice(0, 80))}`,
  );
}

/** The message id under which a guest's submission is stored. @throws VgasError INVALID naming the rule */
export function guestMessageId(guest: string, messageId: string): string {
  if (MESSAGE_ID.test(messageId)) return `${guest}.${messageId}`;
  throw new VgasError(
    "INVALID",
    `the message id of a guest must be 1 to ${MAX_GUEST_MESSAGE_ID} printable ASCII characters without spaces`,
  );
}
