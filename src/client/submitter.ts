/**
 * Submits tasks: checks and encodes them, stores them in the stream, and makes their handles.
 *
 * Owns what names the messages of this client, so that one that is sent again is stored once.
 */
import { randomBytes } from "node:crypto";
import type { BatchedStream } from "../bus/batched-stream.ts";
import type { Objects } from "../bus/objects.ts";
import type { PubAck, Publisher, Stored, StoreOptions } from "../bus/publisher.ts";
import { systemClock } from "../protocols/clock.ts";
import { VgasError } from "../protocols/errors.ts";
import type { LaneName, Names } from "../protocols/subjects.ts";
import { automaticId } from "../protocols/tokens.ts";
import { isTraced, sendInSpan } from "../telemetry/send-span.ts";
import { TaskBatch } from "./batch.ts";
import type { BatchRecord, BatchRecords } from "./batch-records.ts";
import type { EventFeed } from "./event-feed.ts";
import type { Guest } from "./guest.ts";
import { type HandleParts, TaskHandle } from "./handle.ts";
import { LargeTask, removeAll, removeUnlessStored, sendTask } from "./large-task.ts";
import {
  ManySubmission,
  MessageWriter,
  ofTask,
  PartialSubmitError,
  type Submitted,
  type TaskMessage,
} from "./many-tasks.ts";
import { checkOnEvent, listenFor } from "./on-event.ts";
import type { PendingResult } from "./pending-result.ts";
import {
  type Sending,
  type SubmitManyOptions,
  type SubmitOptions,
  sendingOf,
  tasksPerMessage,
} from "./submit-options.ts";
import { encodeAnyTask, encodeTask, ownId, writeTask } from "./task-message.ts";
import type { WaitingResults } from "./waiting-results.ts";
import { within } from "./within.ts";

export interface SubmitterParts {
  readonly names: Names;
  readonly publisher: Publisher;
  /** The stream of tasks; undefined for a guest, who does not see it. */
  readonly batched: BatchedStream | undefined;
  readonly guest: Guest | undefined;
  readonly handles: HandleParts;
  readonly records: BatchRecords;
  /** For what is too large for a message; not for guests. */
  readonly objects: Objects;
}

/** What many tasks cannot have in common. */
const OF_ONE = [
  ["id", "give each its own with task()"],
  ["msgId", "each message of many has its own"],
  ["onEvent", "listen with events() of the handles"],
] as const;

interface StoringMany<Output> {
  readonly array: boolean;
  readonly sending: Sending;
  readonly signal: AbortSignal | undefined;
  /** The handle of the task at `place`, which is stored and has the id `automatic` if it has none of its own. */
  readonly handleOf: (place: number, automatic: string) => TaskHandle<Output>;
}

export class Submitter {
  readonly #names: Names;
  readonly #publisher: Publisher;
  readonly #batched: BatchedStream | undefined;
  readonly #waiting: WaitingResults;
  readonly #guest: Guest | undefined;
  readonly #handles: HandleParts;
  readonly #records: BatchRecords;
  readonly #objects: Objects;
  /** Begins the message ids of this client. */
  readonly #run = randomBytes(9).toString("base64url");
  #submitted = 0;

  constructor({ names, publisher, batched, guest, handles, records, objects }: SubmitterParts) {
    this.#names = names;
    this.#publisher = publisher;
    this.#batched = batched;
    this.#waiting = handles.waiting;
    this.#guest = guest;
    this.#handles = handles;
    this.#records = records;
    this.#objects = objects;
  }

