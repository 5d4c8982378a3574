/**
 * Dead letters of failed results whose writer died between the two: whoever meets the stored result before it acknowledges the task
 * makes up for the letter. The server refuses it if it is there.
 */
import type { Clock } from "../protocols/clock.ts";
import { VgasError } from "../protocols/errors.ts";
import type { DeadLetter, DeadReason, TaskResult } from "../protocols/result.ts";
import type { LaneName, Names } from "../protocols/subjects.ts";
import { encode } from "./codec/codec.ts";
import { decodeMirrored } from "./codec/task.ts";
import type { Publisher } from "./publisher.ts";

interface Means {
  readonly publisher: Publisher;
  readonly names: Names;
  readonly clock: Clock;
}

/** Verdicts of dispatchers over tasks that were started as often as they may be. */
const CRASHED: readonly string[] = ["CRASHED_REPEATEDLY", "INTERRUPTED"];

/**
 * Calls `done` when the task with the stored result `stored` has the dead letter that it is to have, or with why it has not.
 * `reason` is that of the verdict at hand; without it the result's own.
 */
export function makeUpLetter(
  { publisher, names, clock }: Means,
  { pool, kind }: LaneName,
  task: { readonly id: string; readonly body: Uint8Array },
  stored: Uint8Array,
  done: (error: VgasError | undefined) => void,
  reason?: DeadReason,
): void {
  const result = failedResult(stored);
  if (result === undefined) {
    done(undefined);
    return;
  }
  const { error, attempt } = result;
  const crashed = CRASHED.includes(error.code);
  const letter: DeadLetter = {
    ...{ id: task.id, pool, kind },
    reason: reason ?? (crashed ? "crashed-repeatedly" : "attempts-exhausted"),
    message: crashed || reason !== undefined ? error.message : `${error.code}: ${error.message}`,
    ...{ attempts: attempt, at: clock.now(), task: task.body },
  };
  const once = { expectLastSubjectSequence: 0, retry: true };
  publisher.send(
    names.dead(pool, task.id),
    encode(letter),
    undefined,
    (refusal) => done(refusal instanceof VgasError && refusal.code === "CONFLICT" ? undefined : refusal),
    once,
  );
}

/** Undefined for any other, and for what is none: anybody with a credential for results can have stored it. */
function failedResult(stored: Uint8Array): (TaskResult & Required<Pick<TaskResult, "error">>) | undefined {
  try {
    const result = decodeMirrored(stored).value as TaskResult | null;
    const error = result?.status === "failed" ? result.error : undefined;
    return result && typeof error?.code === "string" && typeof error.message === "string"
      ? { ...result, error }
      : undefined;
  } catch {
    return undefined;
  }
}
