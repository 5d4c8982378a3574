/**
 * The client library: submits tasks and waits for their results.
 *
 * Owns one connection, one windowed publisher and the results that are waited for. It reconnects by itself: a submission under
 * way is sent again with the same message id, and a result that was missed is looked up.
 */
import { randomBytes } from "node:crypto";
import { setMaxListeners } from "node:events";
import type { Bus } from "./bus/bus.ts";
import { ARRAY_HEADER_BYTES, packArray } from "./bus/codec/array.ts";
import { KvBucket } from "./bus/kv.ts";
import { type PubAck, Publisher } from "./bus/publisher.ts";
import { type ClientOptions, connectToSwarm } from "./client/connect-to-swarm.ts";
import { GUEST_WINDOW, Guest, readOneByOne } from "./client/guest.ts";
import { TaskHandle } from "./client/handle.ts";
import { isOffered } from "./client/offers.ts";
import { OwnResults } from "./client/own-results.ts";
import type { PendingResult } from "./client/pending-result.ts";
import { resultFeed } from "./client/result-feed.ts";
import { checkLane, checkMessageId, encodeTask, MAX_BODY_BYTES, type TaskOptions } from "./client/task-message.ts";
import { WaitingResults } from "./client/waiting-results.ts";
import { VgasError } from "./protocols/errors.ts";
import { MAX_ARRAY_TASKS } from "./protocols/limits.ts";
import { type Logger, silentLogger } from "./protocols/logger.ts";
import type { TaskResult } from "./protocols/result.ts";
import { type LaneName, Names } from "./protocols/subjects.ts";
import { automaticId, isToken } from "./protocols/tokens.ts";

export interface SubmitOptions extends TaskOptions {
  /** Default: the client's. */
  readonly pool?: string;
  /** Gives up with ABORTED; the task may have been stored all the same. */
  readonly signal?: AbortSignal;
  /** False asks for no answer, for tasks whose results nobody waits for. `result()` still works, with more effort. Default: true. */
  readonly track?: boolean;
  /** De-duplicates submissions for two minutes, also those of other clients. Default: one of its own for each. */
  readonly msgId?: string;
}

export interface SubmitManyOptions<Input = unknown> extends Omit<SubmitOptions, "id" | "msgId"> {
  /** Tasks per message, 1..10 000: fewer messages are faster. `false`: a message each. Default: 100. */
  readonly array?: boolean | number;
  /** What differs from task to task, such as the id. */
  task?(input: Input, index: number): TaskOptions;
}

export interface ResultsOptions {
  /** Only of this pool. Default: of all. */
  readonly pool?: string;
  /** Waits for further results when all stored ones were handed over. Default: false. */
  readonly follow?: boolean;
  /** Ends the iteration with ABORTED. */
  readonly signal?: AbortSignal;
}

/** Some of many tasks were not stored. `handles` has those that were, at their places. */
export class PartialSubmitError extends VgasError {
  readonly handles: readonly (TaskHandle | undefined)[];

  constructor(cause: VgasError, handles: readonly (TaskHandle | undefined)[]) {
    const stored = handles.filter((handle) => handle !== undefined).length;
    super(cause.code, `${stored} of ${handles.length} tasks were stored, then: ${cause.message}`, { cause });
    this.handles = handles;
  }
}

const TASKS_PER_MESSAGE = 100;
/** How long `close` waits for what was submitted to be stored. */
const CLOSE_TIMEOUT_MS = 5_000;

/**
 * Connects to a swarm.
 *
 * ```ts
 * const client = await connect();
 * const task = await client.submit("echo", { hello: "world" });
 * console.log(await task.result());
 * await client.close();
 * ```
 *
 * @throws VgasError NO_SWARM, with what to do, if none answers; PERMISSION_DENIED if the credential is refused; CONFIG; TIMEOUT; ABORTED
 */
export async function connect(options: ClientOptions = {}): Promise<Client> {
  const { logger = silentLogger } = options;
  const { bus, prefix, pool, role } = await connectToSwarm(options);
  const client = new Client(bus, new Names(prefix), pool, logger, role);
  try {
    await client.start();
    return client;
  } catch (error) {
    await client.close();
    throw error;
  }
}

/** A connection to a swarm; `connect` makes one. */
export class Client {
  /** Pool of tasks that name none. */
  readonly pool: string;
  readonly #bus: Bus;
  readonly #names: Names;
  readonly #logger: Logger;
  readonly #publisher: Publisher;
  readonly #rotation: KvBucket;
  readonly #waiting: WaitingResults;
  /** Undefined for every other role. */
  readonly #guest: Guest | undefined;
  /** Begins the message ids of this client. */
  readonly #run = randomBytes(9).toString("base64url");
  #submitted = 0;
  #closing: Promise<void> | undefined;

