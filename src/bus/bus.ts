/**
 * One connection to NATS, as the rest of vgas sees it.
 *
 * Owns the nats.js connection, the one subscription for answers to requests, and the list of status listeners.
 *
 * Invariants
 * 1. Nothing thrown by a handler or listener reaches nats.js: there it would close the connection for good.
 * 2. Answers go only to inboxes, and only through `respond`: NATS does not check the reply subject that a sender names. What
 *    comes from another account is answered through `respondAcrossAccounts`, and only there where the server wants it.
 * 3. What is larger than the server takes is refused before it touches the connection: the server would cut it.
 * 4. A refused subscription is reported, by `subscribe` or as a `denied` status; nobody is deaf and looks alive.
 */
import { createInbox, type PublishOptions as NativeOptions, type NatsConnection } from "@nats-io/transport-node";
import { VgasError } from "../protocols/errors.ts";
import { type Logger, silentLogger } from "../protocols/logger.ts";
import { isInbox, isServiceReply } from "../protocols/tokens.ts";
import { type EncodedHeaders, encodeHeaders, type HeaderRecord } from "./headers.ts";
import type { BusMessage } from "./message.ts";
import { callError, connectionError } from "./nats-errors.ts";
import { Replies } from "./replies.ts";
import { type BusStatus, toBusStatus } from "./status.ts";
import { StatusHub } from "./status-hub.ts";
import { type Handler, openSubscription, type SubscribeOptions, type Subscription } from "./subscription.ts";

export type { HeaderRecord } from "./headers.ts";
export type { BusMessage } from "./message.ts";
export type { BusStatus } from "./status.ts";
export type { Handler, Subscription } from "./subscription.ts";

export type BusState = "connected" | "disconnected" | "closed";

export interface PublishOptions {
  /** An inbox of our own. */
  readonly reply?: string;
  readonly headers?: HeaderRecord | EncodedHeaders;
}

export interface RequestOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  readonly headers?: HeaderRecord;
}

export interface RequestManyOptions extends RequestOptions {
  readonly maxMessages?: number;
  /**
   * "timeout" (default): returns what came within `timeoutMs`, nothing if nobody listens. "sentinel": ends with the
   * empty status message that closes a batch, which is the last of the list; not getting it is TIMEOUT.
   */
  readonly end?: "sentinel" | "timeout";
}

export interface BusOptions {
  readonly inboxPrefix: string;
  readonly logger?: Logger;
}

const FLUSH_TIMEOUT_MS = 10_000;
/** A drain ends with a round trip; a server that does not answer must not hold up the stop. */
const DRAIN_TIMEOUT_MS = 5_000;

export class Bus {
  /** The name in our inbox prefix (`inboxPrefix(user)`): who we are towards the server's permissions. */
  readonly user: string;
  readonly #connection: NatsConnection;
  readonly #inboxPrefix: string;
  readonly #logger: Logger;
  readonly #hub: StatusHub;
  readonly #replies: Replies;
  #state: BusState = "connected";
  #serverId: string;
  #maxPayload: number;
  #closing: Promise<void> | undefined;
  #draining: Promise<void> | undefined;
  /** Somebody wants it closed, so its end is no failure. */
  #endAsked = false;
  #handlerErrors = 0;
  #refusedAnswers = 0;

