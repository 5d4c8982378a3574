/** A task as a client sends it: checked and encoded before anything touches the connection. */
import { randomBytes } from "node:crypto";
import { encode } from "../bus/codec/codec.ts";
import { EncodingTooLarge } from "../bus/codec/plain.ts";
import type { Writer } from "../bus/codec/writer.ts";
import { systemClock } from "../protocols/clock.ts";
import { VgasError } from "../protocols/errors.ts";
import { MAX_TASK_BYTES } from "../protocols/limits.ts";
import type { LaneName } from "../protocols/subjects.ts";
import { KNOWN_FIELDS, parseEnvelope } from "../protocols/task.ts";
import { isToken } from "../protocols/tokens.ts";
import { LargeTask } from "./large-task.ts";

/** What goes with the input of one task. */
export interface TaskOptions {
  /**
   * Token, unique in its pool; the form `s<digits>` is reserved. Default: `s<stream sequence>`. A guest's begins with the guest's
   * name and a dash, also by default.
   */
  readonly id?: string;
  /** Context snapshot that is bound to the task. */
  readonly context?: unknown;
  /** Longest run of one attempt, 1..86 400 000 ms. Default 60 000. */
  readonly timeoutMs?: number;
  /** Not started within this many ms after submission: its result is `expired`. Default: never. */
  readonly expiresMs?: number;
  /** At most this many executions, 1..100. Default 3; 1 means at most once. */
  readonly maxAttempts?: number;
  /** Not started before: ms since the epoch, or a Date. In the past it means at once. Default: at once. */
  readonly notBefore?: number | Date;
  /** The same as a delay from now on, ms, by this machine's clock. Either this or `notBefore`. */
  readonly delayMs?: number;
  /** Fields of your own; the behaviour gets them as `task.extra`. */
  readonly extra?: Readonly<Record<string, unknown>>;
}

/** Ten years of 366 days. */
const MAX_DELAY_MS = 10 * 366 * 86_400_000;

const MESSAGE_ID = /^[!-~]{1,128}$/;

/**
 * Kept free of a task message for its headers: 27 bytes of the block's own, the message id (128), the trace context (70), and what
 * a dispatcher adds to a task that comes by `now` (an inbox and a time).
 */
const HEADER_BYTES = 512;

/** Room for tasks in one message, bytes. */
export const MAX_BODY_BYTES = MAX_TASK_BYTES - HEADER_BYTES;

/** @throws VgasError INVALID if either name is no token */
export function checkLane(lane: LaneName): LaneName {
  for (const field of ["pool", "kind"] as const) {
    if (!isToken(lane[field])) {
      throw new VgasError(
        "INVALID",
        `${field} must be a token [A-Za-z0-9_-]{1,64}, got ${JSON.stringify(lane[field])}`,
      );
    }
  }
  return lane;
}

/** An id for a task whose id must be known before it is stored, or for a batch: 120 random bits. */
export function ownId(first = "n"): string {
  return `${first}${randomBytes(15).toString("base64url")}`;
}

/** @throws VgasError INVALID if it cannot be sent as a header */
export function checkMessageId(id: string): void {
  if (MESSAGE_ID.test(id)) return;
  throw new VgasError(
    "INVALID",
    `msgId must be 1 to 128 printable ASCII characters without spaces, got ${JSON.stringify(id)}`,
  );
}

/**
 * The msgpack bytes of one task.
 *
 * @throws VgasError INVALID naming the field, the bound and the value; TOO_LARGE if it does not fit into a message
 */
export function encodeTask(
  lane: LaneName,
  input: unknown,
  options: TaskOptions,
  replyTo: string | undefined,
): Uint8Array {
  const { bytes, size } = encodeWhole(lane, input, options, replyTo);
  if (bytes !== undefined) return bytes;
  throw new VgasError("TOO_LARGE", `the task has ${size} bytes, at most ${MAX_BODY_BYTES} fit into a message`);
}

/**
 * As `encodeTask`, for whoever may use the object store: what does not fit into a message goes there.
 *
 * @throws VgasError INVALID; TOO_LARGE if input or context has more than MAX_OBJECT_BYTES, or what else the task has does not fit
 */
export function encodeAnyTask(
  lane: LaneName,
  input: unknown,
  options: TaskOptions,
  replyTo: string | undefined,
): Uint8Array | LargeTask {
  const { bytes } = encodeWhole(lane, input, options, replyTo);
  if (bytes !== undefined) return bytes;
  return new LargeTask(checkedFields(lane, options, replyTo), { input, context: options.context }, MAX_BODY_BYTES);
}

