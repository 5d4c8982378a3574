/**
 * Reads a stream in order, from some point on, and goes on reading whatever happens to the connection or the server.
 *
 * Owns an ephemeral push consumer on the server at a time (a generation), its inbox, and a timer that listens for silence.
 *
 * Invariants
 * 1. Each message is handed over once, in the order of the stream, without a gap: a missing one starts a new generation
 *    behind the last that was handed over.
 * 2. Only the newest generation is listened to.
 * 3. A stream that was made anew, and so is behind what was read, is read from the start again.
 */
import { AckPolicy, type ConsumerConfig, DeliverPolicy } from "@nats-io/jetstream";
import { VgasError } from "../protocols/errors.ts";
import { type Logger, silentLogger } from "../protocols/logger.ts";
import type { Bus, BusMessage, Subscription } from "./bus.ts";
import { type Delivery, isAckSubject, parseDelivery } from "./delivery.ts";
import { jsApiCall, jsApiFind } from "./js-api.ts";

export interface ReadMessage extends Delivery {
  readonly subject: string;
  readonly data: Uint8Array;
  header(name: string): string | undefined;
}

export interface ReaderOptions {
  readonly stream: string;
  readonly filter: string;
  /** `newest`: the newest message of each subject, then what follows. `new`: only what is stored from now on. */
  readonly from: "all" | "newest" | "new" | { readonly sequence: number };
  /** Leaves the data out. */
  readonly headersOnly?: boolean;
  readonly logger?: Logger;
  onMessage(message: ReadMessage): void;
  /** Called once, when everything that was stored at the start was handed over. */
  onCaughtUp?(): void;
}

const HEARTBEAT_MS = 2_000;
const SILENCE_MS = 2 * HEARTBEAT_MS + 1_000;
const TICK_MS = 1_000;
/** A tick later than this means that this process stood still: silence was ours, not the server's. */
const STALL_MS = 2_500;
/** The server drops a consumer that nobody listens to after this. */
const INACTIVE_MS = 30_000;
const RETRY_MS = 500;
const NANOS_PER_MS = 1_000_000;
const STATUS = { control: 100 } as const;
const HEADER = { lastConsumer: "Nats-Last-Consumer", stalled: "Nats-Consumer-Stalled" } as const;
const EMPTY = new Uint8Array(0);

export class StreamReader {
  readonly #bus: Bus;
  readonly #options: ReaderOptions;
  readonly #logger: Logger;
  #generation = 0;
  #inbox: Subscription | undefined;
  #consumer: string | undefined;
  /** Where the next generation begins if nothing was handed over yet. */
  #from: Exclude<ReaderOptions["from"], "new"> | undefined;
  /** Sequence in the stream of the last message handed over. */
  #last = 0;
  /** How many this generation has delivered. */
  #delivered = 0;
  #caughtUp = false;
  #heardAt = 0;
  #tickedAt = 0;
  #ticker: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;
  #stopListening: (() => void) | undefined;
  #failing = false;
  #stopped = false;

  constructor(bus: Bus, options: ReaderOptions) {
    this.#bus = bus;
    this.#options = options;
    this.#logger = options.logger ?? silentLogger;
  }

