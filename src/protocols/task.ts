/**
 * The task message (contract section 3): what a client publishes and what a behaviour gets.
 *
 * A dispatcher needs only the envelope, and reads it without decoding `input` and `context`; the host decodes the rest.
 */
import { VgasError } from "./errors.ts";
import { MAX_TIMEOUT_MS } from "./limits.ts";
import type { ObjectRef } from "./result.ts";
import { type LaneName, PRIORITIES, type Priority } from "./subjects.ts";
import { isAutomaticId, isInbox, isToken } from "./tokens.ts";

/** A task as a client writes it. Unknown fields are kept and reach the behaviour as `task.extra`. */
export interface TaskFields<Input = unknown> {
  /** Token, unique in its pool; the form `s<digits>` is reserved. Default: automatic. */
  readonly id?: string;
  readonly input?: Input;
  readonly context?: unknown;
  /** Longest run of one attempt, 1..86 400 000 ms. Default 60 000. */
  readonly timeoutMs?: number;
  /** Not started within this many ms after submission: `expired`. Default: never. */
  readonly expiresMs?: number;
  /** At most this many executions, 1..100. Default 3. */
  readonly maxAttempts?: number;
  /** Not to be started before, ms since the epoch. Default: at once. */
  readonly notBefore?: number;
  /** Inbox subject that also gets the result. */
  readonly replyTo?: string;
  /** If present it must equal the priority of the subject. */
  readonly priority?: Priority;
  /** Id of the task that this one repeats; its result carries it. */
  readonly replayOf?: string;
  /** Where the input is, if it is too large for a message: msgpack, or JSON in a task that is JSON. */
  readonly inputRef?: ObjectRef;
  readonly contextRef?: ObjectRef;
  /** If present it must equal the kind of the subject. */
  readonly kind?: string;
}

/** The checked envelope of a task, defaults filled in. */
export interface TaskEnvelope {
  readonly id: string | undefined;
  readonly timeoutMs: number;
  readonly expiresMs: number | undefined;
  readonly maxAttempts: number;
  readonly notBefore: number | undefined;
  readonly replyTo: string | undefined;
  readonly replayOf: string | undefined;
}

const TASK_DEFAULTS = { timeoutMs: 60_000, maxAttempts: 3 } as const;
const TASK_BOUNDS = { timeoutMs: MAX_TIMEOUT_MS, maxAttempts: 100 } as const;

/** Names of the envelope's fields; `readTasks` in bus/codec decodes exactly these of a task's top level. */
export const ENVELOPE_FIELDS = [
  "id",
  "kind",
  "timeoutMs",
  "expiresMs",
  "maxAttempts",
  "replyTo",
  "notBefore",
  "priority",
  "replayOf",
  "inputRef",
  "contextRef",
] as const;
export type EnvelopeField = (typeof ENVELOPE_FIELDS)[number];

/** Fields of a task that the swarm interprets; everything else is `extra`. */
export const KNOWN_FIELDS: ReadonlySet<string> = new Set([...ENVELOPE_FIELDS, "input", "context"]);

/**
 * Checks the envelope of a task that arrived on `lane` with `priority`. `null` counts as absent, because not every encoder can leave
 * a field out.
 *
 * @throws VgasError INVALID naming the field, the bound and the value
 */
export function parseEnvelope(
  fields: Partial<Record<EnvelopeField, unknown>>,
  lane: LaneName,
  priority: Priority = "normal",
): TaskEnvelope {
  const { id, kind, replyTo, replayOf } = fields;
  if (id != null) {
    if (!isToken(id)) throw invalid("id", "a token [A-Za-z0-9_-]{1,64}", id);
    if (isAutomaticId(id)) throw invalid("id", "not of the reserved form s<digits>", id);
  }
  if (kind != null && kind !== lane.kind) throw invalid("kind", `the subject's kind "${lane.kind}"`, kind);
  if (replyTo != null && !isInbox(replyTo)) throw invalid("replyTo", "an inbox subject (_INBOX.…)", replyTo);
  if (fields.priority != null && fields.priority !== priority) {
    const known = (PRIORITIES as readonly unknown[]).includes(fields.priority);
    const bound = known ? `the subject's priority "${priority}"` : `one of ${PRIORITIES.join(", ")}`;
    throw invalid("priority", bound, fields.priority);
  }
  if (replayOf != null && !isToken(replayOf)) throw invalid("replayOf", "a token [A-Za-z0-9_-]{1,64}", replayOf);
  return {
    id: id ?? undefined,
    replyTo: replyTo ?? undefined,
    replayOf: replayOf ?? undefined,
    notBefore: integer("notBefore", fields.notBefore, Number.MAX_SAFE_INTEGER),
    timeoutMs: integer("timeoutMs", fields.timeoutMs, TASK_BOUNDS.timeoutMs) ?? TASK_DEFAULTS.timeoutMs,
    expiresMs: integer("expiresMs", fields.expiresMs, Number.MAX_SAFE_INTEGER),
    maxAttempts: integer("maxAttempts", fields.maxAttempts, TASK_BOUNDS.maxAttempts) ?? TASK_DEFAULTS.maxAttempts,
  };
}

function integer(field: EnvelopeField, value: unknown, max: number): number | undefined {
  if (value == null) return undefined;
  if (typeof value !== "number" || !Number.isInteger(value) || value < 1 || value > max) {
    throw invalid(field, `an integer from 1 to ${max}`, value);
  }
  return value;
}

function invalid(field: EnvelopeField, bound: string, value: unknown): VgasError {
  return new VgasError("INVALID", `task field "${field}" must be ${bound}, got ${show(value)}`);
}

/** A short, safe form of somebody else's value for an error message. */
function show(value: unknown): string {
  if (typeof value === "string")
    return value.length > 80 ? `${JSON.stringify(value.slice(0, 80))}…` : JSON.stringify(value);
  if (value === null || typeof value === "number" || typeof value === "boolean" || typeof value === "bigint")
    return String(value);
  return Array.isArray(value) ? "an array" : `a ${typeof value}`;
}
