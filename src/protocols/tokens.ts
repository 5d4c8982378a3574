/**
 * The grammar of every name that becomes part of a subject: prefix, pool, kind, task id, host id, agent id, actor name.
 *
 * A token never holds a dot, a wildcard, white space or a control character, so a subject built from tokens has
 * exactly as many parts as its builder wrote.
 */

/** `[A-Za-z0-9_-]{1,64}`. */
const TOKEN = /^[A-Za-z0-9_-]{1,64}$/;

/** `s<sequence>` and `s<sequence>-<element>`: ids that the swarm gives itself; a client may not choose them. */
const AUTOMATIC_ID = /^s\d+(?:-\d+)?$/;

/** A publishable inbox subject: `_INBOX.` and at least one further token, no wildcard. */
const INBOX = /^_INBOX(?:\.[A-Za-z0-9_$=+/-]{1,128}){1,8}$/;

/** Where the server wants the answer to a request that came through a service import: `_R_.` and tokens of its own making. */
const SERVICE_REPLY = /^_R_(?:\.[A-Za-z0-9_-]{1,128}){1,8}$/;

/** True if `value` is a token. */
export function isToken(value: unknown): value is string {
  return typeof value === "string" && TOKEN.test(value);
}

/** True if `id` has the form that is reserved for automatic ids. */
export function isAutomaticId(id: string): boolean {
  return AUTOMATIC_ID.test(id);
}

/** True if answers may be published to `subject`. Anything else could be made to land on a stream or an API subject. */
export function isInbox(subject: unknown): subject is string {
  return typeof subject === "string" && subject.length <= 512 && INBOX.test(subject);
}

/** True if the server made `subject` for the answer to a request from another account. */
export function isServiceReply(subject: string): boolean {
  return SERVICE_REPLY.test(subject);
}

/** The automatic id of the message at `sequence` of the task stream, or of its `element` if it was an array. */
export function automaticId(sequence: number, element?: number): string {
  return element === undefined ? `s${sequence}` : `s${sequence}-${element}`;
}

/** The sequence in an automatic id; undefined if it is none that a stream can have given. */
export function sequenceOf(id: string): number | undefined {
  const sequence = isAutomaticId(id) ? Number.parseInt(id.slice(1), 10) : Number.NaN;
  return Number.isSafeInteger(sequence) && sequence > 0 ? sequence : undefined;
}

/** The element in an automatic id of an array's element. */
export function elementOf(id: string): number | undefined {
  const dash = isAutomaticId(id) ? id.indexOf("-") : -1;
  return dash < 0 ? undefined : Number(id.slice(dash + 1));
}
