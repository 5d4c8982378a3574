/**
 * What a guest may submit and read. Pure: the name of the guest is the server's word, everything else is the guest's.
 *
 * The rules
 * 1. Pool and kind are tokens, and each task is one that the swarm would run: what fails in an envelope gets an automatic id,
 *    under which the guest could not read it.
 * 2. Each task has an id of the guest's own, so nobody's result is taken or foreseen by a guest.
 * 3. `replyTo` is absent or an inbox of the guest's own: the swarm publishes results there with its own rights.
 * 4. Of the headers only the message id, made the guest's own, and the trace context go further: all others have a meaning to
 *    the stream or to dispatchers.
 * 5. No task names an object of the store: it would be another's, and the task would be run with it, and remove it.
 */
import { readTasks } from "../../bus/codec/task.ts";
import { VgasError } from "../../protocols/errors.ts";
import { checkOwnId, checkOwnInbox, guestMessageId, isGuestName } from "../../protocols/guests.ts";
import { HEADERS, type LaneName } from "../../protocols/subjects.ts";
import { parseEnvelope } from "../../protocols/task.ts";
import { isToken } from "../../protocols/tokens.ts";
import { isTraceparent } from "../../protocols/traceparent.ts";

/** A message of a guest, as far as the rules look at it. */
export interface Submission {
  readonly data: Uint8Array;
  header(name: string): string | undefined;
}

/** What goes into the stream besides the body, which goes as it came. */
export interface Admissible {
  /** Of its tasks, in their order. */
  readonly ids: readonly string[];
  /** Undefined if the guest gave none: then a second copy would be a second submission. */
  readonly msgId: string | undefined;
  readonly headers: Readonly<Record<string, string>> | undefined;
}

/** @throws VgasError INVALID naming the rule, and the place in an array */
export function admit(guest: string, lane: LaneName, submission: Submission): Admissible {
  checkNames(guest, { pool: lane.pool, kind: lane.kind });
  const { array, tasks } = readTasks(submission.data);
  const ids: string[] = [];
  for (const [place, task] of tasks.entries()) {
    try {
      if (!task.ok) throw task.error;
      const { id, replyTo } = parseEnvelope(task.fields, lane);
      checkOwnId(guest, id);
      for (const field of ["inputRef", "contextRef"] as const)
        if (task.fields[field] != null) throw new VgasError("INVALID", `${field} is not for a guest's task`);
      if (replyTo !== undefined) checkOwnInbox(guest, replyTo);
      ids.push(id);
    } catch (error) {
      throw array ? atPlace(place, error) : error;
    }
  }
  const msgId = submission.header(HEADERS.msgId);
  const traceparent = submission.header(HEADERS.traceparent);
  return {
    ids,
    msgId: msgId === undefined ? undefined : guestMessageId(guest, msgId),
    headers: isTraceparent(traceparent) ? { [HEADERS.traceparent]: traceparent } : undefined,
  };
}

/** @throws VgasError INVALID naming the field */
function checkNames(guest: string, names: Readonly<Record<string, string>>): void {
  if (!isGuestName(guest)) throw new VgasError("INVALID", "a guest's name is a token without a dash");
  for (const [field, value] of Object.entries(names)) {
    if (isToken(value)) continue;
    const got = JSON.stringify(value).slice(0, 80);
    throw new VgasError("INVALID", `${field} must be a token [A-Za-z0-9_-]{1,64}, got ${got}`);
  }
}

function atPlace(place: number, error: unknown): unknown {
  if (!(error instanceof VgasError)) return error;
  return new VgasError(error.code, `element ${place} of the array: ${error.message}`, { cause: error });
}
