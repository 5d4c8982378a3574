/** What a client asks about single tasks, its own and others: where they are, and to cancel them. */
import { encode } from "../bus/codec/codec.ts";
import { VgasError } from "../protocols/errors.ts";
import type { Names } from "../protocols/subjects.ts";
import {
  type CancelReply,
  type CancelRequest,
  cancelReply,
  type TaskState,
  taskState,
} from "../protocols/task-state.ts";
import type { Asker } from "./asker.ts";
import type { Guest } from "./guest.ts";
import type { PendingResult } from "./pending-result.ts";
import type { WaitingResults } from "./waiting-results.ts";
import type { CallOptions } from "./within.ts";

export interface CancelOptions extends CallOptions {
  /** Kind of the task, for the result that is stored; found out by itself unless the task has left no trace. */
  readonly kind?: string;
  /** Leaves a task alone that runs already: then the state is `running`. Default: false. */
  readonly onlyWaiting?: boolean;
}

export interface TaskQuestionsParts {
  readonly names: Names;
  readonly asker: Asker;
  readonly waiting: WaitingResults;
  readonly guest: Guest | undefined;
}

const NOTHING = new Uint8Array();

export class TaskQuestions {
  readonly #names: Names;
  readonly #asker: Asker;
  readonly #waiting: WaitingResults;
  readonly #guest: Guest | undefined;

  constructor({ names, asker, waiting, guest }: TaskQuestionsParts) {
    this.#names = names;
    this.#asker = asker;
    this.#waiting = waiting;
    this.#guest = guest;
  }

  /** As `Client.cancel`; `pending` is where its result is waited for, if that is known. */
  async cancel(pool: string, id: string, options: CancelOptions, pending?: PendingResult): Promise<CancelReply> {
    if (this.#guest !== undefined) throw this.#guest.refusal("cancel a task");
    const { kind, onlyWaiting } = options;
    const request: CancelRequest = { ...(kind !== undefined && { kind }), ...(onlyWaiting && { waiting: true }) };
    const operation = `cancelling ${id}`;
    const body = encode(request);
    const answer = await this.#asker.ask({ operation, subject: this.#names.cancel(pool, id), body }, options);
    const parsed = cancelReply.safeParse(answer);
    if (!parsed.success) throw noAnswer(operation);
    const { state } = parsed.data;
    // Its result is stored now: nobody waits for it any longer than that takes to read.
    if (state === "cancelled" || state === "finished") {
      if (pending === undefined) this.#waiting.lookUpTask(pool, id);
      else this.#waiting.lookUp(pending);
    }
    return parsed.data;
  }

  /** As `Client.status`. */
  async status(pool: string, id: string, options: CallOptions): Promise<TaskState> {
    if (this.#guest !== undefined) throw this.#guest.refusal("ask where a task is");
    const operation = `asking where ${id} is`;
    const subject = this.#names.status(pool, id);
    const parsed = taskState.safeParse(await this.#asker.ask({ operation, subject, body: NOTHING }, options));
    if (!parsed.success) throw noAnswer(operation);
    return parsed.data;
  }
}

function noAnswer(operation: string): VgasError {
  return new VgasError("INTERNAL", `${operation}: what came back is no answer to that`);
}
