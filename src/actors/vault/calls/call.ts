/**
 * One brokered call: sends the agent's request with the key in it, and keeps the answer until it is read.
 *
 * Owns its connection, its timers, its copy of the key and the buffered answer.
 * 1. `onEnd` is called exactly once, when the provider's part is over: answered, failed, or given up. By then nothing is sent any more,
 *    and the copy of the key is wiped.
 * 2. The answer's pieces pass the redactor before anything else sees them.
 * 3. Above `bufferBytes` the provider is not read from; it goes on when the agent has read.
 * 4. Pieces of the body are taken in the order of their numbers, each once and one at a time: the next is refused until the connection
 *    has taken the one before. The same number again gets the same reply.
 * 5. Of each number, and of cancellations, one request waits at most: a later one ends it (Repeatable). So a call holds at most three.
 * 6. Once it has ended and was read, it keeps no piece of an answer but a short last one.
 */
import { VgasError } from "../../../protocols/errors.ts";
import type { Usage } from "../../../protocols/vault/keys.ts";
import type { CallReply } from "../../../protocols/vault/operations.ts";
import { Answer } from "./answer.ts";
import { Deadline } from "./deadline.ts";
import { Exchange, type ExchangeOptions } from "./exchange.ts";
import { resolveUrl } from "./guard.ts";
import { type OutgoingHeaders, requestHeaders, responseHeaders, retryAfterMs, statusText } from "./headers.ts";
import {
  type CallHooks,
  type CallMeter,
  type CallOutcome,
  type CallSurroundings,
  checkCall,
  frame,
  type OpenCall,
} from "./open-call.ts";
import { Redactor } from "./redaction.ts";
import { Repeatable } from "./repeatable.ts";

const RESTING_STATUSES = new Set([429, 503]);

export class Call {
  readonly owner: string;
  readonly #options: Pick<OpenCall, "method" | "more" | "settings" | "onHead" | "onEnd">;
  readonly #around: CallSurroundings;
  readonly #url: URL;
  readonly #declaredBytes: number | undefined;
  readonly #redactor: Redactor;
  readonly #answer: Answer;
  /** The connection, the provider and the agent may each be silent for a time of their own. */
  readonly #silence: Deadline;
  readonly #expiry: Deadline;
  readonly #unread: Deadline;
  readonly #hooks: CallHooks;
  readonly #started: Promise<void>;
  /** Until the provider's part is over: node:http keeps the key's header as a string for as long as its request is held. */
  #current: Exchange | undefined;
  #meter: CallMeter | undefined;
  #status: number | undefined;
  #retryAfterMs: number | undefined;
  #bytesSent = 0;
  #bytesReceived = 0;
  #paused = false;
  #open = 0;
  #writeSeq = 0;
  #written: Repeatable | undefined;
  #cancelled: Repeatable | undefined;
  #complete: boolean;
  #settled: Promise<Usage | undefined> | undefined;

  /** Throws INVALID or PERMISSION_DENIED; then nothing has been done. Hooks are called later, never from in here. */
  constructor(options: OpenCall, around: CallSurroundings, hooks: CallHooks) {
    const { url, declaredBytes } = checkCall(options);
    this.#url = url;
    const headers = requestHeaders(options.headers, options.settings, options.secret);
    this.#declaredBytes = declaredBytes;
    frame(headers, options, this.#declaredBytes);
    // Neither the key nor the body is kept for as long as the call is.
    const { method, more, settings, onHead, onEnd } = options;
    this.#options = { method, more, settings, onHead, onEnd };
    this.#around = around;
    this.#hooks = hooks;
    this.owner = options.owner;
    this.#complete = !more;
    this.#redactor = new Redactor(options.secret);
    const { clock, limits } = around;
    this.#answer = new Answer({ clock, waitMs: limits.waitMs });
    this.#silence = new Deadline(clock);
    this.#expiry = new Deadline(clock);
    this.#unread = new Deadline(clock);
    this.#expiry.arm(options.expiresAt - clock.now(), () =>
      this.abort(new VgasError("GRANT_VOID", "the grant of this call has expired")),
    );
    this.#touch();
    this.#started = this.#start(headers, options.body);
  }

  /** Whether it takes up room: its answer is still to come, or to be read. */
  get open(): boolean {
    return this.#settled === undefined || !this.#answer.finished;
  }

  /** Resolves once its end is recorded, which must have begun. */
  async settled(): Promise<void> {
    await this.#settled;
  }

