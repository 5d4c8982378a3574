/** Many tasks of one lane: which of them go into one message, and what became of them. */
import { ARRAY_HEADER_BYTES, packArray } from "../bus/codec/array.ts";
import { VgasError } from "../protocols/errors.ts";
import type { ObjectRef } from "../protocols/result.ts";
import type { TaskHandle } from "./handle.ts";
import type { LargeTask } from "./large-task.ts";
import type { PendingResult } from "./pending-result.ts";
import { MAX_BODY_BYTES } from "./task-message.ts";

/** Some of many tasks were not stored. `handles` has those that were, at their places. */
export class PartialSubmitError extends VgasError {
  readonly handles: readonly (TaskHandle | undefined)[];

  constructor(cause: VgasError, handles: readonly (TaskHandle | undefined)[]) {
    const stored = handles.filter((handle) => handle !== undefined).length;
    super(cause.code, `${stored} of ${handles.length} tasks were stored, then: ${cause.message}`, { cause });
    this.handles = handles;
  }
}

/** A task that is ready to be sent. */
export interface EncodedTask {
  readonly id: string | undefined;
  readonly bytes: Uint8Array;
  readonly pending: PendingResult | undefined;
  /** It does not fit into a message, and waits for its parts to be put; `bytes` are none then. */
  readonly large?: LargeTask;
  /** What was put for it. */
  readonly refs?: readonly ObjectRef[];
}

/** What was put for these tasks. */
export function refsOf(tasks: readonly EncodedTask[]): readonly ObjectRef[] {
  return tasks.some(({ refs }) => refs !== undefined) ? tasks.flatMap(({ refs = [] }) => refs) : NONE;
}

const NONE: readonly ObjectRef[] = [];

/** In order, so that each fits into a message. */
export function intoMessages(tasks: readonly EncodedTask[], perMessage: number): EncodedTask[][] {
  const messages: EncodedTask[][] = [];
  let message: EncodedTask[] = [];
  let bytes = 0;
  for (const task of tasks) {
    if (
      message.length > 0 &&
      (message.length >= perMessage || bytes + task.bytes.length > MAX_BODY_BYTES - ARRAY_HEADER_BYTES)
    ) {
      messages.push(message);
      message = [];
      bytes = 0;
    }
    message.push(task);
    bytes += task.bytes.length;
  }
  if (message.length > 0) messages.push(message);
  return messages;
}

/** The body of a message: the task itself, or an array of them. */
export function bodyOf(message: readonly EncodedTask[], array: boolean): Uint8Array {
  const bytes = message.map((task) => task.bytes);
  const [only] = bytes;
  return array || only === undefined ? packArray(bytes) : only;
}

/** What was stored. */
export interface Submitted<Output> {
  /** In the order of the inputs. */
  readonly handles: readonly TaskHandle<Output>[];
  /** Of each message. */
  readonly sequences: readonly number[];
}

/** What becomes of the messages of one call. */
export class ManySubmission<Output> {
  readonly #messages: readonly (readonly EncodedTask[])[];
  /** Place of the first task of each message. */
  readonly #places: readonly number[];
  readonly #handles: (TaskHandle<Output> | undefined)[];
  readonly #sequences: number[];
  #stored = 0;
  #firstFailed = Number.POSITIVE_INFINITY;
  #failure: unknown;

  constructor(messages: readonly (readonly EncodedTask[])[]) {
    let place = 0;
    const places: number[] = [];
    for (const message of messages) {
      places.push(place);
      place += message.length;
    }
    this.#messages = messages;
    this.#places = places;
    this.#handles = new Array<TaskHandle<Output> | undefined>(place).fill(undefined);
    this.#sequences = new Array<number>(messages.length).fill(0);
  }

  /** Message `at` is stored; `handleOf` makes the handle of its task `i`, which fails when the client is closed meanwhile. */
  stored(at: number, sequence: number, handleOf: (task: EncodedTask, i: number) => TaskHandle<Output>): void {
    const place = this.#places[at] ?? 0;
    this.#sequences[at] = sequence;
    try {
      for (const [i, task] of (this.#messages[at] ?? []).entries()) {
        this.#handles[place + i] = handleOf(task, i);
        this.#stored++;
      }
    } catch (error) {
      this.failed(at, error);
    }
  }

  failed(at: number, error: unknown): void {
    if (at > this.#firstFailed) return;
    this.#firstFailed = at;
    this.#failure = error;
  }

  /** Rejects with PartialSubmitError if only some were stored, else with what the first one that was not failed with. */
  end(resolve: (submitted: Submitted<Output>) => void, reject: (error: unknown) => void): void {
    const handles = this.#handles;
    if (this.#failure === undefined)
      resolve({ handles: handles as readonly TaskHandle<Output>[], sequences: this.#sequences });
    else if (this.#stored === 0) reject(this.#failure);
    else reject(new PartialSubmitError(this.#failure as VgasError, handles));
  }
}

/** Says which of many an error is about. */
export function ofTask(index: number, error: unknown): unknown {
  return error instanceof VgasError
    ? new VgasError(error.code, `task ${index}: ${error.message}`, { cause: error })
    : error;
}
