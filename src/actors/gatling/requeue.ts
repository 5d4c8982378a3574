/**
 * Gives tasks back to the stream.
 *
 * A single task is NAKed, after what is known of its executions is recorded: without the record its next delivery would
 * have to count this one as an execution. An array element is published again as a message of its own that keeps its id,
 * its submission time and its count; then the array no longer waits for it.
 *
 * 1. Before an element is published it is recorded that it leaves its array, and before it leaves it, which message it runs from
 *    now (bus/element-owners.ts). Wherever this dispatcher dies, whoever gets the array then goes on from there.
 * 2. What another dispatcher has recorded since is not written over: the task is that one's.
 */
import type { AttemptsLog } from "../../bus/attempts.ts";
import type { Bus } from "../../bus/bus.ts";
import type { Moved } from "../../bus/element-owners.ts";
import type { Publisher } from "../../bus/publisher.ts";
import { nakTask } from "../../bus/pull.ts";
import { failpoint } from "../../failpoints/failpoints.ts";
import type { AttemptsRecord } from "../../protocols/host-messages.ts";
import type { Logger } from "../../protocols/logger.ts";
import { HEADERS, type LaneName, type Names } from "../../protocols/subjects.ts";
import type { ArrayInHand, TaskInHand } from "./task-in-hand.ts";

export interface RequeueOptions {
  readonly bus: Bus;
  readonly publisher: Publisher;
  readonly attempts: AttemptsLog;
  readonly names: Names;
  readonly nonce: () => string;
  readonly logger: Logger;
}

/** An element that leaves its array. */
interface Leaving extends TaskInHand {
  readonly array: ArrayInHand;
  readonly element: string;
}

export class Requeue {
  readonly #options: RequeueOptions;
  #returning = 0;

  constructor(options: RequeueOptions) {
    this.#options = options;
  }

  /** False while tasks are on their way back. */
  get idle(): boolean {
    return this.#returning === 0;
  }