  /** Replies when the connection has taken the piece. Rejects with TIMEOUT when it is asked for again before that. */
  write(seq: number, data: Uint8Array, more: boolean): Promise<CallReply> {
    if (seq === this.#writeSeq && this.#written !== undefined) return this.#written.reply();
    const waits = this.#written?.pending === true;
    if (seq !== this.#writeSeq + 1 || this.#complete || waits) {
      const last = `the last one was ${this.#writeSeq}${waits ? ", which still waits" : ""}`;
      const why = this.#complete ? "the body is complete" : last;
      return Promise.reject(new VgasError("INVALID", `write ${seq} is out of order: ${why}`));
    }
    this.#writeSeq = seq;
    this.#complete = !more;
    this.#written = new Repeatable(this.#busy(this.#send(data, more)), `write ${seq}`);
    return this.#written.reply();
  }

  read(seq: number): Promise<CallReply> {
    return this.#busy(this.#read(seq));
  }

  /** Gives the call up. Replies once its end is recorded, with what it counted. Rejects with TIMEOUT when it is asked for again. */
  cancel(): Promise<CallReply> {
    this.#cancelled ??= new Repeatable(this.#cancel(), "the cancellation");
    return this.#cancelled.reply();
  }

  async #cancel(): Promise<CallReply> {
    this.abort(new VgasError("ABORTED", "the call was cancelled"));
    const usage = await this.#settled;
    return { done: true, ...(usage !== undefined && { usage }) };
  }

  /** Ends it now. What has not been read is thrown away: reads get the error. */
  abort(reason: VgasError): void {
    this.#finish(reason);
    this.#answer.discard(reason);
    this.#close();
  }

  /** Stops its timers: nobody can ask for it any more. */
  dispose(): void {
    this.#unread.disarm();
    this.#expiry.disarm();
  }

  async #start(headers: OutgoingHeaders, body: Uint8Array | undefined): Promise<void> {
    const { limits, lookup, connections } = this.#around;
    const { settings, method } = this.#options;
    try {
      this.#expect(limits.connectMs, "connecting");
      const addresses = await resolveUrl(this.#url, settings, lookup);
      if (this.#settled !== undefined) return;
      const agent = connections.agentFor(this.#url, settings.allowPrivate);
      const exchange = new Exchange({ url: this.#url, method, headers, addresses, agent, ...this.#events });
      this.#current = exchange;
      if (body !== undefined) {
        this.#bytesSent += body.length;
        await exchange.write(body);
      }
      if (!this.#options.more) exchange.end();
    } catch (error) {
      // What is no VgasError is of node:http, which has not sent anything then.
      this.#fail(error instanceof VgasError ? error : new VgasError("INVALID", "the request cannot be sent"));
    }
  }

  get #events(): Pick<ExchangeOptions, "onConnected" | "onHead" | "onData" | "onEnd" | "onError"> {
    const { limits, clock } = this.#around;
    const redact = (bytes: Buffer) => this.#redactor.whole(bytes);
    return {
      onConnected: () => this.#expect(limits.headMs, "answering"),
      onHead: (response, decoded) => {
        const headers = responseHeaders(response.rawHeaders, { redact, decoded });
        const status = response.statusCode ?? 0;
        this.#status = status;
        if (RESTING_STATUSES.has(status)) this.#retryAfterMs = retryAfterMs(headers, clock.now());
        this.#expect(limits.idleMs, "going on with its answer");
        this.#meter = this.#measured(() => this.#options.onHead(status, headers));
        this.#answer.begin({ status, statusText: statusText(response.statusMessage, redact), headers });
      },
      onData: (piece) => {
        this.#bytesReceived += piece.length;
        this.#take(this.#redactor.push(piece));
        if (this.#answer.bufferedBytes >= limits.bufferBytes) {
          this.#paused = true;
          this.#silence.disarm();
          this.#current?.pause();
        } else this.#expect(limits.idleMs, "going on with its answer");
      },
      onEnd: () => {
        this.#take(this.#redactor.end());
        this.#finish(undefined);
      },
      onError: (error) => this.#fail(error),
    };
  }

  #take(piece: Buffer): void {
    if (piece.length === 0) return;
    this.#measured(() => this.#meter?.push(piece));
    this.#answer.push(piece);
  }

  /** The meter reads what a stranger wrote: a defect of it must not end the process, nor the call. */
  #measured<T>(measure: () => T): T | undefined {
    try {
      return measure();
    } catch (error) {
      this.#meter = undefined;
      const name = error instanceof Error ? error.name : "a thrown value";
      this.#around.logger.error({ origin: this.#url.origin, error: name }, "an answer could not be measured");
      return undefined;
    }
  }

  async #send(data: Uint8Array, more: boolean): Promise<CallReply> {
    const { limits } = this.#around;
    await this.#started;
    const exchange = this.#current;
    if (exchange === undefined || this.#settled !== undefined) return {};
    const bytes = this.#bytesSent + data.length;
    const wanted = this.#declaredBytes;
    if (bytes > limits.bodyBytes) throw this.#refuse("TOO_LARGE", `a body may have at most ${limits.bodyBytes} bytes`);
    if (wanted !== undefined && (bytes > wanted || (!more && bytes < wanted)))
      throw this.#refuse(
        "INVALID",
        `the body has ${more ? "more than" : ""} ${bytes} bytes, and content-length says ${wanted}`,
      );
    this.#bytesSent = bytes;
    await exchange.write(data);
    if (!more) exchange.end();
    if (this.#status === undefined && this.#settled === undefined) this.#expect(limits.headMs, "answering");
    return {};
  }

  #refuse(code: "TOO_LARGE" | "INVALID", message: string): VgasError {
    const error = new VgasError(code, message);
    this.abort(error);
    return error;
  }

  async #read(seq: number): Promise<CallReply> {
    try {
      return await this.#answer.read(seq);
    } finally {
      if (!this.open) this.#close();
      else if (this.#paused && this.#answer.bufferedBytes < this.#around.limits.bufferBytes / 2) this.#resume();
    }
  }

  #resume(): void {
    this.#paused = false;
    if (this.#settled !== undefined) return;
    this.#expect(this.#around.limits.idleMs, "going on with its answer");
    this.#current?.resume();
  }

  #close(): void {
    this.#expiry.disarm();
    this.#hooks.closed();
  }

