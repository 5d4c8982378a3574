import { setMaxListeners } from "node:events";
import { Deadline } from "../bus/deadline.ts";
import { VgasError } from "../protocols/errors.ts";

/** What every call that waits takes. */
export interface CallOptions {
  /** Gives up after this many ms, with TIMEOUT. */
  readonly timeoutMs?: number;
  /** Gives up when it fires, with ABORTED. */
  readonly signal?: AbortSignal;
}

/** Longest delay of a timer, ms. */
const MAX_DELAY_MS = 2 ** 31 - 1;

/** @throws VgasError INVALID naming `field` */
export function checkTimeout(timeoutMs: number | undefined, field = "timeoutMs"): void {
  if (timeoutMs === undefined || (timeoutMs >= 0 && timeoutMs <= MAX_DELAY_MS)) return;
  throw new VgasError("INVALID", `${field} must be from 0 to ${MAX_DELAY_MS} ms, got ${timeoutMs}`);
}

/** Calls `work` with a signal that fires when the time is over or `signal` does. Its ABORTED becomes TIMEOUT in the first case. */
export async function within<T>(
  operation: string,
  { timeoutMs, signal }: CallOptions,
  work: (signal: AbortSignal | undefined) => Promise<T>,
): Promise<T> {
  // Many calls may be made with one signal.
  if (signal !== undefined) setMaxListeners(0, signal);
  if (timeoutMs === undefined) return await work(signal);
  const deadline = new Deadline(timeoutMs, signal);
  setMaxListeners(0, deadline.signal);
  try {
    return await work(deadline.signal);
  } catch (error) {
    if (!deadline.expired || !(error instanceof VgasError) || error.code !== "ABORTED") throw error;
    throw new VgasError("TIMEOUT", `${operation} timed out after ${timeoutMs} ms`, { cause: error });
  } finally {
    deadline.clear();
  }
}
