/**
 * What a provider has answered and the agent has not read yet.
 *
 * 1. Reads are numbered from 1 and answered in order. The same number again gets the same answer, so that a lost one can be asked
 *    for again; it is kept until the next number is asked for.
 * 2. What came in before the end is read before the end is told, unless it was discarded.
 * 3. `done` and the error of a call are told once its end is recorded, not before.
 */
import type { Clock } from "../../../protocols/clock.ts";
import { VgasError } from "../../../protocols/errors.ts";
import type { Usage } from "../../../protocols/vault/keys.ts";
import { CALL_CHUNK_BYTES, type CallReply } from "../../../protocols/vault/operations.ts";
import { Deadline } from "./deadline.ts";

export type AnswerHead = NonNullable<CallReply["head"]>;

/** The end is told together with the last piece if that is at most so large: both are kept for a while after it. */
const MAX_LAST_PIECE_BYTES = 16 * 1024;

interface AnswerOptions {
  readonly clock: Clock;
  /** How long a read waits for something to answer, ms. */
  readonly waitMs: number;
}

type End = { readonly usage: Usage } | { readonly error: VgasError };

export class Answer {
  readonly #options: AnswerOptions;
  #head: AnswerHead | undefined;
  #pieces: Buffer[] = [];
  #bufferedBytes = 0;
  #end: End | undefined;
  #seq = 0;
  #waiting = false;
  #wake: (() => void) | undefined;
  #latest: Promise<CallReply> | undefined;
  #finished = false;

  constructor(options: AnswerOptions) {
    this.#options = options;
  }

  get bufferedBytes(): number {
    return this.#bufferedBytes;
  }

  /** The end has been told, or there is nothing to be read but an error. */
  get finished(): boolean {
    return this.#finished;
  }

  /** A read waits. */
  get waiting(): boolean {
    return this.#waiting;
  }

  begin(head: AnswerHead): void {
    this.#head = head;
    this.#wake?.();
  }

  push(piece: Buffer): void {
    if (piece.length === 0 || this.#end !== undefined) return;
    this.#pieces.push(piece);
    this.#bufferedBytes += piece.length;
    this.#wake?.();
  }

  /** Nothing more comes. */
  end(end: End): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#wake?.();
  }

  /** Throws away what has not been read; what is read from now on is the error. */
  discard(error: VgasError): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#head = undefined;
    this.#pieces = [];
    this.#bufferedBytes = 0;
    this.#end = { error };
    this.#wake?.();
  }

  /** Rejects with INVALID for a number that is neither the next nor the last one. */
  read(seq: number): Promise<CallReply> {
    if (seq === this.#seq && this.#latest !== undefined) return this.#latest;
    if (this.#finished && this.#end !== undefined && "usage" in this.#end)
      return Promise.reject(
        new VgasError("INVALID", `read ${seq}: the answer has been read to its end by ${this.#seq}`),
      );
    if (seq !== this.#seq + 1 || this.#waiting)
      return Promise.reject(
        new VgasError(
          "INVALID",
          `read ${seq} is out of order: the last one was ${this.#seq}${this.#waiting ? ", which still waits" : ""}`,
        ),
      );
    this.#seq = seq;
    const reply = this.#next();
    // It is the caller's to handle; kept for a repetition, it must not count as unhandled.
    reply.catch(() => undefined);
    this.#latest = reply;
    return reply;
  }

  async #next(): Promise<CallReply> {
    if (!this.#ready) await this.#something();
    const reply: CallReply = {};
    if (this.#head !== undefined) {
      reply.head = this.#head;
      this.#head = undefined;
    }
    const data = this.#take();
    if (data !== undefined) reply.data = data;
    if (this.#end === undefined || this.#bufferedBytes > 0) return reply;
    if ("error" in this.#end) {
      if (reply.head !== undefined || data !== undefined) return reply;
      this.#finished = true;
      throw this.#end.error;
    }
    if ((data?.length ?? 0) > MAX_LAST_PIECE_BYTES) return reply;
    this.#finished = true;
    return { ...reply, done: true, usage: this.#end.usage };
  }

  get #ready(): boolean {
    return this.#head !== undefined || this.#bufferedBytes > 0 || this.#end !== undefined;
  }

  async #something(): Promise<void> {
    const patience = new Deadline(this.#options.clock);
    this.#waiting = true;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      patience.arm(this.#options.waitMs, resolve);
    });
    this.#waiting = false;
    this.#wake = undefined;
    patience.disarm();
  }

  #take(): Buffer | undefined {
    if (this.#bufferedBytes === 0) return undefined;
    const taken: Buffer[] = [];
    let room = CALL_CHUNK_BYTES;
    for (let piece = this.#pieces[0]; piece !== undefined && room > 0; piece = this.#pieces[0]) {
      if (piece.length <= room) this.#pieces.shift();
      else this.#pieces[0] = piece.subarray(room);
      taken.push(piece.subarray(0, room));
      room -= Math.min(room, piece.length);
    }
    this.#bufferedBytes -= CALL_CHUNK_BYTES - room;
    const [only] = taken;
    return taken.length === 1 ? only : Buffer.concat(taken);
  }
}
