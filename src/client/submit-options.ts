/** What a submission is asked for with, and its check before anything is sent. */
import { VgasError } from "../protocols/errors.ts";
import { MAX_ARRAY_TASKS } from "../protocols/limits.ts";
import type { TaskEvent } from "../protocols/result.ts";
import { HEADERS, isPriority, PRIORITIES, type Priority } from "../protocols/subjects.ts";
import { isTraceparent } from "../protocols/traceparent.ts";
import type { EventsDropped } from "./event-feed.ts";
import type { Guest } from "./guest.ts";
import { checkMessageId, type TaskOptions } from "./task-message.ts";
import { checkTimeout } from "./within.ts";

export interface SubmitOptions extends TaskOptions {
  /** Default: the client's. */
  readonly pool?: string;
  /** Served before or after the other tasks of its lane, without starving them. A guest has none. Default: `normal`. */
  readonly priority?: Priority;
  /** W3C trace context, `00-<trace id>-<span id>-<flags>`: it goes with the task to its result and events. */
  readonly traceparent?: string;
  /** Gives up with ABORTED; the task may have been stored all the same. */
  readonly signal?: AbortSignal;
  /** Gives up after this many ms, with TIMEOUT; the task may have been stored all the same. Default: never. */
  readonly submitTimeoutMs?: number;
  /** False asks for no answer, for tasks whose results nobody waits for. `result()` still works, with more effort. Default: true. */
  readonly track?: boolean;
  /**
   * Gets every event of the task, those of a fast one too: it is listened to before the task is sent, which gets an id of the client's
   * making then if it names none. What it throws is logged.
   */
  readonly onEvent?: (event: TaskEvent | EventsDropped) => void;
  /** De-duplicates submissions for two minutes, also those of other clients. Default: one of its own for each. */
  readonly msgId?: string;
}

export interface SubmitManyOptions<Input = unknown> extends Omit<SubmitOptions, "id" | "msgId" | "onEvent"> {
  /** Tasks per message, 1..10 000: fewer messages are faster. `false`: a message each. Default: 100. */
  readonly array?: boolean | number;
  /** What differs from task to task, such as the id. */
  task?(input: Input, index: number): TaskOptions;
}

/** How the messages of a submission go. */
export interface Sending {
  readonly priority: Priority;
  readonly headers: Readonly<Record<string, string>> | undefined;
  readonly msgId: string | undefined;
}

const TASKS_PER_MESSAGE = 100;

/** @throws VgasError INVALID naming the field, the bound and the value; PERMISSION_DENIED for what a guest may not ask for */
export function sendingOf(options: SubmitOptions, guest: Guest | undefined): Sending {
  const { priority = "normal", traceparent, msgId, submitTimeoutMs } = options;
  if (!isPriority(priority)) {
    throw new VgasError(
      "INVALID",
      `priority must be one of ${PRIORITIES.join(", ")}, got ${JSON.stringify(priority) ?? typeof priority}`,
    );
  }
  if (guest !== undefined && priority !== "normal") throw guest.refusal("choose a priority");
  if (traceparent !== undefined && !isTraceparent(traceparent)) {
    throw new VgasError(
      "INVALID",
      `traceparent must be a W3C trace context 00-<32 hex>-<16 hex>-<2 hex>, got ${JSON.stringify(traceparent) ?? typeof traceparent}`,
    );
  }
  checkTimeout(submitTimeoutMs, "submitTimeoutMs");
  if (msgId !== undefined) {
    checkMessageId(msgId);
    guest?.checkMessageId(msgId);
  }
  return { priority, msgId, headers: traceparent === undefined ? undefined : { [HEADERS.traceparent]: traceparent } };
}

/** @throws VgasError INVALID */
export function tasksPerMessage(array: boolean | number | undefined): number {
  if (typeof array !== "number") return TASKS_PER_MESSAGE;
  if (Number.isInteger(array) && array >= 1 && array <= MAX_ARRAY_TASKS) return array;
  throw new VgasError("INVALID", `array must be true, false or an integer from 1 to ${MAX_ARRAY_TASKS}, got ${array}`);
}