/**
 * As `encodeAnyTask`, for one of many.
 *
 * @returns false if it does not fit into a message: nothing of it is written then
 * @throws VgasError INVALID
 */
export function writeTask(
  writer: Writer,
  lane: LaneName,
  input: unknown,
  options: TaskOptions,
  replyTo: string | undefined,
): boolean {
  const before = writer.length;
  const whole = wholeTask(lane, input, options, replyTo);
  try {
    writer.write(whole);
  } catch (cause) {
    if (cause instanceof EncodingTooLarge) return false;
    throw cannotBeEncoded(cause);
  }
  if (writer.length - before <= MAX_BODY_BYTES) return true;
  writer.back(before);
  return false;
}

/** All of a task but its input and context. */
function checkedFields(
  lane: LaneName,
  options: TaskOptions,
  replyTo: string | undefined,
): Readonly<Record<string, unknown>> {
  const { extra } = options;
  const notBefore = startOf(options);
  if (extra !== undefined) checkExtra(extra);
  // Only what is there: a field that is undefined would have to be taken out again, which costs more than all the rest.
  const fields: Record<string, unknown> = { ...extra };
  for (const name of CHECKED_FIELDS) if (options[name] !== undefined) fields[name] = options[name];
  if (notBefore !== undefined) fields["notBefore"] = notBefore;
  parseEnvelope(fields, lane);
  // An inbox of our own.
  if (replyTo !== undefined) fields["replyTo"] = replyTo;
  return fields;
}

/** Nothing but an input: what most tasks have. */
function isBare(options: TaskOptions): boolean {
  const { context, extra, notBefore, delayMs } = options;
  if (context !== undefined || extra !== undefined || notBefore !== undefined || delayMs !== undefined) return false;
  return CHECKED_FIELDS.every((name) => options[name] === undefined);
}

const CHECKED_FIELDS = ["id", "timeoutMs", "expiresMs", "maxAttempts"] as const;

/** Without `bytes` it does not fit into a message; `size` says how large it is then, as far as that is known. */
function encodeWhole(
  lane: LaneName,
  input: unknown,
  options: TaskOptions,
  replyTo: string | undefined,
): { readonly bytes: Uint8Array | undefined; readonly size: string } {
  const whole = wholeTask(lane, input, options, replyTo);
  try {
    const bytes = encode(whole);
    return { bytes: bytes.length > MAX_BODY_BYTES ? undefined : bytes, size: String(bytes.length) };
  } catch (cause) {
    if (cause instanceof EncodingTooLarge) return { bytes: undefined, size: "too many" };
    throw cannotBeEncoded(cause);
  }
}

function cannotBeEncoded(cause: unknown): VgasError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new VgasError("INVALID", `the task cannot be encoded: ${why}`, { cause });
}

function wholeTask(lane: LaneName, input: unknown, options: TaskOptions, replyTo: string | undefined): object {
  // Literals, since an object that grows field by field takes a microsecond longer to make and to encode.
  if (input !== undefined && isBare(options)) return replyTo === undefined ? { input } : { replyTo, input };
  const whole: Record<string, unknown> = { ...checkedFields(lane, options, replyTo) };
  if (input !== undefined) whole["input"] = input;
  if (options.context !== undefined) whole["context"] = options.context;
  return whole;
}

/** When it may start, ms since the epoch. @throws VgasError INVALID */
function startOf({ notBefore, delayMs, expiresMs }: TaskOptions): number | undefined {
  if (notBefore === undefined && delayMs === undefined) return undefined;
  if (notBefore !== undefined && delayMs !== undefined)
    throw new VgasError("INVALID", "notBefore and delayMs say the same: give one of them");
  const now = systemClock.now();
  if (delayMs !== undefined && !(Number.isInteger(delayMs) && delayMs >= 0 && delayMs <= MAX_DELAY_MS))
    throw new VgasError("INVALID", `delayMs must be an integer from 0 to ${MAX_DELAY_MS} ms, got ${String(delayMs)}`);
  const start = notBefore === undefined ? now + (delayMs ?? 0) : Number(notBefore);
  if (!(Number.isInteger(start) && start >= 1))
    throw new VgasError("INVALID", `notBefore must be a Date or whole ms since the epoch, got ${String(notBefore)}`);
  if (expiresMs !== undefined && start - now >= expiresMs)
    throw new VgasError(
      "INVALID",
      `it may not start before it expires: expiresMs (${expiresMs}) counts from submission`,
    );
  return start;
}

function checkExtra(extra: Readonly<Record<string, unknown>>): void {
  for (const name of Object.keys(extra)) {
    if (KNOWN_FIELDS.has(name))
      throw new VgasError("INVALID", `extra must not hold "${name}": it is a field of the task itself`);
  }
}
