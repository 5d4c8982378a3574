/**
 * The client library: submits tasks and waits for their results.
 *
 * Owns one connection, one windowed publisher and the results that are waited for. It reconnects by itself: a submission under
 * way is sent again with the same message id, and a result that was missed is looked up.
 */
import { BatchedStream } from "./bus/batched-stream.ts";
import type { Bus } from "./bus/bus.ts";
import { KvBucket } from "./bus/kv.ts";
import { Objects } from "./bus/objects.ts";
import { Publisher } from "./bus/publisher.ts";
import { Asker } from "./client/asker.ts";
import { TaskBatch } from "./client/batch.ts";
import { BatchRecords } from "./client/batch-records.ts";
import { type ClientOptions, connectToSwarm } from "./client/connect-to-swarm.ts";
import { EventFeed } from "./client/event-feed.ts";
import { GUEST_WINDOW, Guest, readOneByOne } from "./client/guest.ts";
import { type HandleParts, TaskHandle } from "./client/handle.ts";
import type { AnyKinds, InputArguments, InputOf, KindName, OutputOf, UnmappedKind } from "./client/kinds.ts";
import { type NowHandle, type NowOptions, submitNow } from "./client/now.ts";
import { isOffered } from "./client/offers.ts";
import { Outputs } from "./client/outputs.ts";
import { OwnResults } from "./client/own-results.ts";
import { resultFeed } from "./client/result-feed.ts";
import type { SubmitManyOptions, SubmitOptions } from "./client/submit-options.ts";
import { Submitter } from "./client/submitter.ts";
import { checkLane } from "./client/task-message.ts";
import { type CancelOptions, TaskQuestions } from "./client/task-questions.ts";
import { WaitingResults } from "./client/waiting-results.ts";
import type { CallOptions } from "./client/within.ts";
import { VgasError } from "./protocols/errors.ts";
import { MAX_OBJECT_BYTES } from "./protocols/limits.ts";
import { type Logger, silentLogger } from "./protocols/logger.ts";
import type { TaskResult } from "./protocols/result.ts";
import { type LaneName, Names } from "./protocols/subjects.ts";
import type { CancelReply, TaskState } from "./protocols/task-state.ts";
import { isToken } from "./protocols/tokens.ts";

/** Which stored results are read, and how long. */
export interface ResultsOptions {
  /** Only of this pool. Default: of all. */
  readonly pool?: string;
  /** Waits for further results when all stored ones were handed over. Default: false. */
  readonly follow?: boolean;
  /** Outputs too large for a message are fetched up to so many bytes; above it a result has its `outputRef`. Default: all, 64 MiB. */
  readonly maxOutputBytes?: number;
  /** Ends the iteration with ABORTED. */
  readonly signal?: AbortSignal;
}

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
 * With a map of kinds, inputs and outputs are typed: `connect<KindsOf<typeof agents>>()`, or one written by hand,
 * `connect<{ wordcount: { input: string; output: { words: number } } }>()`. Nothing is checked while it runs.
 *
 * @throws VgasError NO_SWARM, with what to do, if none answers; PERMISSION_DENIED if the credential is refused; CONFIG; TIMEOUT; ABORTED
 */
export async function connect<Kinds extends object = AnyKinds>(options: ClientOptions = {}): Promise<Client<Kinds>> {
  const { logger = silentLogger } = options;
  const { bus, prefix, pool, role } = await connectToSwarm(options);
  const client = new Client<Kinds>(bus, new Names(prefix), pool, logger, role);
  try {
    await client.start();
    return client;
  } catch (error) {
    await client.close();
    throw error;
  }
}

/** A connection to a swarm; `connect` makes one. `Kinds` says what tasks of each kind take and give; without it that is unknown. */
export class Client<Kinds extends object = AnyKinds> {
  /** Pool of tasks that name none. */
  readonly pool: string;
  readonly #bus: Bus;
  readonly #names: Names;
  readonly #logger: Logger;
  readonly #publisher: Publisher;
  readonly #batched: BatchedStream | undefined;
  readonly #rotation: KvBucket;
  readonly #waiting: WaitingResults;
  /** Undefined for every other role. */
  readonly #guest: Guest | undefined;
  readonly #asker: Asker;
  readonly #objects: Objects;
  readonly #outputs: Outputs | undefined;
  readonly #handles: HandleParts;
  readonly #records: BatchRecords;
  readonly #submitter: Submitter;
  #closing: Promise<void> | undefined;

