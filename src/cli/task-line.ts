/** One line of a task file: `{kind, ...task fields}` as JSON. */
import { decodeJson } from "../bus/codec/json.ts";
import type { TaskOptions } from "../client/task-message.ts";
import { VgasError } from "../protocols/errors.ts";
import { isPriority, PRIORITIES, type Priority } from "../protocols/subjects.ts";
import { parseEnvelope } from "../protocols/task.ts";
import { isToken } from "../protocols/tokens.ts";
import { type Line, MAX_LINE_BYTES } from "./lines.ts";

export interface LineTask {
  readonly kind: string;
  /** Undefined: the pool of the command. */
  readonly pool: string | undefined;
  readonly input: unknown;
  readonly options: TaskOptions & { readonly priority?: Priority };
}

/** Undefined for a blank line. `defaultKind` is of lines that name none. @throws VgasError INVALID or TOO_LARGE saying what is wrong, without the line's number */
export function parseTaskLine({ bytes }: Line, defaultKind?: string): LineTask | undefined {
  if (bytes === undefined) throw new VgasError("TOO_LARGE", `the line is longer than ${MAX_LINE_BYTES} bytes`);
  if (isBlank(bytes)) return undefined;
  const value = decodeJson(bytes);
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new VgasError("INVALID", 'a line must be one JSON object, such as {"kind":"echo","input":1}');
  }
  const fields = value as Record<string, unknown>;
  const { kind = defaultKind, pool, input, context, replyTo, priority, ...others } = fields;
  const { id, timeoutMs, expiresMs, maxAttempts, notBefore, ...extra } = others;
  if (!isToken(kind)) throw new VgasError("INVALID", 'task field "kind" must be a token [A-Za-z0-9_-]{1,64}');
  if (pool != null && !isToken(pool)) throw new VgasError("INVALID", '"pool" must be a token [A-Za-z0-9_-]{1,64}');
  if (replyTo != null) throw new VgasError("INVALID", 'task field "replyTo" has no place here: results are printed');
  if (priority != null && !isPriority(priority))
    throw new VgasError("INVALID", `task field "priority" must be one of ${PRIORITIES.join(", ")}`);
  const envelope = parseEnvelope({ id, timeoutMs, expiresMs, maxAttempts, notBefore }, { pool: "any", kind });
  return {
    kind,
    pool: pool ?? undefined,
    input,
    options: {
      context,
      timeoutMs: envelope.timeoutMs,
      maxAttempts: envelope.maxAttempts,
      ...(priority != null && { priority }),
      ...(envelope.notBefore !== undefined && { notBefore: envelope.notBefore }),
      ...(envelope.id !== undefined && { id: envelope.id }),
      ...(envelope.expiresMs !== undefined && { expiresMs: envelope.expiresMs }),
      ...(Object.keys(extra).length > 0 && { extra }),
    },
  };
}

function isBlank(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d);
}
