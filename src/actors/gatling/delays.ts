/**
 * Tasks that are not to start yet (`notBefore`).
 *
 * 1. They are NAKed with the delay that is left, and looked at again when they come: the broker may come early, or forget.
 * 2. Before that it is recorded that waiting is no execution, unless something is recorded already: a task may have begun by
 *    another clock, and an id of a client's own may be that of another task, whose next attempt is not to wait for this one.
 * 3. One that expires while it waits comes then, and not at its time.
 */
import type { AttemptsLog } from "../../bus/attempts.ts";
import type { Bus } from "../../bus/bus.ts";
import { nakTask } from "../../bus/pull.ts";
import type { Clock } from "../../protocols/clock.ts";
import type { LaneName } from "../../protocols/subjects.ts";
import { MAX_DELAY_MS } from "./past.ts";
import type { TaskInHand } from "./task-in-hand.ts";

export interface DelaysOptions {
  readonly lane: LaneName;
  readonly bus: Bus;
  readonly attempts: AttemptsLog;
  readonly clock: Clock;
}

/** How long a task is still to wait, ms; 0 if it may start, or has expired. */
export function delayOf(notBefore: number | undefined, expiresAt: number | undefined, now: number): number {
  if (notBefore === undefined || notBefore <= now) return 0;
  return Math.max(0, untilOf(notBefore, expiresAt) - now);
}

/** When it is to come again. */
function untilOf(notBefore: number, expiresAt: number | undefined): number {
  return expiresAt === undefined ? notBefore : Math.min(notBefore, expiresAt + 1);
}

/** Lets a single task wait until `notBefore`. `attempts` executions count already, where nothing else is recorded. */
export async function postpone(
  { lane, bus, attempts: log, clock }: DelaysOptions,
  task: TaskInHand,
  {
    notBefore,
    attempts,
    seenBefore,
    ownId,
  }: { readonly notBefore: number; readonly attempts: number; readonly seenBefore: boolean; readonly ownId: boolean },
): Promise<void> {
  const until = untilOf(notBefore, task.expiresAt);
  const record = seenBefore || ownId ? await log.read(lane.pool, task) : undefined;
  if (record === undefined)
    await log.write(lane.pool, task, { attempts, ended: true, ...(!ownId && { notBefore: until }) });
  nakTask(bus, task.ack, Math.min(MAX_DELAY_MS, Math.max(1, until - clock.now())));
}
