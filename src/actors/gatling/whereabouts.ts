/** Says where tasks are (TaskState of task-state.ts): of what is stored, what hosts say, and what waits in the stream. */
import type { AttemptsLog } from "../../bus/attempts.ts";
import { decodeMirrored } from "../../bus/codec/task.ts";
import type { ResultStore } from "../../bus/results.ts";
import type { Clock } from "../../protocols/clock.ts";
import type { TaskResult } from "../../protocols/result.ts";
import type { TaskState } from "../../protocols/task-state.ts";
import type { HostView } from "./fleet.ts";
import type { Inquiries } from "./inquiries.ts";
import type { Asked } from "./rounds.ts";
import type { StoredTask, TaskFinder } from "./task-finder.ts";

export interface WhereaboutsOptions {
  readonly results: ResultStore;
  readonly attempts: AttemptsLog;
  readonly clock: Clock;
  readonly finder: TaskFinder;
  readonly inquiries: Inquiries;
  readonly hosts: () => Iterable<HostView>;
}

export class Whereabouts {
  readonly #options: WhereaboutsOptions;

  constructor(options: WhereaboutsOptions) {
    this.#options = options;
  }

  /** Answers all that was asked of one pool. */
  async round(pool: string, asked: readonly Asked<unknown>[]): Promise<void> {
    const { inquiries, finder, hosts } = this.#options;
    let open = await this.#finished(pool, asked);
    if (open.length === 0) return;
    const running = new Map((await inquiries.where(hosts(), pool, idsOf(open))).found.map((task) => [task.id, task]));
    open = open.filter(({ id, answer }) => {
      const task = running.get(id);
      if (task !== undefined) answer({ state: "running", ...task } satisfies TaskState);
      return task === undefined;
    });
    const { tasks } = await finder.find(pool, idsOf(open), { own: true });
    const gone: Asked<unknown>[] = [];
    await Promise.all(
      open.map(async (each) => {
        const task = tasks.get(each.id);
        if (task === undefined) gone.push(each);
        else each.answer(await this.#waiting(each.id, task));
      }),
    );
    // It may have ended since the first look.
    for (const { id, answer } of await this.#finished(pool, gone))
      answer({ state: "unknown", id, pool } satisfies TaskState);
  }

  /** Answers those that have a stored result; returns the others. */
  async #finished(pool: string, asked: readonly Asked<unknown>[]): Promise<readonly Asked<unknown>[]> {
    if (asked.length === 0) return asked;
    const stored = await this.#options.results.findMany(pool, idsOf(asked));
    return asked.filter(({ id, answer }) => {
      const bytes = stored.get(id);
      if (bytes === undefined) return true;
      const { kind, status, attempt, finishedAt, error } = decodeMirrored(bytes).value as TaskResult;
      const outcome = { kind, status, attempt, finishedAt, ...(error && { error }) };
      answer({ state: "finished", id, pool, ...outcome } satisfies TaskState);
      return false;
    });
  }

  async #waiting(id: string, { lane, priority, submittedAt, notBefore: asked }: StoredTask): Promise<TaskState> {
    const { attempts, clock } = this.#options;
    const record = await attempts.read(lane.pool, { id, submittedAt });
    const notBefore = Math.max(record?.notBefore ?? 0, asked ?? 0);
    return {
      ...{ state: "waiting", id, ...lane, priority, submittedAt },
      attempts: record?.attempts ?? 0,
      ...(record?.error && { error: record.error }),
      ...(notBefore > clock.now() && { notBefore }),
    };
  }
}

function idsOf(asked: readonly Asked<unknown>[]): readonly string[] {
  return asked.map(({ id }) => id);
}
