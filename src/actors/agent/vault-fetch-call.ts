/**
 * One brokered call, as the agent holds it.
 *
 * 1. The call is opened at most once; pieces of it are written and read by number, so these are asked for again when an answer is lost.
 * 2. It ends once: read to its end, failed, cancelled, or ended by a signal. From then on nothing is asked of the vault but what the
 *    call counted.
 * 3. The vault is read from when the consumer wants more, and one piece ahead of it.
 */
import { VgasError } from "../../protocols/errors.ts";
import type { Usage } from "../../protocols/vault/keys.ts";
import type { CallReply, CallRequest } from "../../protocols/vault/operations.ts";
import type { BodyPiece, UploadBody } from "./vault-fetch-body.ts";

/** Asks the vault. Rejects with a VgasError; TIMEOUT if no answer came in time. */
export type BrokerPort = (
  request: CallRequest,
  options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
) => Promise<CallReply>;

type Head = NonNullable<CallReply["head"]>;
export type FirstReply = CallReply & { readonly head: Head };

export interface BrokeredCallOptions {
  readonly provider: string;
  readonly grant: Uint8Array;
  readonly method: string;
  readonly url: string;
  readonly headers: [name: string, value: string][];
  /** Any of them ends the call. */
  readonly signals: readonly AbortSignal[];
  onUsage(usage: Usage): void;
}

const OPEN_TIMEOUT_MS = 30_000;
const WRITE_TIMEOUT_MS = 30_000;
/** The vault lets a read wait for 15 s. */
const READ_TIMEOUT_MS = 20_000;
const CANCEL_TIMEOUT_MS = 5_000;

/** So much of a body that nobody wants is read all the same: it ends the call properly, and for less than a cancellation. */
const MAX_DRAINED_BYTES = 64 * 1024;

/** Why a call ended that was read to its end. */
const COMPLETE = new DOMException("the call is complete", "AbortError");

export class BrokeredCall {
  readonly #port: BrokerPort;
  readonly #options: BrokeredCallOptions;
  readonly #id: string;
  /** Fires once, with COMPLETE or what went wrong as its reason. */
  readonly #ended: AbortController;
  #controller: ReadableByteStreamController | undefined;
  #settling: Promise<void> | undefined;
  #seq = 0;

