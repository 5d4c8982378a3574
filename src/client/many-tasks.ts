/** Many tasks of one lane: which of them go into one message, and what became of them. */
import { ARRAY_HEADER_BYTES, arrayHeader } from "../bus/codec/array.ts";
import { Writer } from "../bus/codec/writer.ts";
import { VgasError } from "../protocols/errors.ts";
import type { ObjectRef } from "../protocols/result.ts";
import type { TaskHandle } from "./handle.ts";
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

/** Tasks that go together. */
export interface TaskMessage {
  readonly body: Uint8Array;
  readonly tasks: number;
  /** What was put for them, because it does not fit into a message. */
  readonly refs: readonly ObjectRef[];
}

const NO_REFS: readonly ObjectRef[] = [];

/** Writes tasks one after the other into messages, each as full as it may be. */
export class MessageWriter {
  /** Each is written here, and then said to be there with `added`. */
  readonly writer: Writer;
  /** Those that are full, or all after `end`. */
  readonly messages: TaskMessage[] = [];
  readonly #array: boolean;
  readonly #perMessage: number;
  #tasks = 0;
  #refs = NO_REFS;

  /** @param array the messages are arrays, and not a task each */
  constructor(array: boolean, perMessage: number) {
    this.writer = new Writer(array ? 1 : 0);
    this.#array = array;
    this.#perMessage = array ? perMessage : 1;
  }

  /** What was put for all tasks so far. */
  get refs(): readonly ObjectRef[] {
    return this.messages.flatMap(({ refs }) => refs).concat(this.#refs);
  }

  /** A task was written, from byte `from` on. */
  added(from: number, refs = NO_REFS): void {
    if (from > 0 && this.writer.length > MAX_BODY_BYTES - ARRAY_HEADER_BYTES) this.#close(from);
    this.#tasks++;
    if (refs.length > 0) this.#refs = [...this.#refs, ...refs];
    if (this.#tasks >= this.#perMessage) this.end();
  }

  end(): void {
    if (this.#tasks > 0) this.#close(this.writer.length);
  }

  #close(bytes: number): void {
    const body = this.writer.cut(bytes, this.#array ? arrayHeader(this.#tasks) : undefined);
    this.messages.push({ body, tasks: this.#tasks, refs: this.#refs });
    this.#tasks = 0;
    this.#refs = NO_REFS;
  }
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
  readonly #messages: readonly TaskMessage[];
  /** Place of the first task of each message. */
  readonly #places: number[] = [];
  readonly #handles: (TaskHandle<Output> | undefined)[];
  readonly #sequences: number[];
  #stored = 0;
  #firstFailed = Number.POSITIVE_INFINITY;
  #failure: unknown;

  constructor(messages: readonly TaskMessage[]) {
    let place = 0;
    for (const { tasks } of messages) {
      this.#places.push(place);
      place += tasks;
    }
    this.#messages = messages;
    this.#handles = new Array<TaskHandle<Output> | undefined>(place).fill(undefined);
    this.#sequences = new Array<number>(messages.length).fill(0);
  }

  /** Message `at` is stored; `handleOf` makes the handle of its task `i`, which is at `place` among all. */
  stored(at: number, sequence: number, handleOf: (place: number, i: number) => TaskHandle<Output>): void {
    const first = this.#places[at] ?? 0;
    const tasks = this.#messages[at]?.tasks ?? 0;
    this.#sequences[at] = sequence;
    for (let i = 0; i < tasks; i++) this.#handles[first + i] = handleOf(first + i, i);
    this.#stored += tasks;
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