  /** Takes over a connected `connection`; use `connectBus`. */
  constructor(connection: NatsConnection, options: BusOptions) {
    const { info } = connection;
    if (info === undefined) throw new VgasError("INTERNAL", "a bus needs a connected connection");
    this.#connection = connection;
    this.#inboxPrefix = options.inboxPrefix;
    this.#logger = options.logger ?? silentLogger;
    this.#hub = new StatusHub(this.#logger);
    this.#serverId = info.server_id;
    this.#maxPayload = info.max_payload;
    this.user = options.inboxPrefix.slice(options.inboxPrefix.indexOf(".") + 1);
    this.#replies = new Replies(this.inbox());
    this.subscribeNow(`${this.#replies.prefix}.*`, (message) => this.#replies.deliver(message));
    void this.#watch();
    void connection.closed().then((error) => this.#closed(error ?? undefined));
  }

  get state(): BusState {
    return this.#state;
  }

  /** Identity of the server process that answers; another after it was started again. */
  get serverId(): string {
    return this.#serverId;
  }

  /** `host:port` of the server that it is connected to, or was. */
  get server(): string {
    return this.#connection.getServer();
  }

  /** Largest message the server takes, headers included, in bytes. */
  get maxPayload(): number {
    return this.#maxPayload;
  }

  /** What went wrong with nobody to tell: failures of handlers, and answers asked for at a subject that is no inbox. */
  get counters(): { readonly handlerErrors: number; readonly refusedAnswers: number } {
    return { handlerErrors: this.#handlerErrors, refusedAnswers: this.#refusedAnswers };
  }

  /** The nats.js connection, for other files of bus/ only. */
  get native(): NatsConnection {
    return this.#connection;
  }

  /**
   * Sends without waiting for anything. While disconnected it may be lost.
   *
   * @throws VgasError TOO_LARGE; INVALID for a subject or header that cannot be sent; SHUTTING_DOWN when closed
   */
  publish(subject: string, data: Uint8Array, options?: PublishOptions): void {
    const native: NativeOptions = {};
    let bytes = data.length;
    if (options?.reply !== undefined) native.reply = options.reply;
    if (options?.headers !== undefined) {
      const headers = encodeHeaders(options.headers);
      native.headers = headers;
      bytes += headers.byteLength;
    }
    if (bytes > this.#maxPayload) {
      const message = `the message for ${subject} has ${bytes} bytes, the server takes at most ${this.#maxPayload}`;
      throw new VgasError("TOO_LARGE", message);
    }
    try {
      this.#connection.publish(subject, data, native);
    } catch (error) {
      throw callError(subject, error);
    }
  }

  /**
   * Sends and resolves with the first answer.
   *
   * @throws VgasError TIMEOUT "<operation> timed out after N ms"; UNDELIVERABLE at once when nobody listens; ABORTED;
   *   PERMISSION_DENIED; SHUTTING_DOWN; what `publish` throws
   */
  async request(operation: string, subject: string, data: Uint8Array, options: RequestOptions): Promise<BusMessage> {
    const [answer] = await this.requestMany(operation, subject, data, { ...options, maxMessages: 1 });
    if (answer === undefined) throw new VgasError("INTERNAL", `${operation} ended without an answer`);
    return answer;
  }

  /** Sends and collects answers; `RequestManyOptions` says when it is over. Fails as `request` does. */
  requestMany(
    operation: string,
    subject: string,
    data: Uint8Array,
    options: RequestManyOptions,
  ): Promise<BusMessage[]> {
    const { timeoutMs, signal, headers, maxMessages = Number.POSITIVE_INFINITY, end = "timeout" } = options;
    return this.#replies.add(operation, subject, { timeoutMs, signal, maxMessages, end }, (reply) =>
      this.publish(subject, data, headers === undefined ? { reply } : { reply, headers }),
    );
  }

  /**
   * Subscribes and resolves when the server has it. It survives reconnects.
   *
   * @throws VgasError PERMISSION_DENIED if the credential does not open `subject`; TIMEOUT; SHUTTING_DOWN
   */
  async subscribe(subject: string, handler: Handler, options: SubscribeOptions = {}): Promise<Subscription> {
    const subscription = this.subscribeNow(subject, handler, options);
    try {
      await this.flush();
    } catch (error) {
      subscription.unsubscribe();
      throw error;
    }
    if (!subscription.closed) return subscription;
    throw new VgasError("PERMISSION_DENIED", `the credential does not open a subscription to ${subject}`);
  }

  /** As `subscribe`, without waiting: a refusal is only a `denied` status. */
  subscribeNow(subject: string, handler: Handler, options: SubscribeOptions = {}): Subscription {
    return openSubscription(this.#connection, subject, handler, options, (error) => this.reportFailure(subject, error));
  }

  /**
   * Answers `message`, if it asks for an answer at an inbox. Anything else is refused and counted: NATS does not check
   * the reply subject, so an answer could be made to land on a stream or an API subject.
   *
   * @returns whether an answer was sent
   */
  respond(message: Pick<BusMessage, "reply" | "subject">, data: Uint8Array, headers?: HeaderRecord): boolean {
    return this.#answer(message, isInbox, data, headers);
  }

  /**
   * Answers `message`, which came through a service import of another account. Its reply subject was made by the server then:
   * whatever the requester named stays in the requester's account, and the answer is led there. Anything else is refused and
   * counted, as by `respond`.
   *
   * @returns whether an answer was sent
   */
  respondAcrossAccounts(message: BusMessage, data: Uint8Array, headers?: HeaderRecord | EncodedHeaders): boolean {
    return this.#answer(message, isServiceReply, data, headers);
  }

  /** A fresh inbox subject below our own prefix. */
  inbox(): string {
    return createInbox(this.#inboxPrefix);
  }

  /**
   * Resolves when the server has processed everything sent so far; while disconnected, waits for the connection.
   *
   * @throws VgasError TIMEOUT, SHUTTING_DOWN
   */
  async flush(timeoutMs = FLUSH_TIMEOUT_MS): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      if (this.#state === "closed") throw new VgasError("SHUTTING_DOWN", "the connection to NATS is closed");
      const leftMs = deadline - performance.now();
      if (leftMs <= 0) throw new VgasError("TIMEOUT", `flush timed out after ${timeoutMs} ms`);
      // A round trip that a disconnect cut says nothing; it is made again on the next connection.
      if (this.#state === "disconnected") await within(leftMs, this.#hub.next("reconnected", "closed"));
      else if (await within(leftMs, this.#connection.flush())) return;
    }
  }

  /** Hands over what has arrived, sends what is waiting, then closes. Idempotent; never takes longer than 5 s. */
  drain(): Promise<void> {
    this.#endAsked = true;
    this.#draining ??= (async () => {
      if (this.#state === "connected") await within(DRAIN_TIMEOUT_MS, this.#connection.drain());
      await this.close();
    })();
    return this.#draining;
  }

  /** Closes at once. Idempotent. Pending requests fail with SHUTTING_DOWN. */
  close(): Promise<void> {
    this.#endAsked = true;
    this.#closing ??= (async () => {
      this.#closed(undefined);
      await this.#connection.close();
    })();
    return this.#closing;
  }

  /**
   * Where to connect from the next reconnect on, instead of where it was; the present connection stays. They must prove
   * themselves as the first ones had to.
   *
   * @throws VgasError INVALID without any
   */
  setServers(urls: readonly string[]): void {
    if (urls.length === 0) throw new VgasError("INVALID", "a bus needs at least one server");
    this.#connection.setServers([...urls]);
  }

  /** Tells `listener` every change of the connection; returns how to stop that. */
  onStatus(listener: (status: BusStatus) => void): () => void {
    return this.#hub.listen(listener);
  }

  /** Counts and logs what a callback threw, for other files of bus/ that call back. */
  reportFailure(subject: string, error: unknown): void {
    this.#handlerErrors++;
    this.#logger.error({ err: error, subject }, "a message handler failed");
  }

  async #watch(): Promise<void> {
    for await (const event of this.#connection.status()) {
      const status = event.type === "reconnect" ? this.#reconnected() : toBusStatus(event);
      if (status !== undefined && this.#state !== "closed") this.#changed(status);
    }
  }

  #reconnected(): BusStatus | undefined {
    const { info } = this.#connection;
    // Lost again before this was told: the next event is a disconnect.
    if (info === undefined || this.#state === "closed") return undefined;
    const restarted = info.server_id !== this.#serverId;
    this.#serverId = info.server_id;
    this.#maxPayload = info.max_payload;
    this.#state = "connected";
    return { type: "reconnected", serverId: this.#serverId, restarted };
  }

  #answer(
    { subject, reply }: Pick<BusMessage, "reply" | "subject">,
    mayAnswerTo: (subject: string) => boolean,
    data: Uint8Array,
    headers: HeaderRecord | EncodedHeaders | undefined,
  ): boolean {
    if (reply === undefined || this.#state === "closed") return false;
    if (!mayAnswerTo(reply)) {
      this.#refusedAnswers++;
      this.#logger.warn({ subject, reply }, "did not answer to a subject that is no inbox");
      return false;
    }
    this.publish(reply, data, headers && { headers });
    return true;
  }

  #changed(status: BusStatus): void {
    if (status.type === "disconnected") {
      // Told again for each connection that fails while it is being made.
      if (this.#state === "disconnected") return;
      this.#state = "disconnected";
    } else if (status.type === "denied") {
      if (status.operation === "publish") this.#replies.denied(status.subject);
      else if (status.subject === `${this.#replies.prefix}.*`)
        this.#failRequests("PERMISSION_DENIED", "the credential does not open its own inbox");
    }
    this.#hub.tell(status);
  }

  #closed(cause: Error | undefined): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#failRequests("SHUTTING_DOWN", "the connection to NATS is closed");
    const error = this.#endAsked ? undefined : connectionError(cause ?? new Error("the connection ended"));
    this.#hub.tell({ type: "closed", error });
  }

  #failRequests(code: "PERMISSION_DENIED" | "SHUTTING_DOWN", why: string): void {
    this.#replies.failAll((operation) => new VgasError(code, `${operation}: ${why}`));
  }
}

/** Whether `work` succeeded within `timeoutMs`. Never rejects. */
async function within(timeoutMs: number, work: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(resolve, timeoutMs, false);
  });
  const done = work.then(
    () => true,
    () => false,
  );
  const result = await Promise.race([done, late]);
  clearTimeout(timer);
  return result;
}
