/**
 * Gives tasks back to the stream.
 *
 * A single task is NAKed, after what is known of its executions is recorded: without the record its next delivery would
 * have to count this one as an execution. An array element is published again as a message of its own that keeps its id,
 * its submission time and its count; then the array no longer waits for it.
 */
import type { AttemptsLog } from "../../bus/attempts.ts";
import type { Bus } from "../../bus/bus.ts";
import type { Publisher } from "../../bus/publisher.ts";
import { nakTask } from "../../bus/pull.ts";
import { failpoint } from "../../failpoints/failpoints.ts";
import type { Logger } from "../../protocols/logger.ts";
import { HEADERS, type LaneName, type Names } from "../../protocols/subjects.ts";
import type { TaskInHand } from "./task-in-hand.ts";

export interface RequeueOptions {
  readonly bus: Bus;
  readonly publisher: Publisher;
  readonly attempts: AttemptsLog;
  readonly names: Names;
  readonly nonce: () => string;
  readonly logger: Logger;
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
    for (const task of tasks) void this.#return(task, this.#giveBackUnstarted(lane, task));
    if (tasks.length > 0)
      this.#options.logger.info({ tasks: tasks.length }, "gave back tasks that were not handed over");
  }

  /** Leaves tasks whose messages come back by themselves, and of which execution number `attempt` did not begin. */
  forgotten(lane: LaneName, tasks: readonly TaskInHand[]): void {
    for (const task of tasks) {
      failpoint("task.disowned");
      void this.#return(task, this.#record(lane, task));
    }
  }

  async #return(task: TaskInHand, returning: Promise<void>): Promise<void> {
    this.#returning++;
    try {
      await returning;
    } catch (error) {
      // Un-acknowledged, it comes back by ack_wait, and counts as an execution then.
      this.#options.logger.warn({ task: task.id, error: String(error) }, "a task could not be given back");
    } finally {
      this.#returning--;
    }
  }

  async #giveBackUnstarted(lane: LaneName, task: TaskInHand): Promise<void> {
    if (task.array) {
      await this.#move(lane, task, task.attempt - 1);
      return;
    }
    await this.#record(lane, task);
    nakTask(this.#options.bus, task.ack);
  }

  async #record(lane: LaneName, task: TaskInHand): Promise<void> {
    await this.#options.attempts.write(lane.pool, task.id, { attempts: task.attempt - 1, ended: true });
  }

  /** Gives back a task whose execution number `attempt` may have begun. */
  async uncertain(lane: LaneName, task: TaskInHand): Promise<void> {
    if (task.array) await this.#move(lane, task, task.attempt);
    // Its next delivery finds no later record than the one of this attempt's start, and counts this one.
    else nakTask(this.#options.bus, task.ack);
  }

  async #move(lane: LaneName, task: TaskInHand, attempts: number): Promise<void> {
    const { publisher, names, nonce } = this.#options;
    try {
      await publisher.publish(names.task(lane.pool, lane.kind, task.priority), task.body, {
        msgId: nonce(),
        headers: {
          [HEADERS.taskId]: task.id,
          [HEADERS.submittedAt]: String(task.submittedAt),
          [HEADERS.attempts]: String(attempts),
          ...(task.traceparent !== undefined && { [HEADERS.traceparent]: task.traceparent }),
        },
      });
    } catch (error) {
      // An element as large as a message may be has no room for the headers.
      task.array?.abandon();
      throw error;
    }
    failpoint("task.moved");
    task.array?.settleOne();
  }
}
