/** Asks many parts of a NATS system, and goes on without those that do not answer. */
import { JsApiError } from "../bus/js-api.ts";
import { type ErrorCode, VgasError } from "../protocols/errors.ts";

/** How long one may take. What is healthy answers within milliseconds; an election takes a few seconds. */
const ANSWER_MS = 5_000;
/** With these nothing else can be told either. */
const FATAL: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["ABORTED", "NO_SWARM", "PERMISSION_DENIED", "SHUTTING_DOWN"]);

export class Questions {
  /** What was not answered, and why, one sentence each. */
  readonly unanswered: string[] = [];

  /**
   * The answer; or `instead`, if there is none in time or the server could not give one. What comes later is dropped.
   *
   * @throws VgasError NO_SWARM, PERMISSION_DENIED, ABORTED, SHUTTING_DOWN
   */
  async ask<T>(what: string, question: Promise<T>, instead: T): Promise<T> {
    try {
      return await inTime(question);
    } catch (error) {
      if (!(error instanceof VgasError) || isFatal(error)) throw error;
      this.unanswered.push(`${what}: ${error.message}`);
      return instead;
    }
  }
}

/** The server's own NO_SWARM is a cluster that has no leader for this stream just now. */
function isFatal(error: VgasError): boolean {
  return FATAL.has(error.code) && !(error instanceof JsApiError);
}

async function inTime<T>(question: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new VgasError("TIMEOUT", `no answer within ${ANSWER_MS} ms`)), ANSWER_MS);
  });
  try {
    return await Promise.race([question, late]);
  } finally {
    clearTimeout(timer);
  }
}
