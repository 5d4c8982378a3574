/**
 * Pending requests of one connection, answered over one subscription.
 *
 * Invariants
 * 1. A request settles exactly once, and then holds no timer, no listener and no entry here.
 * 2. A token is used once, so a late answer meets no entry and is dropped.
 */
import { VgasError } from "../protocols/errors.ts";
import type { BusMessage } from "./message.ts";

/** When a request is complete; see `RequestManyOptions` of the bus. */
export interface CollectOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  readonly maxMessages: number;
  readonly end: "sentinel" | "timeout";
}

interface Pending {
  readonly operation: string;
  readonly subject: string;
  readonly options: CollectOptions;
  readonly messages: BusMessage[];
  readonly resolve: (messages: BusMessage[]) => void;
  readonly reject: (error: VgasError) => void;
  timer: NodeJS.Timeout | undefined;
  onAbort: (() => void) | undefined;
}

const NO_RESPONDERS = 503;
/** Statuses from here on end a batch; lower ones (100) are control messages. */
const END_OF_BATCH = 204;

export class Replies {
  /** Answers come to `<prefix>.<token>`. */
  readonly prefix: string;
  readonly #pending = new Map<string, Pending>();
  #next = 0;

  constructor(prefix: string) {
    this.prefix = prefix;
  }

  /** Registers a request and calls `send` with its reply subject. A single answer is a list of one. */
  add(
    operation: string,
    subject: string,
    options: CollectOptions,
    send: (reply: string) => void,
  ): Promise<BusMessage[]> {
    return new Promise((resolve, reject) => {
      const { signal, timeoutMs } = options;
      if (signal?.aborted) {
        reject(aborted(operation, signal));
        return;
      }
      const token = (this.#next++).toString(36);
      const pending: Pending = {
        operation,
        subject,
        options,
        messages: [],
        resolve,
        reject,
        timer: setTimeout(() => this.#timedOut(token), timeoutMs),
        onAbort: signal && (() => this.#fail(token, aborted(operation, signal))),
      };
      this.#pending.set(token, pending);
      if (pending.onAbort !== undefined) signal?.addEventListener("abort", pending.onAbort);
      try {
        send(`${this.prefix}.${token}`);
      } catch (cause) {
        const error = cause instanceof VgasError ? cause : new VgasError("INTERNAL", `${operation}: ${String(cause)}`);
        this.#fail(token, error);
      }
    });
  }

  /** A message that came to our reply subscription. */
  deliver(message: BusMessage): void {
    const token = message.subject.slice(this.prefix.length + 1);
    const pending = this.#pending.get(token);
    if (pending === undefined) return;
    const { operation, subject, options, messages } = pending;
    const empty = message.data.length === 0;
    if (empty && message.status === NO_RESPONDERS) {
      // Somebody who asks whoever is there takes nobody for an answer, if it is one.
      if (options.end === "timeout" && options.maxMessages > 1) this.#settle(token)?.resolve(messages);
      else this.#fail(token, new VgasError("UNDELIVERABLE", `${operation}: nobody listens on ${subject}`));
      return;
    }
    messages.push(message);
    const ended = options.end === "sentinel" && empty && message.status >= END_OF_BATCH;
    if (ended || messages.length >= options.maxMessages) this.#settle(token)?.resolve(messages);
  }

  /** The server refused to publish to `subject`, so its requests were never sent. */
  denied(subject: string): void {
    for (const [token, pending] of this.#pending) {
      if (pending.subject !== subject) continue;
      const message = `${pending.operation}: the credential does not open ${subject}`;
      this.#fail(token, new VgasError("PERMISSION_DENIED", message));
    }
  }

  failAll(make: (operation: string) => VgasError): void {
    for (const [token, pending] of this.#pending) this.#fail(token, make(pending.operation));
  }

  #timedOut(token: string): void {
    const pending = this.#settle(token);
    if (pending === undefined) return;
    const { operation, options, messages } = pending;
    if (options.end === "timeout" && options.maxMessages > 1) pending.resolve(messages);
    else pending.reject(new VgasError("TIMEOUT", `${operation} timed out after ${Math.round(options.timeoutMs)} ms`));
  }

  #fail(token: string, error: VgasError): void {
    this.#settle(token)?.reject(error);
  }

  #settle(token: string): Pending | undefined {
    const pending = this.#pending.get(token);
    if (pending === undefined) return undefined;
    this.#pending.delete(token);
    clearTimeout(pending.timer);
    if (pending.onAbort !== undefined) pending.options.signal?.removeEventListener("abort", pending.onAbort);
    return pending;
  }
}

function aborted(operation: string, signal: AbortSignal): VgasError {
  return new VgasError("ABORTED", `${operation} was aborted`, { cause: signal.reason });
}
