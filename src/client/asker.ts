/**
 * Asks dispatchers, whichever of them answers, over a connection that may be lost meanwhile.
 *
 * 1. A question whose answer a lost connection took is not answered by waiting: `once` says so when the connection is back.
 * 2. Nobody listening is an error at once, except shortly after a reconnect: dispatchers come back after a restarted broker too.
 */
import type { Bus, HeaderRecord } from "../bus/bus.ts";
import { decode } from "../bus/codec/codec.ts";
import { type Clock, systemClock, type Timer } from "../protocols/clock.ts";
import { ERRORS, type ErrorCode, VgasError } from "../protocols/errors.ts";
import { type CallOptions, checkTimeout, within } from "./within.ts";

export interface Question {
  /** Names it in errors. */
  readonly operation: string;
  readonly subject: string;
  readonly body: Uint8Array;
  readonly headers?: HeaderRecord | undefined;
}

/** What `once` resolves with when the connection was lost meanwhile: whether anybody got the question is not known. */
export const CUT = Symbol("the connection was cut");

/** What a call that asks a dispatcher waits by default, ms. */
export const ASK_TIMEOUT_MS = 10_000;
/** Of those, for one answer: a dispatcher that dies does not answer, and another one will. */
const TRY_MS = 4_000;
/** Codes of reads that may succeed a moment later: the connection was cut, or the server starts. */
const PASSING: ReadonlySet<string> = new Set<ErrorCode>(["ABORTED", "TIMEOUT", "UNDELIVERABLE"]);
/** Dispatchers try to connect two to five times a second. */
const RETURN_GRACE_MS = 3_000;
const RETURN_RETRY_MS = 100;

export class Asker {
  readonly #bus: Bus;
  readonly #clock: Clock;
  readonly #stopListening: () => void;
  #reconnectedAt = Number.NEGATIVE_INFINITY;