  /** As `Client.submit`. */
  async one<Output>(lane: LaneName, input: unknown, options: SubmitOptions): Promise<TaskHandle<Output>> {
    const sending = sendingOf(options, this.#guest);
    checkOnEvent(options, this.#guest);
    const own = this.#withId(options);
    const pending = own.track === false ? undefined : this.#waiting.expect(lane.pool, own.id);
    let feed: EventFeed | undefined;
    try {
      const task = this.#encoded(lane, input, own, this.#waiting.replyTo(pending));
      feed = listenFor(this.#handles, lane.pool, own, pending);
      const ack = await this.#inTime(lane, own, (signal) =>
        task instanceof LargeTask
          ? sendTask(this.#objects, task, { signal }, (body) => this.#stored(lane, body, sending, signal))
          : this.#stored(lane, task, sending, signal),
      );
      return this.#handle(lane, own.id, automaticId(ack.sequence), ack, pending);
    } catch (error) {
      void feed?.return();
      if (pending !== undefined) this.#waiting.forget(pending);
      throw error;
    }
  }

  /** As `Client.submitMany`. */
  async many<Output, Input>(
    lane: LaneName,
    inputs: Iterable<Input>,
    options: SubmitManyOptions<Input>,
  ): Promise<TaskBatch<Output>> {
    const sending = sendingOf(options, this.#guest);
    for (const [field, instead] of OF_ONE)
      if ((options as SubmitOptions)[field] !== undefined)
        throw new VgasError("INVALID", `${field} is for one task: ${instead}`);
    const array = options.array !== false;
    const written = new MessageWriter(array, tasksPerMessage(options.array));
    const many = options.track === false ? undefined : this.#waiting.expectMany(lane.pool);
    // Of all tasks, where they may have ids of their own.
    const ids: (string | undefined)[] | undefined =
      options.task === undefined && this.#guest === undefined ? undefined : [];
    let sent = false;
    try {
      return await this.#inTime(lane, options, async (signal) => {
        let place = 0;
        // Without a large one nothing is waited for here.
        for (const input of inputs) {
          const own: SubmitOptions = ids === undefined ? options : this.#ownOf(input, place, options);
          ids?.push(own.id);
          const large = this.#write(written, lane, input, place, own, many?.next());
          if (large !== undefined) await this.#putLarge(written, large, place, signal);
          place++;
        }
        written.end();
        sent = true;
        const { messages } = written;
        const { handles, sequences } = await this.#storeAll<Output>(lane, messages, {
          ...{ array, sending, signal },
          handleOf: (place, automatic) =>
            new TaskHandle<Output>(
              this.#handles,
              { id: ids?.[place] ?? automatic, pool: lane.pool, kind: lane.kind },
              undefined,
              many,
              place,
            ),
        });
        return this.#batch<Output>(lane, handles, {
          ...{ kind: lane.kind, at: systemClock.now(), array, ids },
          messages: messages.map(({ tasks }, i) => ({ sequence: sequences[i] ?? 0, tasks })),
        });
      });
    } catch (error) {
      if (!sent) await removeAll(this.#objects, written.refs);
      // Why the time was over does not say which were stored by then.
      if (error instanceof VgasError && error.cause instanceof PartialSubmitError)
        throw new PartialSubmitError(error, error.cause.handles);
      throw error;
    }
  }

  /** Nobody waits for its record: `submitMany` is done when the tasks are stored. */
  #batch<Output>(lane: LaneName, handles: readonly TaskHandle<Output>[], record: BatchRecord): TaskBatch<Output> {
    const id = ownId("b");
    const wanted = handles.length > 1 && this.#guest === undefined;
    const recorded = wanted ? this.#records.write(lane.pool, id, record) : Promise.resolve();
    recorded.catch((error: unknown) =>
      this.#handles.logger.warn({ err: error, batch: id }, "a batch is not recorded; its tasks are stored"),
    );
    return new TaskBatch(this.#handles, { pool: lane.pool, id }, handles, recorded);
  }

  #inTime<T>(
    lane: LaneName,
    { signal, submitTimeoutMs }: Pick<SubmitOptions, "signal" | "submitTimeoutMs">,
    work: (signal: AbortSignal | undefined) => Promise<T>,
  ): Promise<T> {
    const limits = {
      ...(signal && { signal }),
      ...(submitTimeoutMs !== undefined && { timeoutMs: submitTimeoutMs }),
    };
    return within(`submitting to ${lane.pool}/${lane.kind}`, limits, work);
  }

  /**
   * Hands all to the publisher, which keeps to its window. One promise for all of them: one for each would cost more than to send it.
   *
   * @throws PartialSubmitError if only some were stored, else what storing failed with
   */
  #storeAll<Output>(
    lane: LaneName,
    messages: readonly TaskMessage[],
    { array, sending, signal, handleOf }: StoringMany<Output>,
  ): Promise<Submitted<Output>> {
    const submission = new ManySubmission<Output>(messages);
    return new Promise((resolve, reject) => {
      let open = messages.length;
      const end = (): void => {
        if (--open === 0) submission.end(resolve, reject);
      };
      if (open === 0) submission.end(resolve, reject);
      for (const [at, { body, tasks, refs }] of messages.entries()) {
        this.#store(lane, body, sending, signal, tasks, (error, ack) => {
          if (ack !== undefined) {
            const id = automaticId(ack.sequence);
            submission.stored(at, ack.sequence, (place, i) => handleOf(place, array ? `${id}-${i}` : id));
            end();
            return;
          }
          submission.failed(at, error);
          if (refs.length === 0) end();
          else void removeUnlessStored(this.#objects, refs, error).then(end);
        });
      }
    });
  }

  #stored(lane: LaneName, body: Uint8Array, sending: Sending, signal: AbortSignal | undefined): Promise<PubAck> {
    return new Promise((resolve, reject) => {
      this.#store(lane, body, sending, signal, 1, (error, ack) => {
        if (ack === undefined) reject(error);
        else resolve(ack);
      });
    });
  }

  #store(
    lane: LaneName,
    body: Uint8Array,
    sending: Sending,
    signal: AbortSignal | undefined,
    tasks: number,
    done: (error: unknown, ack: PubAck | undefined) => void,
  ): void {
    const subject = this.#names.task(lane.pool, lane.kind, sending.priority);
    const msgId = sending.msgId ?? `${this.#run}-${(this.#submitted++).toString(36)}`;
    const told: Stored = (error, ack) => done(error === undefined ? undefined : this.#meaningOf(error, subject), ack);
    const options: StoreOptions = { msgId, signal, together: this.#batched?.takes === "atomic" ? subject : undefined };
    if (!isTraced()) {
      this.#publisher.send(subject, body, sending.headers, told, options);
      return;
    }
    sendInSpan({ lane, subject, messageId: msgId, tasks }, sending.headers, (headers) =>
      this.#publisher.publish(subject, body, headers === undefined ? options : { ...options, headers }),
    ).then(
      (ack) => told(undefined, ack),
      (error: VgasError) => told(error, undefined),
    );
  }

  #meaningOf(error: VgasError, subject: string): unknown {
    if (this.#guest !== undefined) return this.#guest.meaningOf(error);
    if (error.code !== "UNDELIVERABLE") return error;
    const why = `no stream takes ${subject}: no swarm runs with this prefix, or its JetStream is off`;
    return new VgasError("NO_SWARM", why, { cause: error });
  }

  /** What does not fit into a message goes elsewhere; a guest has nowhere. */
  #encoded(
    lane: LaneName,
    input: unknown,
    options: SubmitOptions,
    replyTo: string | undefined,
  ): Uint8Array | LargeTask {
    return (this.#guest === undefined ? encodeAnyTask : encodeTask)(lane, input, options, replyTo);
  }

  /** One of many; what does not fit into a message is given back, and not written. */
  #write(
    written: MessageWriter,
    lane: LaneName,
    input: unknown,
    place: number,
    own: SubmitOptions,
    replyTo: string | undefined,
  ): LargeTask | undefined {
    const { writer } = written;
    const from = writer.length;
    try {
      if (!writeTask(writer, lane, input, own, replyTo)) {
        const task = this.#encoded(lane, input, own, replyTo);
        if (task instanceof LargeTask) return task;
        writer.encoded(task);
      }
    } catch (error) {
      throw ofTask(place, error);
    }
    written.added(from);
    return undefined;
  }

  async #putLarge(
    written: MessageWriter,
    large: LargeTask,
    place: number,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    try {
      const { bytes, refs } = await large.put(this.#objects, { signal });
      const from = written.writer.length;
      written.writer.encoded(bytes);
      written.added(from, refs);
    } catch (error) {
      throw ofTask(place, error);
    }
  }

  /** What one of many has of all, and of its own. */
  #ownOf<Input>(input: Input, index: number, options: SubmitManyOptions<Input>): SubmitOptions {
    try {
      return this.#withId({ ...options, ...options.task?.(input, index) });
    } catch (error) {
      throw ofTask(index, error);
    }
  }

  /** A guest's task has an id of the guest's own: the swarm gives it none. @throws VgasError INVALID naming the rule */
  #withId<Options extends SubmitOptions>(options: Options): Options {
    if (options.onEvent !== undefined && options.id === undefined) return { ...options, id: ownId() };
    return this.#guest === undefined ? options : { ...options, id: this.#guest.newId(options.id, options.msgId) };
  }

  #handle<Output>(
    lane: LaneName,
    given: string | undefined,
    automatic: string,
    ack: PubAck,
    pending: PendingResult | undefined,
  ): TaskHandle<Output> {
    // The answer can come before the acknowledgement, and names the task that ran.
    const outcome = pending?.outcome;
    const id = given ?? (outcome === undefined || outcome instanceof VgasError ? automatic : outcome.id);
    if (pending !== undefined) {
      pending.id = id;
      if (ack.duplicate) this.#waiting.watchToo(pending, id);
    }
    return new TaskHandle<Output>(this.#handles, { id, pool: lane.pool, kind: lane.kind }, pending);
  }
}
