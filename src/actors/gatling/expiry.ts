/** Tasks in hand that may not be started any more (`expiresMs`). */
import { readEncoding } from "../../bus/codec/task.ts";
import { VgasError } from "../../protocols/errors.ts";
import type { LaneName } from "../../protocols/subjects.ts";
import type { TaskInHand } from "./task-in-hand.ts";
import type { Verdicts } from "./verdicts.ts";

/** Ends those of `hand` that have expired, and returns the others: the same array if there are none. */
export function dropExpired(hand: TaskInHand[], lane: LaneName, verdicts: Verdicts, now: number): TaskInHand[] {
  // A task that was started once has met its limit, whatever became of that attempt.
  const expired = (task: TaskInHand): boolean =>
    task.attempt === 1 && task.expiresAt !== undefined && task.expiresAt < now;
  if (!hand.some(expired)) return hand;
  for (const task of hand.filter(expired)) {
    const limitMs = (task.expiresAt as number) - task.submittedAt;
    const error = new VgasError("EXPIRED", `not started within ${limitMs} ms after submission`);
    verdicts.expire(lane, { ...task, encoding: readEncoding(task.body), attempts: 0 }, error);
  }
  return hand.filter((task) => !expired(task));
}