  constructor(bus: Bus, clock: Clock = systemClock) {
    this.#bus = bus;
    this.#clock = clock;
    this.#stopListening = bus.onStatus(({ type }) => {
      if (type === "reconnected") this.#reconnectedAt = clock.monotonic();
    });
  }

  /**
   * The decoded answer. Asks again if the connection is lost or nobody answers for a while, so only for what can be asked twice.
   *
   * @throws VgasError what the dispatcher refuses with; NO_SWARM at once if none is there; INVALID, PERMISSION_DENIED, TIMEOUT,
   *   ABORTED, SHUTTING_DOWN
   */
  async ask(question: Question, options: CallOptions): Promise<unknown> {
    return await this.inTime(question.operation, options, async (signal) => {
      for (;;) {
        const answer = await this.once(question, signal, TRY_MS).catch((error: unknown) => {
          if (error instanceof VgasError && error.code === "TIMEOUT") return CUT;
          throw error;
        });
        if (answer !== CUT) return answer;
      }
    });
  }

  /** Runs `work` within the time of a call that asks. @throws VgasError TIMEOUT, ABORTED, INVALID */
  inTime<T>(operation: string, options: CallOptions, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { timeoutMs = ASK_TIMEOUT_MS, signal } = options;
    checkTimeout(timeoutMs);
    return within(operation, { timeoutMs, ...(signal && { signal }) }, (given) => work(given as AbortSignal));
  }

  /**
   * What `work` resolves with, which only reads: it is done again when a lost connection is back, and where the server does not answer.
   *
   * @throws VgasError what `work` does; ABORTED
   */
  async reading<T>(operation: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    for (;;) {
      await this.#connected(operation, signal);
      const cut = new AbortController();
      const end = this.#onCut(() => cut.abort());
      const abort = (): void => cut.abort();
      signal.addEventListener("abort", abort);
      if (signal.aborted) abort();
      try {
        return await unlessAborted(operation, cut.signal, work());
      } catch (error) {
        if (signal.aborted) throw new VgasError("ABORTED", `${operation} was aborted`, { cause: signal.reason });
        if (!(error instanceof VgasError) || !PASSING.has(error.code)) throw error;
      } finally {
        end();
        signal.removeEventListener("abort", abort);
      }
      await this.pause(RETURN_RETRY_MS, operation, signal);
    }
  }

  /** The decoded answer to one question, or CUT once the connection is back. Fails as `ask`, with TIMEOUT after `tryMs`. */
  async once(question: Question, signal: AbortSignal, tryMs: number): Promise<unknown> {
    const { operation, subject, body, headers } = question;
    for (;;) {
      await this.#connected(operation, signal);
      const cut = new AbortController();
      const abort = (): void => cut.abort(signal.reason);
      const stop = this.#onCut(() => cut.abort());
      signal.addEventListener("abort", abort);
      try {
        if (signal.aborted) abort();
        const options = { timeoutMs: tryMs, signal: cut.signal, ...(headers && { headers }) };
        return readAnswer(operation, (await this.#bus.request(operation, subject, body, options)).data);
      } catch (error) {
        if (!(error instanceof VgasError)) throw error;
        if (error.code === "ABORTED" && !signal.aborted) {
          await this.#connected(operation, signal);
          return CUT;
        }
        if (error.code !== "UNDELIVERABLE") throw error;
        if (this.#clock.monotonic() - this.#reconnectedAt > RETURN_GRACE_MS)
          throw new VgasError("NO_SWARM", `${operation}: no dispatcher answers`, { cause: error });
      } finally {
        stop();
        signal.removeEventListener("abort", abort);
      }
      await this.pause(RETURN_RETRY_MS, operation, signal);
    }
  }

  /** @throws VgasError ABORTED */
  async pause(ms: number, operation: string, signal: AbortSignal): Promise<void> {
    let timer: Timer | undefined;
    const over = new Promise<void>((resolve) => {
      timer = this.#clock.setTimeout(resolve, ms);
    });
    try {
      await unlessAborted(operation, signal, over);
    } finally {
      this.#clock.clear(timer);
    }
  }

  close(): void {
    this.#stopListening();
  }

  #onCut(listener: () => void): () => void {
    return this.#bus.onStatus(({ type }) => {
      if (type === "disconnected") listener();
    });
  }

  async #connected(operation: string, signal: AbortSignal): Promise<void> {
    if (this.#bus.state !== "disconnected") return;
    let stop: () => void = () => undefined;
    const back = new Promise<void>((resolve) => {
      stop = this.#bus.onStatus(({ type }) => {
        if (type === "reconnected" || type === "closed") resolve();
      });
    });
    try {
      await unlessAborted(operation, signal, back);
    } finally {
      stop();
    }
  }
}

/** What `work` resolves with. @throws VgasError ABORTED */
async function unlessAborted<T>(operation: string, signal: AbortSignal, work: Promise<T>): Promise<T> {
  let abort: () => void = () => undefined;
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(new VgasError("ABORTED", `${operation} was aborted`, { cause: signal.reason }));
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort);
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** @throws VgasError what the answer says went wrong */
function readAnswer(operation: string, data: Uint8Array): unknown {
  let answer: unknown;
  try {
    answer = decode(data);
  } catch (cause) {
    throw new VgasError("INTERNAL", `${operation}: the answer cannot be read`, { cause });
  }
  const { error } = (answer ?? {}) as { readonly error?: Partial<Record<"code" | "message", unknown>> | null };
  // A TaskState has an error of its own beside its state.
  if (error == null || Object.hasOwn(answer as object, "state")) return answer;
  const { code, message } = error;
  if (typeof code === "string" && Object.hasOwn(ERRORS, code))
    throw new VgasError(code as ErrorCode, `${operation}: ${message}`);
  throw new VgasError("INTERNAL", `${operation}: ${String(code)}: ${String(message)}`);
}
