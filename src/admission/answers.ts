/** How the door's answers look as HTTP. */
import type { z } from "zod";
import { MAX_JOIN_BODY_BYTES } from "../protocols/admission.ts";
import { type ErrorCode, VgasError } from "../protocols/errors.ts";

export interface Answer {
  readonly status: number;
  readonly body: object;
}

const STATUS: Partial<Record<ErrorCode, number>> = {
  INVALID: 400,
  TOO_LARGE: 413,
  NOT_FOUND: 404,
  PROOF_REFUSED: 401,
  TOKEN_INVALID: 401,
  TOKEN_UNKNOWN: 401,
  TOKEN_EXPIRED: 403,
  TOKEN_REVOKED: 403,
  TOKEN_USED_UP: 403,
  NODE_REVOKED: 403,
  NOT_ADMITTED: 403,
  PERMISSION_DENIED: 403,
  NODE_EXISTS: 409,
  RESOURCE_LIMIT: 429,
  SHUTTING_DOWN: 503,
};

export function refusalAnswer({ code, message, retryable }: VgasError): Answer {
  return { status: STATUS[code] ?? 500, body: { error: { code, message, retryable } } };
}

/** The JSON value of a body, as `schema` has it. @throws VgasError TOO_LARGE, INVALID naming the field */
export function readBody<T>(schema: z.ZodType<T>, body: Uint8Array): T {
  if (body.length > MAX_JOIN_BODY_BYTES) {
    throw new VgasError("TOO_LARGE", `the body has ${body.length} bytes, more than ${MAX_JOIN_BODY_BYTES}`);
  }
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch {
    throw new VgasError("INVALID", "the body is not JSON");
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const field = issue?.path.join(".") || "the body";
  throw new VgasError("INVALID", `${field}: ${issue?.message ?? "is not as it must be"}`);
}