  /** Takes over the connection; use `connect`. */
  constructor(bus: Bus, names: Names, pool: string, logger: Logger, role?: string) {
    this.pool = pool;
    this.#bus = bus;
    this.#names = names;
    this.#logger = logger;
    this.#guest = role === "guest" ? new Guest(bus.user) : undefined;
    this.#publisher = new Publisher(bus, this.#guest && GUEST_WINDOW);
    this.#rotation = new KvBucket(bus, this.#publisher, names.buckets.rotation);
    const asGuest = this.#guest && { read: readOneByOne, announcements: new OwnResults(bus, names) };
    this.#waiting = new WaitingResults({ bus, names, logger, ...asGuest });
  }

  /** For `connect`. */
  async start(): Promise<void> {
    await this.#waiting.start();
  }

  /**
   * Submits one task, and resolves when it is stored: from then on it ends in exactly one result, whatever dies. Not waiting for
   * one submission before the next is fine: thousands at once are sent in a window, the rest waits in memory.
   *
   * @throws VgasError INVALID or TOO_LARGE before anything is sent; STREAM_FULL, NO_SWARM if no swarm has this prefix,
   *   PERMISSION_DENIED, ABORTED, SHUTTING_DOWN
   */
  async submit<Output = unknown>(
    kind: string,
    input?: unknown,
    options: SubmitOptions = {},
  ): Promise<TaskHandle<Output>> {
    const lane = this.#lane(kind, options.pool);
    const own = this.#withId(options);
    const expected = own.track === false ? undefined : this.#waiting.expect(lane.pool, own.id);
    try {
      const ack = await this.#store(lane, encodeTask(lane, input, own, expected?.replyTo), own);
      return this.#handle(lane, own.id, automaticId(ack.sequence), ack, expected?.pending);
    } catch (error) {
      if (expected !== undefined) this.#waiting.forget(expected.pending);
      throw error;
    }
  }