  /** While something is being done for the agent, nobody has left it. */
  async #busy(work: Promise<CallReply>): Promise<CallReply> {
    this.#open++;
    this.#unread.disarm();
    try {
      return await work;
    } finally {
      this.#open--;
      if (this.#open === 0) this.#touch();
    }
  }

  #touch(): void {
    const { unreadMs } = this.#around.limits;
    this.#unread.arm(unreadMs, () => {
      if (!this.open) {
        this.#hooks.forgotten();
        return;
      }
      this.abort(new VgasError("ABORTED", `nobody read the answer of the call for ${unreadMs / 1_000} s`));
      // Who comes late is still told why.
      this.#touch();
    });
  }

  #expect(withinMs: number, what: string): void {
    this.#silence.arm(withinMs, () =>
      this.#fail(
        new VgasError("UPSTREAM_FAILED", `${this.#url.origin} took longer than ${withinMs / 1_000} s for ${what}`),
      ),
    );
  }

  /** The provider's failure, or a refusal to go there: what it has answered so far can still be read. */
  #fail(error: VgasError): void {
    if (this.#settled !== undefined) return;
    this.#take(this.#redactor.end());
    this.#finish(error);
  }

  #finish(error: VgasError | undefined): void {
    if (this.#settled !== undefined) return;
    this.#silence.disarm();
    if (error !== undefined) this.#current?.destroy();
    this.#current = undefined;
    this.#meter = undefined;
    this.#redactor.wipe();
    const outcome: CallOutcome = {
      ...(this.#status !== undefined && { status: this.#status }),
      ...(error !== undefined && { error }),
      bytesSent: this.#bytesSent,
      bytesReceived: this.#bytesReceived,
      ...(this.#retryAfterMs !== undefined && { retryAfterMs: this.#retryAfterMs }),
    };
    this.#settled = this.#settle(outcome);
  }

  async #settle(outcome: CallOutcome): Promise<Usage | undefined> {
    const { logger } = this.#around;
    logger.debug({ origin: this.#url.origin, ...outcome, error: outcome.error?.message }, "a brokered call ended");
    try {
      const usage = await this.#options.onEnd(outcome);
      this.#answer.end(outcome.error === undefined ? { usage } : { error: outcome.error });
      return usage;
    } catch (thrown) {
      const error =
        thrown instanceof VgasError ? thrown : new VgasError("INTERNAL", "the end of the call could not be recorded");
      logger.warn({ origin: this.#url.origin, error: error.message }, "the end of a brokered call was not recorded");
      this.#answer.end({ error });
      return undefined;
    }
  }
}