  /** Gives back tasks of which this dispatcher knows that their execution number `attempt` did not begin. */
  unstarted(lane: LaneName, tasks: readonly TaskInHand[]): void {
    if (tasks.length === 0) return;
    void this.#returnAll(tasks, (task) =>
      isElement(task) ? this.#move(lane, task, task.attempt - 1) : this.#giveBackUnstarted(lane, task),
    );
    this.#options.logger.info({ tasks: tasks.length }, "gave back tasks that were not handed over");
  }

  /**
   * Leaves tasks whose messages come back by themselves, and of which execution number `attempt` did not begin here. A broker that
   * forgot their delivery may have brought them to another dispatcher as if for the first time, and that leaves no record: so the record
   * does not say that nobody can run them, and whoever reads it asks the hosts.
   */
  forgotten(lane: LaneName, tasks: readonly TaskInHand[]): void {
    void this.#returnAll(tasks, async (task) => {
      failpoint("task.disowned");
      await this.#record(lane, task, { attempts: task.attempt - 1 });
    });
  }

  /** Gives back tasks whose execution number `attempt` may have begun. */
  uncertain(lane: LaneName, tasks: readonly TaskInHand[]): void {
    void this.#returnAll(tasks, async (task) => {
      if (isElement(task)) await this.#move(lane, task, task.attempt);
      // Its next delivery finds no later record than the one of this attempt's start, and counts this one.
      else nakTask(this.#options.bus, task.ack);
    });
  }

  /**
   * Publishes a task whose message the broker has lost, with its first `attempts` executions counted. False if another message, or
   * another delivery of its array, has it. Rejects as publishing does.
   */
  async again(lane: LaneName, task: TaskInHand, attempts: number): Promise<boolean> {
    const { publisher, names, attempts: log } = this.#options;
    if (isElement(task)) return await this.#move(lane, task, attempts);
    if (task.element !== undefined && !(await log.elements.release(lane.pool, task.element, task.sequence)))
      return false;
    await publisher.publish(names.task(lane.pool, lane.kind, task.priority), task.body, {
      msgId: `again-${task.sequence}`,
      headers: requeuedHeaders(task, attempts),
    });
    return true;
  }

  /** What fails is left: un-acknowledged, it comes back by ack_wait, and counts as an execution then. One line in the log for an array. */
  async #returnAll(tasks: readonly TaskInHand[], giveBack: (task: TaskInHand) => Promise<unknown>): Promise<void> {
    const failed = new Map<ArrayInHand | undefined, { readonly task: string; readonly error: string; tasks: number }>();
    this.#returning += tasks.length;
    await Promise.all(
      tasks.map(async (task) => {
        try {
          await giveBack(task);
        } catch (error) {
          const known = failed.get(task.array);
          if (known) known.tasks++;
          else failed.set(task.array, { task: task.id, error: String(error), tasks: 1 });
        } finally {
          this.#returning--;
        }
      }),
    );
    for (const what of failed.values()) this.#options.logger.warn(what, "tasks could not be given back");
  }

  async #giveBackUnstarted(lane: LaneName, task: TaskInHand): Promise<void> {
    if (await this.#record(lane, task, { attempts: task.attempt - 1, ended: true }))
      nakTask(this.#options.bus, task.ack);
  }

  /** False if another dispatcher has recorded something meanwhile. */
  async #record(lane: LaneName, task: TaskInHand, known: Pick<AttemptsRecord, "attempts" | "ended">): Promise<boolean> {
    const { attempts, nonce } = this.#options;
    const record = { ...known, by: nonce() };
    if (task.revision === undefined) {
      await attempts.write(lane.pool, task, record);
      return true;
    }
    const found = task.revision > 0 ? await attempts.readRevision(lane.pool, task) : undefined;
    if (found !== undefined && found.revision !== task.revision) return false;
    return (await attempts.follow(lane.pool, task, record, found)) !== undefined;
  }

  /** Publishes an element as a message of its own, unless that was done, and takes it out of the array that is in hand. True if it did. */
  async #move(lane: LaneName, task: Leaving, attempts: number): Promise<boolean> {
    const { elements } = this.#options.attempts;
    const { array, element } = task;
    try {
      const moved = await elements.move(lane.pool, element, attempts, array.delivery);
      const before = moved?.as !== undefined;
      const published = moved !== undefined && !before && (await this.#publish(lane, task, moved));
      if (before || published) array.settleOne();
      // A later delivery of the array has the element: that one acknowledges the message.
      else array.abandon();
      return published;
    } catch (error) {
      array.abandon();
      throw error;
    }
  }

  /** False if a later delivery of the array has the element. */
  async #publish(lane: LaneName, task: Leaving, moved: Moved): Promise<boolean> {
    const { publisher, names, nonce, attempts } = this.#options;
    const { array, element } = task;
    failpoint("move.recorded");
    let sequence: number;
    try {
      ({ sequence } = await publisher.publish(names.task(lane.pool, lane.kind, task.priority), task.body, {
        msgId: nonce(),
        headers: requeuedHeaders(task, moved.attempts),
      }));
    } catch (error) {
      // An element as large as a message may be has no room for the headers; and its lane or the stream may be full for long.
      await attempts.elements.unmove(lane.pool, element, array.delivery ?? nonce());
      throw error;
    }
    failpoint("task.moved");
    return await attempts.elements.settle(lane.pool, element, moved, sequence);
  }
}

/** Of a task that is published again: it keeps its id, and how often it has run. */
function requeuedHeaders(task: TaskInHand, attempts: number): Readonly<Record<string, string>> {
  return {
    [HEADERS.taskId]: task.id,
    [HEADERS.submittedAt]: String(task.submittedAt),
    [HEADERS.attempts]: String(attempts),
    ...(task.element !== undefined && { [HEADERS.element]: task.element }),
    ...(task.traceparent !== undefined && { [HEADERS.traceparent]: task.traceparent }),
  };
}

function isElement(task: TaskInHand): task is Leaving {
  return task.array !== undefined && task.element !== undefined;
}