  /**
   * Resolves when the server delivers. Everything after that is mended without telling.
   *
   * @throws VgasError NOT_FOUND if there is no such stream, PERMISSION_DENIED, TIMEOUT, UNDELIVERABLE
   */
  async start(): Promise<void> {
    try {
      await this.#open();
    } catch (error) {
      this.stop();
      throw error;
    }
    if (this.#stopped) return;
    this.#stopListening = this.#bus.onStatus((status) => {
      if (status.type === "reconnected") this.#reopen("reconnected");
      else if (status.type === "closed") this.stop();
    });
    this.#tickedAt = performance.now();
    this.#ticker = setInterval(() => this.#tick(), TICK_MS);
  }

  /** Nothing is handed over after this. Idempotent. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    clearInterval(this.#ticker);
    clearTimeout(this.#retry);
    this.#stopListening?.();
    this.#leave();
  }

  async #open(): Promise<void> {
    this.#leave();
    const generation = this.#generation;
    const { stream, filter } = this.#options;
    const operation = `reading ${stream}`;
    // "New" is settled once, so that what comes between two generations is not skipped.
    if (this.#last > 0 || this.#from === undefined) await this.#place();
    if (generation !== this.#generation) return;
    this.#delivered = 0;
    this.#heardAt = performance.now();
    this.#inbox = this.#bus.subscribeNow(this.#bus.inbox(), (message) => {
      if (generation === this.#generation) this.#received(message);
    });
    const config: Partial<ConsumerConfig> = {
      name: `read_${this.#inbox.subject.slice(this.#inbox.subject.lastIndexOf(".") + 1)}`,
      deliver_subject: this.#inbox.subject,
      filter_subject: filter,
      ack_policy: AckPolicy.None,
      mem_storage: true,
      num_replicas: 1,
      flow_control: true,
      idle_heartbeat: HEARTBEAT_MS * NANOS_PER_MS,
      inactive_threshold: INACTIVE_MS * NANOS_PER_MS,
      headers_only: this.#options.headersOnly ?? false,
      ...this.#startingPoint(),
    };
    const info = await jsApiCall(this.#bus, operation, (manager) => manager.consumers.add(stream, config));
    if (generation !== this.#generation) {
      this.#discard(info.name);
      return;
    }
    this.#consumer = info.name;
    this.#failing = false;
    // Counted when the consumer was made: what waits now was told apart from what comes later.
    if (info.num_pending === 0 && info.delivered.consumer_seq === 0) this.#tellCaughtUp();
  }

  /** Settles where to begin, by what the stream holds now. */
  async #place(): Promise<void> {
    const { stream, from } = this.#options;
    const { state } = await jsApiCall(this.#bus, `reading ${stream}`, (manager) => manager.streams.info(stream));
    if (this.#from === undefined) this.#from = from === "new" ? { sequence: state.last_seq + 1 } : from;
    else if (state.last_seq < this.#last) {
      this.#last = 0;
      if (typeof this.#from === "object") this.#from = "all";
    }
  }

  #startingPoint(): Pick<ConsumerConfig, "deliver_policy"> & { opt_start_seq?: number } {
    if (this.#last > 0) return { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: this.#last + 1 };
    if (typeof this.#from === "object")
      return { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: this.#from.sequence };
    return { deliver_policy: this.#from === "newest" ? DeliverPolicy.LastPerSubject : DeliverPolicy.All };
  }

  #received(message: BusMessage): void {
    this.#heardAt = performance.now();
    const { reply } = message;
    if (!isAckSubject(reply)) {
      this.#control(message);
      return;
    }
    const delivery = parseDelivery(reply);
    if (delivery.consumerSequence !== this.#delivered + 1) {
      this.#reopen("a message is missing");
      return;
    }
    this.#delivered++;
    this.#last = delivery.sequence;
    this.#options.onMessage({
      ...delivery,
      subject: message.subject,
      data: message.data,
      header: (name) => message.header(name),
    });
    if (delivery.pending === 0) this.#tellCaughtUp();
  }

  /** Heartbeats, flow control and the end of the consumer. */
  #control(message: BusMessage): void {
    if (message.status !== STATUS.control) {
      if (message.status > STATUS.control) this.#reopen(`${message.status} ${message.statusText}`);
      return;
    }
    // The server waits for an answer before it sends more.
    const resume = message.reply ?? message.header(HEADER.stalled);
    if (resume !== undefined) this.#bus.publish(resume, EMPTY);
    const last = message.header(HEADER.lastConsumer);
    if (last !== undefined && Number(last) > this.#delivered) this.#reopen("a message is missing");
  }

  #tick(): void {
    const now = performance.now();
    if (now - this.#tickedAt > STALL_MS) this.#heardAt = now;
    this.#tickedAt = now;
    if (this.#bus.state === "connected" && this.#retry === undefined && now - this.#heardAt > SILENCE_MS)
      this.#reopen("no heartbeat");
  }

  #reopen(reason: string): void {
    if (this.#stopped) return;
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#logger.debug({ stream: this.#options.stream, reason }, "reads a stream anew");
    this.#open().catch((error: unknown) => {
      if (this.#stopped) return;
      // Told once until it works again.
      const level = this.#failing ? "debug" : "warn";
      this.#failing = true;
      this.#logger[level]({ err: error, stream: this.#options.stream }, "cannot read a stream; tries again");
      clearTimeout(this.#retry);
      this.#retry = setTimeout(() => this.#reopen("again"), RETRY_MS);
    });
  }

  /** Ends the generation. */
  #leave(): void {
    this.#generation++;
    this.#inbox?.unsubscribe();
    this.#inbox = undefined;
    if (this.#consumer !== undefined) this.#discard(this.#consumer);
    this.#consumer = undefined;
  }

  /** Best effort: the server drops it after a while anyway. */
  #discard(consumer: string): void {
    if (this.#bus.state !== "connected") return;
    const { stream } = this.#options;
    jsApiFind(this.#bus, `leaving ${stream}`, (manager) => manager.consumers.delete(stream, consumer)).catch(
      (error: unknown) => {
        this.#logger.debug({ err: error, stream, consumer }, "could not delete a reader's consumer");
      },
    );
  }

  #tellCaughtUp(): void {
    if (this.#caughtUp) return;
    this.#caughtUp = true;
    this.#options.onCaughtUp?.();
  }
}

/**
 * Everything that is stored now under `filter`, in order.
 *
 * @throws VgasError NOT_FOUND, PERMISSION_DENIED, TIMEOUT "<operation> timed out after N ms"
 */
export async function readAll(
  bus: Bus,
  operation: string,
  options: Pick<ReaderOptions, "stream" | "filter" | "headersOnly"> & {
    readonly from: "all" | "newest";
    readonly timeoutMs: number;
  },
): Promise<ReadMessage[]> {
  const messages: ReadMessage[] = [];
  const { promise, resolve, reject } = withResolvers();
  const timer = setTimeout(
    () => reject(new VgasError("TIMEOUT", `${operation} timed out after ${options.timeoutMs} ms`)),
    options.timeoutMs,
  );
  const reader = new StreamReader(bus, {
    ...options,
    onMessage: (message) => void messages.push(message),
    onCaughtUp: resolve,
  });
  try {
    await Promise.race([reader.start().then(() => promise), promise]);
    return messages;
  } finally {
    clearTimeout(timer);
    reader.stop();
  }
}

function withResolvers(): { promise: Promise<void>; resolve: () => void; reject: (error: Error) => void } {
  let resolve = (): void => undefined;
  let reject = (_error: Error): void => undefined;
  const promise = new Promise<void>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
