/**
 * Stores results, once per task id (P2).
 *
 * 1. The server refuses a second result for a subject. Its refusal (10077) also means "stream full": it counts as
 *    "already there" only when a read finds the stored result; where that is this one, whose acknowledgement was lost, as "stored".
 * 2. What was refused for any other reason is kept and tried again until it is stored or the store is closed: the task
 *    stays un-acknowledged meanwhile, so nothing is lost if this process ends.
 * 3. `replyTo` gets the result that is stored, which is not always the one that was handed in.
 */
import { failpoint } from "../failpoints/failpoints.ts";
import type { Clock, Timer } from "../protocols/clock.ts";
import { VgasError } from "../protocols/errors.ts";
import type { Logger } from "../protocols/logger.ts";
import { HEADERS, type Names } from "../protocols/subjects.ts";
import { BatchedStream } from "./batched-stream.ts";
import type { BatchKind } from "./batches.ts";
import type { Bus } from "./bus.ts";
import type { Publisher, Stored, StoreOptions } from "./publisher.ts";
import { lastAtLeader, lastBySubject, lastBySubjects, type StoredMessage } from "./stored.ts";

/** `stored`: this one; `already`: another one was there, and stays. */
export type StoreOutcome = "stored" | "already";

/** Called once; `already` comes with the stored one. An error means that these bytes can never be stored (TOO_LARGE), or that the store was closed. */
export type StoreCallback = (
  error: VgasError | undefined,
  outcome: StoreOutcome | undefined,
  stored?: Uint8Array | undefined,
) => void;

/** Where a result goes besides the stream, and the W3C trace context that goes with it. */
export interface ResultAddress {
  readonly replyTo: string | undefined;
  readonly traceparent: string | undefined;
}

/** Pause before a refused result is offered again: long enough not to burden a full server, short enough to go on at once. */
const RETRY_MS = 1_000;

export interface ResultStoreOptions {
  readonly bus: Bus;
  readonly publisher: Publisher;
  readonly names: Names;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class ResultStore {
  readonly #options: ResultStoreOptions;
  readonly #together: Readonly<Record<BatchKind, StoreOptions>>;
  readonly #batched: BatchedStream;
  readonly #retries = new Set<Timer>();
  readonly #waiting = new Set<StoreCallback>();
  #refused = 0;
  #closed = false;

  constructor(options: ResultStoreOptions) {
    this.#options = options;
    const { results } = options.names.streams;
    this.#together = { atomic: { together: results, as: "atomic" }, fast: { together: results, as: "fast" } };
    this.#batched = new BatchedStream(options.bus, results);
  }

  /** Results that the server does not take for now. Above 0 the swarm is degraded. */
  get refused(): number {
    return this.#refused;
  }

  /** How what waits at the same time is stored together, if it is. */
  get batches(): BatchKind | undefined {
    return this.#batched.takes;
  }

  /** Stores the encoded result of task `id`, and sends the stored one to its `replyTo` if there is one. */
  store(pool: string, id: string, bytes: Uint8Array, address: ResultAddress, done: StoreCallback): void {
    const { publisher, names } = this.#options;
    const { replyTo, traceparent } = address;
    const subject = names.result(pool, id);
    const headers = traceparent === undefined ? undefined : { [HEADERS.traceparent]: traceparent };
    failpoint("result.before");
    const settled: Stored = (error) => {
      if (error === undefined) {
        failpoint("result.after");
        if (replyTo !== undefined) this.#reply(replyTo, bytes, traceparent);
        done(undefined, "stored");
      } else if (error.code === "TOO_LARGE" || error.code === "SHUTTING_DOWN") {
        done(error, undefined);
      } else {
        this.#settleRefusal(error, subject, pool, id, bytes, address, done);
      }
    };
    const { batches } = this;
    publisher.send(subject, bytes, headers, settled, batches && this.#together[batches]);
  }

  /** The stored result of one task. */
  async find(pool: string, id: string): Promise<StoredMessage | undefined> {
    const { bus, names } = this.#options;
    return await lastBySubject(bus, names.streams.results, names.result(pool, id));
  }

  /** The stored result of one task as the stream's leader has it. */
  async findAtLeader(pool: string, id: string): Promise<Uint8Array | undefined> {
    const { bus, names } = this.#options;
    return (await lastAtLeader(bus, names.streams.results, names.result(pool, id)))?.data;
  }

  /** The stored results of those `ids` that have one. */
  async findMany(pool: string, ids: readonly string[]): Promise<Map<string, Uint8Array>> {
    const { bus, names } = this.#options;
    const subjects = new Map(ids.map((id) => [names.result(pool, id), id]));
    const found = await lastBySubjects(bus, names.streams.results, [...subjects.keys()]);
    const results = new Map<string, Uint8Array>();
    for (const [subject, message] of found) results.set(subjects.get(subject) as string, message.data);
    return results;
  }

  /** Sends a stored result to an inbox. */
  reply(replyTo: string, bytes: Uint8Array): void {
    this.#reply(replyTo, bytes, undefined);
  }

  close(): void {
    this.#closed = true;
    this.#batched.close();
    for (const timer of this.#retries) this.#options.clock.clear(timer);
    this.#retries.clear();
    const error = new VgasError("SHUTTING_DOWN", "the result was not stored: the node is stopping");
    for (const done of this.#waiting) done(error, undefined);
    this.#waiting.clear();
  }

  #settleRefusal(
    error: VgasError,
    subject: string,
    pool: string,
    id: string,
    bytes: Uint8Array,
    address: ResultAddress,
    done: StoreCallback,
  ): void {
    const retry = (): void => {
      if (this.#closed) {
        done(new VgasError("SHUTTING_DOWN", "the result was not stored: the node is stopping"), undefined);
        return;
      }
      this.#refused++;
      this.#waiting.add(done);
      const timer = this.#options.clock.setTimeout(() => {
        this.#retries.delete(timer);
        this.#waiting.delete(done);
        this.#refused--;
        this.store(pool, id, bytes, address, done);
      }, RETRY_MS);
      this.#retries.add(timer);
    };
    this.find(pool, id).then(
      (found) => {
        failpoint(found === undefined ? "result.refused" : "result.second");
        if (found === undefined) {
          this.#options.logger.warn({ subject, code: error.code }, `result refused, trying again: ${error.message}`);
          retry();
          return;
        }
        const { replyTo } = address;
        if (replyTo !== undefined) this.#reply(replyTo, found.data, found.header(HEADERS.traceparent));
        if (Buffer.compare(found.data, bytes) === 0) done(undefined, "stored");
        else done(undefined, "already", found.data);
      },
      () => retry(),
    );
  }

  #reply(replyTo: string, bytes: Uint8Array, traceparent: string | undefined): void {
    try {
      const headers = traceparent === undefined ? undefined : { headers: { [HEADERS.traceparent]: traceparent } };
      this.#options.bus.publish(replyTo, bytes, headers);
    } catch (error) {
      // The result is stored; whoever waits at the inbox can read it there.
      this.#options.logger.warn({ replyTo, error: String(error) }, "the result could not be sent to its replyTo");
    }
  }
}
