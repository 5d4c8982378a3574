/** The wire form of errors: what crosses the bus and stands in a result. */
import { ERRORS, type ErrorCode, type TaskError, VgasError } from "./errors.ts";

/** An error as it crosses the bus and stands in a result: `{code, message, retryable}`. */
export interface WireError {
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
}

/** Longest message kept of somebody else's error, in characters: a result must always fit into one message. */
const MAX_MESSAGE_CHARS = 4_000;
const MAX_CODE_CHARS = 100;
/** How far down a chain of causes is looked: it may be a circle. */
const MAX_CAUSES = 8;

/**
 * The wire form of anything that was thrown, whatever it is: it may come from a user's module. What is neither a VgasError
 * nor a TaskError becomes `AGENT_ERROR`, unless a VgasError caused it: then it has that one's code.
 */
export function toWireError(thrown: unknown): WireError {
  try {
    if (thrown instanceof VgasError || isTaskError(thrown)) {
      const { code, message, retryable } = thrown;
      return {
        code: clip(code, MAX_CODE_CHARS),
        message: clip(message, MAX_MESSAGE_CHARS),
        retryable: Boolean(retryable),
      };
    }
    const message = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
    const cause = causeOf(thrown);
    if (cause !== undefined) {
      const text = clip(`${cause.message} (${message})`, MAX_MESSAGE_CHARS);
      return { code: cause.code, message: text, retryable: cause.retryable };
    }
    return { code: "AGENT_ERROR", message: clip(message, MAX_MESSAGE_CHARS), retryable: ERRORS.AGENT_ERROR.retryable };
  } catch {
    return { code: "AGENT_ERROR", message: "a value that cannot be shown was thrown", retryable: true };
  }
}

/** The VgasError of a wire error; a code outside the catalogue becomes `INTERNAL` with the code in the message. */
export function fromWireError(wire: WireError): VgasError {
  return wire.code in ERRORS
    ? new VgasError(wire.code as ErrorCode, wire.message)
    : new VgasError("INTERNAL", `${wire.code}: ${wire.message}`);
}

/** Libraries wrap what their `fetch` throws: an error of ours below theirs says better what happened. */
function causeOf(thrown: unknown): VgasError | undefined {
  let error = thrown;
  for (let depth = 0; depth < MAX_CAUSES && error instanceof Error; depth++) {
    error = error.cause;
    if (error instanceof VgasError) return error;
  }
  return undefined;
}

// A user's module may resolve another copy of this class, so the name decides, not `instanceof`.
function isTaskError(thrown: unknown): thrown is TaskError {
  return thrown instanceof Error && thrown.name === "TaskError" && "code" in thrown && "retryable" in thrown;
}

function clip(value: unknown, maxChars: number): string {
  const text = String(value);
  return text.length <= maxChars ? text : `${text.slice(0, maxChars)}…`;
}