  /** Takes over the connection; use `connect`. @internal */
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
    this.#asker = new Asker(bus);
    this.#records = new BatchRecords(new KvBucket(bus, this.#publisher, names.buckets.batches), names);
    const common = { names, asker: this.#asker, waiting: this.#waiting, guest: this.#guest };
    const listen: HandleParts["events"] = (inPool, options) =>
      new EventFeed({ ...options, bus, subject: names.event(inPool, options.id) });
    this.#objects = new Objects(bus, this.#publisher, names);
    this.#outputs = this.#guest === undefined ? new Outputs(this.#objects, names) : undefined;
    this.#handles = {
      ...{ logger, asker: this.#asker },
      waiting: this.#waiting,
      questions: new TaskQuestions(common),
      events: this.#guest === undefined ? listen : undefined,
      outputs: this.#outputs,
    };
    this.#batched = this.#guest === undefined ? new BatchedStream(bus, this.#names.streams.tasks) : undefined;
    this.#submitter = new Submitter({
      ...common,
      publisher: this.#publisher,
      batched: this.#batched,
      handles: this.#handles,
      records: this.#records,
      objects: this.#objects,
    });
  }

  /** For `connect`. @internal */
  async start(): Promise<void> {
    await this.#waiting.start();
  }

  /**
   * Submits one task, and resolves when it is stored: from then on it ends in exactly one result, whatever dies. Not waiting for
   * one submission before the next is fine: thousands at once are sent in a window, the rest waits in memory.
   *
   * @throws VgasError INVALID or TOO_LARGE before anything is sent; LANE_FULL or STREAM_FULL if no more may wait, NO_SWARM if no
   *   swarm has this prefix, PERMISSION_DENIED, TIMEOUT, ABORTED, SHUTTING_DOWN
   */
  submit<Output = unknown>(
    kind: UnmappedKind<Kinds>,
    input?: unknown,
    options?: SubmitOptions,
  ): Promise<TaskHandle<Output>>;
  submit<Kind extends KindName<Kinds>>(
    kind: Kind,
    ...given: InputArguments<InputOf<Kinds, Kind>, SubmitOptions>
  ): Promise<TaskHandle<OutputOf<Kinds, Kind>>>;
  async submit(kind: string, input?: unknown, options: SubmitOptions = {}): Promise<TaskHandle> {
    return await this.#submitter.one(this.#lane(kind, options.pool), input, options);
  }

  /**
   * Submits a task for each of `inputs`, several in a message, and resolves when all are stored, with a handle for each in the
   * order of the inputs: an array of them that is a batch, with one progress for all. Reads all inputs before it sends anything.
   *
   * @throws as `submit`; PartialSubmitError with the handles that there are, if only some were stored
   */
  submitMany<Output = unknown, Input = unknown>(
    kind: UnmappedKind<Kinds>,
    inputs: Iterable<Input>,
    options?: SubmitManyOptions<Input>,
  ): Promise<TaskBatch<Output>>;
  submitMany<Kind extends KindName<Kinds>, Input extends InputOf<Kinds, Kind>>(
    kind: Kind,
    inputs: Iterable<Input>,
    options?: SubmitManyOptions<Input>,
  ): Promise<TaskBatch<OutputOf<Kinds, Kind>>>;
  async submitMany<Input>(
    kind: string,
    inputs: Iterable<Input>,
    options: SubmitManyOptions<Input> = {},
  ): Promise<TaskBatch> {
    return await this.#submitter.many(this.#lane(kind, options.pool), inputs, options);
  }

  /**
   * Submits one task only if an agent is free for it now: resolves when one has taken it. `handle.agent` is which. The task gets an id
   * of the client's making if `options.id` names none.
   *
   * @throws VgasError RESOURCE_LIMIT if no agent of that kind is free now: the task is not run; NO_SWARM at once if no dispatcher is
   *   there; INVALID or TOO_LARGE before anything is sent; PERMISSION_DENIED for a guest; TIMEOUT and ABORTED, when it may run all the
   *   same; SHUTTING_DOWN
   */
  now<Output = unknown>(kind: UnmappedKind<Kinds>, input?: unknown, options?: NowOptions): Promise<NowHandle<Output>>;
  now<Kind extends KindName<Kinds>>(
    kind: Kind,
    ...given: InputArguments<InputOf<Kinds, Kind>, NowOptions>
  ): Promise<NowHandle<OutputOf<Kinds, Kind>>>;
  async now(kind: string, input?: unknown, options: NowOptions = {}): Promise<NowHandle> {
    const common = { names: this.#names, asker: this.#asker, guest: this.#guest };
    const parts = { ...common, handles: this.#handles, objects: this.#objects };
    return await submitNow(parts, this.#lane(kind, options.pool), input, options);
  }

  /**
   * A handle for a task that was submitted earlier, by anybody. Whether there is such a task cannot be known.
   *
   * @throws VgasError INVALID if either is no token, or for a guest if the id is not its own
   */
  handle<Output = unknown>(pool: string, id: string): TaskHandle<Output> {
    this.#checkTask(pool, id);
    return new TaskHandle(this.#handles, { id, pool });
  }

  /**
   * Cancels a task by its id, whoever submitted it; `TaskHandle.cancel` says what the states mean.
   *
   * @throws VgasError INVALID if pool or id is no token; else as `TaskHandle.cancel`
   */
  async cancel(pool: string, id: string, options: CancelOptions = {}): Promise<CancelReply> {
    this.#checkTask(pool, id);
    return await this.#handles.questions.cancel(pool, id, options);
  }

  /**
   * Where a task is, whoever submitted it; times are ms since the epoch.
   *
   * @throws VgasError as `cancel`
   */
  async status(pool: string, id: string, options: CallOptions = {}): Promise<TaskState> {
    this.#checkTask(pool, id);
    return await this.#handles.questions.status(pool, id, options);
  }

  /**
   * A batch that was submitted by `submitMany` within the last 7 days, by anybody, with all its handles.
   *
   * @throws VgasError NOT_FOUND if there is none (a batch of one task is not recorded); INVALID, PERMISSION_DENIED for a guest, TIMEOUT,
   *   ABORTED, SHUTTING_DOWN
   */
  async batch<Output = unknown>(pool: string, id: string, options: CallOptions = {}): Promise<TaskBatch<Output>> {
    if (this.#guest !== undefined) throw this.#guest.refusal("read what is kept of a batch");
    this.#checkTask(pool, id);
    const operation = `reading batch ${id}`;
    const { kind, ids } = await this.#asker.inTime(operation, options, (signal) =>
      this.#asker.reading(operation, signal, () => this.#records.read(pool, id)),
    );
    const handles = ids.map((each) => new TaskHandle<Output>(this.#handles, { id: each, pool, kind }));
    return new TaskBatch(this.#handles, { pool, id }, handles, Promise.resolve());
  }

  /**
   * Stored results, oldest first, then with `follow` those to come. Each result comes once. Slow readers are fine. An output that was
   * too large for a message is fetched; one that is gone stays an `outputRef`.
   *
   * @throws VgasError INVALID, PERMISSION_DENIED for a guest; while iterating NO_SWARM, PERMISSION_DENIED, ABORTED, SHUTTING_DOWN
   */
  results(options: ResultsOptions = {}): AsyncIterable<TaskResult> {
    if (this.#guest !== undefined) throw this.#guest.refusal("read a list of results");
    const { pool = "*", follow = false, signal, maxOutputBytes = MAX_OBJECT_BYTES } = options;
    if (options.pool !== undefined) checkLane({ pool, kind: "any" });
    const { streams } = this.#names;
    const source = { stream: streams.results, filter: this.#names.result(pool, "*") };
    const outputs = this.#outputs;
    const complete = async (result: TaskResult): Promise<TaskResult> =>
      (await outputs?.fetchIfSmall(result, maxOutputBytes, { signal })) ?? result;
    return resultFeed({ ...source, bus: this.#bus, follow, signal, complete, logger: this.#logger });
  }

  /**
   * Whether any agent takes tasks of this kind now. A task that nobody takes waits; that is no error. "No" takes a second.
   *
   * @throws VgasError INVALID, NO_SWARM, PERMISSION_DENIED, TIMEOUT, ABORTED
   */
  async offered(pool: string, kind: string, options: CallOptions = {}): Promise<boolean> {
    if (this.#guest !== undefined) throw this.#guest.refusal("see who offers a kind");
    const parts = { bus: this.#bus, names: this.#names, rotation: this.#rotation };
    const lane = checkLane({ pool, kind });
    const operation = `asking who offers ${pool}/${kind}`;
    return await this.#asker.inTime(operation, options, (signal) =>
      this.#asker.reading(operation, signal, () => isOffered(parts, lane, signal)),
    );
  }

  /** Waits a moment for what was submitted to be stored, fails what still waits with SHUTTING_DOWN, and closes. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= (async () => {
      if (this.#bus.state === "connected") await settledWithin(this.#publisher.idle(), CLOSE_TIMEOUT_MS);
      this.#waiting.close(new VgasError("SHUTTING_DOWN", "the client was closed"));
      this.#asker.close();
      this.#publisher.close();
      this.#batched?.close();
      await this.#bus.drain();
    })();
    return this.#closing;
  }

  /** @throws VgasError INVALID */
  #checkTask(pool: string, id: string): void {
    for (const [field, value] of [
      ["pool", pool],
      ["id", id],
    ] as const) {
      if (!isToken(value))
        throw new VgasError("INVALID", `${field} must be a token [A-Za-z0-9_-]{1,64}, got ${JSON.stringify(value)}`);
    }
    this.#guest?.ownId(id);
  }

  #lane(kind: string, pool = this.pool): LaneName {
    if (this.#closing !== undefined) throw new VgasError("SHUTTING_DOWN", "the client is closed");
    return checkLane({ pool, kind });
  }
}

async function settledWithin(work: Promise<void>, timeoutMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, timeoutMs);
  });
  await Promise.race([work, late]);
  clearTimeout(timer);
}
