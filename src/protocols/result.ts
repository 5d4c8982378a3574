import type { Usage } from "./vault/keys.ts";
import type { WireError } from "./wire-error.ts";

/** How a task ended. */
export type ResultStatus = "ok" | "failed" | "cancelled" | "expired";

/** Where an input, a context or an output too large for a message is kept: an object of a NATS object store. */
export interface ObjectRef {
  readonly bucket: string;
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** What an attempt used of providers through the vault, in US dollars where the vault counts billionths of one. */
export type TaskUsage = Omit<Usage, "costNanoUsd"> & { readonly costUsd: number };

/** The one result of a task. Times are milliseconds since the epoch; `ticket` is the one of the attempt that made it. */
export interface TaskResult<Output = unknown> {
  readonly id: string;
  readonly pool: string;
  readonly kind: string;
  readonly status: ResultStatus;
  readonly output?: Output;
  readonly outputRef?: ObjectRef;
  readonly error?: WireError;
  readonly attempt: number;
  readonly submittedAt: number;
  readonly startedAt?: number;
  readonly finishedAt: number;
  readonly agent?: string;
  readonly host?: string;
  readonly ticket?: number;
  /** What the attempt that made this result used; left out if it used nothing. */
  readonly usage?: TaskUsage;
  /** Id of the task that this one repeats. */
  readonly replayOf?: string;
}

interface EventOf<Type extends string> {
  readonly id: string;
  readonly type: Type;
  /** Milliseconds since the epoch, by the host's clock. */
  readonly at: number;
  readonly attempt: number;
}

/** What the behaviour said about how far it is. */
export interface ProgressEvent extends EventOf<"progress"> {
  readonly data?: unknown;
}

/** A chunk of partial output; `seq` counts from 0 in each attempt. */
export interface OutputEvent extends EventOf<"output"> {
  readonly data: { readonly seq: number; readonly chunk: unknown };
}

/** The attempt failed with `error`, and the next one follows in `delayMs`. */
export interface RetryingEvent extends EventOf<"retrying"> {
  readonly data: { readonly error: WireError; readonly delayMs: number };
}

/** What `events.<pool>.<taskId>` carries while a task runs. */
export type TaskEvent = ProgressEvent | OutputEvent | RetryingEvent;

/** Why something is in the dead letters. */
export const DEAD_REASONS = ["malformed", "invalid", "attempts-exhausted", "crashed-repeatedly"] as const;
export type DeadReason = (typeof DEAD_REASONS)[number];

/** The record kept of what failed for good; `task` is the original bytes. */
export interface DeadLetter {
  readonly id: string;
  readonly pool: string;
  readonly kind: string;
  readonly reason: DeadReason;
  readonly message: string;
  readonly attempts: number;
  readonly at: number;
  readonly task: Uint8Array;
}