  private constructor(port: BrokerPort, options: BrokeredCallOptions, id: string, ended: AbortController) {
    this.#port = port;
    this.#options = options;
    this.#id = id;
    this.#ended = ended;
    const { signal } = ended;
    if (signal.aborted) void this.#settle();
    else signal.addEventListener("abort", () => this.#break(signal.reason), { once: true });
  }

  /** Rejects with a VgasError, or with the reason of a signal or of the body's stream. */
  static async open(
    port: BrokerPort,
    options: BrokeredCallOptions,
    body: UploadBody | undefined,
  ): Promise<BrokeredCall> {
    const { provider, grant, method, url, headers } = options;
    const ended = new AbortController();
    follow(options.signals, ended);
    try {
      const pieces = body?.pieces(ended.signal);
      const first = pieces && (await raced(pieces.next(), ended.signal)).value;
      const request: CallRequest = { action: "open", provider, grant, method, url, headers };
      if (first !== undefined) Object.assign(request, { body: first.data, more: first.more });
      // The signal is not told: an opening that nobody waits for any more is still cancelled, once its id is known.
      const opening = port(request, { timeoutMs: OPEN_TIMEOUT_MS });
      const call = await raced(
        opening.then((reply) => new BrokeredCall(port, options, reply.call ?? "", ended)),
        ended.signal,
      );
      if (pieces !== undefined) void (first?.more === true ? call.#upload(pieces) : pieces.return(undefined));
      return call;
    } catch (error) {
      ended.abort(error);
      throw error;
    }
  }

  /** The answer's head, with what came along with it. */
  async first(): Promise<FirstReply> {
    for (;;) {
      const reply = await this.#read();
      const { head } = reply;
      if (head !== undefined) return { ...reply, head };
    }
  }

  /** The answer's body, of which `first` has the beginning. */
  body(first: FirstReply): ReadableStream<Uint8Array> {
    let next: Promise<CallReply> | undefined = Promise.resolve(first);
    return new ReadableStream({
      type: "bytes",
      start: (controller: ReadableByteStreamController) => {
        this.#controller = controller;
      },
      pull: async (controller: ReadableByteStreamController) => {
        for (let some = false; !some; ) {
          const reply = await (next ?? this.#read());
          next = reply.done === true ? undefined : ahead(this.#read());
          some = (reply.data?.length ?? 0) > 0;
          // A copy: the stream takes the memory away from everybody else, and the piece is part of a larger message.
          if (reply.data !== undefined && some) controller.enqueue(new Uint8Array(reply.data));
          if (reply.done !== true) continue;
          controller.close();
          controller.byobRequest?.respond(0);
          return;
        }
      },
      cancel: () => this.#cancel(),
    });
  }

  /** Lets the answer end without its body. */
  async drain(first: FirstReply): Promise<void> {
    let drained = 0;
    for (let reply: CallReply = first; reply.done !== true; reply = await this.#read()) {
      drained += reply.data?.length ?? 0;
      if (drained > MAX_DRAINED_BYTES) return this.#cancel();
    }
  }

  async #read(): Promise<CallReply> {
    const { signal } = this.#ended;
    signal.throwIfAborted();
    try {
      const seq = ++this.#seq;
      const reply = await this.#repeatedly({ action: "read", call: this.#id, seq }, READ_TIMEOUT_MS);
      if (reply.done !== true) return reply;
      if (reply.usage !== undefined) this.#options.onUsage(reply.usage);
      this.#ended.abort(COMPLETE);
      return reply;
    } catch (error) {
      signal.throwIfAborted();
      await this.#settle();
      this.#ended.abort(error);
      throw error;
    }
  }

  async #cancel(): Promise<void> {
    this.#ended.abort(new DOMException("the body was cancelled", "AbortError"));
    await this.#settling;
  }

  #break(reason: unknown): void {
    if (reason === COMPLETE) return;
    this.#controller?.error(reason);
    void this.#settle();
  }

  /** Has the vault end the call, if it has not, and tells what it counted. */
  #settle(): Promise<void> {
    this.#settling ??= this.#port({ action: "cancel", call: this.#id }, { timeoutMs: CANCEL_TIMEOUT_MS }).then(
      ({ usage }) => usage && this.#options.onUsage(usage),
      // Nobody reads the call any more, so the vault ends it by itself.
      () => undefined,
    );
    return this.#settling;
  }

  async #upload(pieces: AsyncGenerator<BodyPiece, undefined>): Promise<void> {
    const { signal } = this.#ended;
    let seq = 0;
    try {
      for await (const { data, more } of pieces)
        await this.#repeatedly({ action: "write", call: this.#id, seq: ++seq, data, more }, WRITE_TIMEOUT_MS);
    } catch (error) {
      // What broke the upload is what the call failed with.
      if (!signal.aborted) this.#ended.abort(error);
    }
  }

  /** Asks until there is an answer, or the call has ended. */
  async #repeatedly(request: CallRequest, timeoutMs: number): Promise<CallReply> {
    const { signal } = this.#ended;
    for (;;) {
      try {
        return await raced(this.#port(request, { timeoutMs, signal }), signal);
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof VgasError)) throw error;
        if (error.code === "NOT_FOUND")
          throw new VgasError("UPSTREAM_FAILED", "the vault does not know the call any more: it was started again");
        if (error.code !== "TIMEOUT") throw error;
        // Whoever says so without any time having passed must not keep everything else from running.
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
  }
}

/** Ends the call when one of the signals fires; listens no longer than the call lasts. */
function follow(signals: readonly AbortSignal[], ended: AbortController): void {
  for (const signal of signals) {
    if (signal.aborted) ended.abort(signal.reason);
    signal.addEventListener("abort", () => ended.abort(signal.reason), { once: true, signal: ended.signal });
  }
}

/** Whichever comes first: what `work` gives, or the signal with its reason. */
function raced<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
    const done = () => signal.removeEventListener("abort", stop);
    work.then(resolve, reject).then(done, done);
  });
}

/** Fails where it is awaited, not before. */
function ahead<T>(work: Promise<T>): Promise<T> {
  work.catch(() => undefined);
  return work;
}