  /**
   * Submits a task for each of `inputs`, several in a message, and resolves when all are stored, with a handle for each in the
   * order of the inputs. Reads all inputs before it sends anything.
   *
   * @throws as `submit`; PartialSubmitError with the handles that there are, if only some were stored
   */
  async submitMany<Output = unknown, Input = unknown>(
    kind: string,
    inputs: Iterable<Input>,
    options: SubmitManyOptions<Input> = {},
  ): Promise<TaskHandle<Output>[]> {
    const lane = this.#lane(kind, options.pool);
    const perMessage = tasksPerMessage(options.array);
    const tasks: Encoded[] = [];
    try {
      for (const input of inputs) tasks.push(this.#encode(lane, input, tasks.length, options));
      const messages = options.array === false ? tasks.map((task) => [task]) : chunks(tasks, perMessage);
      const packed = messages.map((message) => ({ message, body: bodyOf(message, options.array !== false) }));
      const stored = await Promise.allSettled(
        packed.map(async ({ message, body }) => {
          const ack = await this.#store(lane, body, options);
          return message.map((task, i) => {
            const element = options.array === false ? undefined : i;
            return this.#handle<Output>(lane, task.id, automaticId(ack.sequence, element), ack, task.pending);
          });
        }),
      );
      return collect(messages, stored);
    } catch (error) {
      const kept = error instanceof PartialSubmitError ? error.handles : [];
      tasks.forEach(({ pending }, i) => {
        if (pending !== undefined && kept[i] === undefined) this.#waiting.forget(pending);
      });
      throw error;
    }
  }

  /**
   * A handle for a task that was submitted earlier, by anybody. Whether there is such a task cannot be known.
   *
   * @throws VgasError INVALID if either is no token, or for a guest if the id is not its own
   */
  handle<Output = unknown>(pool: string, id: string): TaskHandle<Output> {
    for (const [field, value] of [
      ["pool", pool],
      ["id", id],
    ] as const) {
      if (!isToken(value))
        throw new VgasError("INVALID", `${field} must be a token [A-Za-z0-9_-]{1,64}, got ${JSON.stringify(value)}`);
    }
    this.#guest?.ownId(id);
    return new TaskHandle(this.#waiting, { id, pool, kind: undefined });
  }

  /**
   * Stored results, oldest first, then with `follow` those to come. Each result comes once. Slow readers are fine.
   *
   * @throws VgasError INVALID, PERMISSION_DENIED for a guest; while iterating NO_SWARM, PERMISSION_DENIED, ABORTED, SHUTTING_DOWN
   */
  results(options: ResultsOptions = {}): AsyncIterable<TaskResult> {
    if (this.#guest !== undefined) throw this.#guest.refusal("read a list of results");
    const { pool = "*", follow = false, signal } = options;
    if (options.pool !== undefined) checkLane({ pool, kind: "any" });
    const { streams } = this.#names;
    const source = { stream: streams.results, filter: this.#names.result(pool, "*") };
    return resultFeed({ ...source, bus: this.#bus, follow, signal, logger: this.#logger });
  }

  /**
   * Whether any agent takes tasks of this kind now. A task that nobody takes waits; that is no error. "No" takes a second.
   *
   * @throws VgasError INVALID, NO_SWARM, PERMISSION_DENIED, TIMEOUT, ABORTED
   */
  async offered(pool: string, kind: string, options: { readonly signal?: AbortSignal } = {}): Promise<boolean> {
    if (this.#guest !== undefined) throw this.#guest.refusal("see who offers a kind");
    const parts = { bus: this.#bus, names: this.#names, rotation: this.#rotation };
    return await isOffered(parts, checkLane({ pool, kind }), options.signal);
  }

  /** Waits a moment for what was submitted to be stored, fails what still waits with SHUTTING_DOWN, and closes. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= (async () => {
      if (this.#bus.state === "connected") await settledWithin(this.#publisher.idle(), CLOSE_TIMEOUT_MS);
      this.#waiting.close(new VgasError("SHUTTING_DOWN", "the client was closed"));
      this.#publisher.close();
      await this.#bus.drain();
    })();
    return this.#closing;
  }

  #lane(kind: string, pool = this.pool): LaneName {
    if (this.#closing !== undefined) throw new VgasError("SHUTTING_DOWN", "the client is closed");
    return checkLane({ pool, kind });
  }

  async #store(lane: LaneName, body: Uint8Array, { msgId, signal }: SubmitOptions): Promise<PubAck> {
    const subject = this.#names.task(lane.pool, lane.kind);
    if (msgId !== undefined) {
      checkMessageId(msgId);
      this.#guest?.checkMessageId(msgId);
    }
    if (signal !== undefined) setMaxListeners(0, signal);
    const id = msgId ?? `${this.#run}-${(this.#submitted++).toString(36)}`;
    try {
      return await this.#publisher.publish(subject, body, { msgId: id, ...(signal && { signal }) });
    } catch (error) {
      if (this.#guest !== undefined && error instanceof VgasError) throw this.#guest.meaningOf(error);
      if (!(error instanceof VgasError) || error.code !== "UNDELIVERABLE") throw error;
      throw new VgasError("NO_SWARM", `no stream takes ${subject}: no swarm runs with this prefix`, { cause: error });
    }
  }

  #encode<Input>(lane: LaneName, input: Input, index: number, options: SubmitManyOptions<Input>): Encoded {
    const own = this.#ownOf(input, index, options);
    const expected = options.track === false ? undefined : this.#waiting.expect(lane.pool, own.id);
    try {
      return { id: own.id, bytes: encodeTask(lane, input, own, expected?.replyTo), pending: expected?.pending };
    } catch (error) {
      if (expected !== undefined) this.#waiting.forget(expected.pending);
      throw error instanceof VgasError ? ofTask(index, error) : error;
    }
  }

  /** What one of many has of all, and of its own. */
  #ownOf<Input>(input: Input, index: number, options: SubmitManyOptions<Input>): SubmitOptions {
    try {
      return this.#withId({ ...options, ...options.task?.(input, index) });
    } catch (error) {
      throw error instanceof VgasError ? ofTask(index, error) : error;
    }
  }

  /** A guest's task has an id of the guest's own: the swarm gives it none. @throws VgasError INVALID naming the rule */
  #withId<Options extends SubmitOptions>(options: Options): Options {
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
    return new TaskHandle<Output>(this.#waiting, { id, pool: lane.pool, kind: lane.kind }, pending);
  }
}

/** A task of `submitMany`. */
interface Encoded {
  readonly id: string | undefined;
  readonly bytes: Uint8Array;
  readonly pending: PendingResult | undefined;
}

function ofTask(index: number, error: VgasError): VgasError {
  return new VgasError(error.code, `task ${index}: ${error.message}`, { cause: error });
}

function tasksPerMessage(array: boolean | number | undefined): number {
  if (typeof array !== "number") return TASKS_PER_MESSAGE;
  if (Number.isInteger(array) && array >= 1 && array <= MAX_ARRAY_TASKS) return array;
  throw new VgasError("INVALID", `array must be true, false or an integer from 1 to ${MAX_ARRAY_TASKS}, got ${array}`);
}

/** In order, so that each fits into a message. */
function chunks(tasks: readonly Encoded[], perMessage: number): Encoded[][] {
  const messages: Encoded[][] = [];
  let message: Encoded[] = [];
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

function bodyOf(message: readonly Encoded[], array: boolean): Uint8Array {
  const bytes = message.map((task) => task.bytes);
  const [only] = bytes;
  return array || only === undefined ? packArray(bytes) : only;
}

function collect<Output>(
  messages: readonly (readonly Encoded[])[],
  stored: readonly PromiseSettledResult<TaskHandle<Output>[]>[],
): TaskHandle<Output>[] {
  const failed = stored.find((outcome) => outcome.status === "rejected");
  const handles = stored.flatMap((outcome, i) =>
    outcome.status === "fulfilled" ? outcome.value : (messages[i] ?? []).map(() => undefined),
  );
  if (failed === undefined) return handles.filter((handle) => handle !== undefined);
  if (handles.every((handle) => handle === undefined)) throw failed.reason;
  throw new PartialSubmitError(failed.reason as VgasError, handles);
}

async function settledWithin(work: Promise<void>, timeoutMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, timeoutMs);
  });
  await Promise.race([work, late]);
  clearTimeout(timer);
}
