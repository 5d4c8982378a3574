/**
 * What a provider has answered and the agent has not read yet.
 *
 * 1. Reads are numbered from 1 and answered in order. The same number again gets the same answer, so that a lost one can be asked
 *    for again; it is kept until the next number is asked for, or the answer is discarded. One asker waits at a time (Repeatable).
 * 2. What came in before the end is read before the end is told, unless it was discarded.
 * 3. `done` and the error of a call are told once its end is recorded, not before.
 */
import type { Clock } from "../../../protocols/clock.ts";
import { VgasError } from "../../../protocols/errors.ts";
import type { Usage } from "../../../protocols/vault/keys.ts";
import { CALL_CHUNK_BYTES, type CallReply } from "../../../protocols/vault/operations.ts";
import { Deadline } from "./deadline.ts";
import { Repeatable } from "./repeatable.ts";

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
  #wake: (() => void) | undefined;
  #latest: Repeatable | undefined;
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

  /** Throws away what has not been read, and what was read last; what is read from now on is the error. */
  discard(error: VgasError): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#head = undefined;
    this.#pieces = [];
    this.#bufferedBytes = 0;
    this.#end = { error };
    // A read that waits gets the error by itself.
    if (this.#latest?.pending === false) this.#latest = undefined;
    this.#wake?.();
  }

  /** Rejects with INVALID for a number that is neither the next nor the last one; with TIMEOUT when its number is asked for again. */
  read(seq: number): Promise<CallReply> {
    const last = seq === this.#seq && seq > 0;
    if (last && this.#latest !== undefined) return this.#latest.reply();
    if (this.#finished && this.#end !== undefined && "usage" in this.#end)
      return Promise.reject(
        new VgasError("INVALID", `read ${seq}: the answer has been read to its end by ${this.#seq}`),
      );
    const waits = this.#latest?.pending === true;
    if (!(last || seq === this.#seq + 1) || waits)
      return Promise.reject(
        new VgasError(
          "INVALID",
          `read ${seq} is out of order: the last one was ${this.#seq}${waits ? ", which still waits" : ""}`,
        ),
      );
    this.#seq = seq;
    this.#latest = new Repeatable(this.#next(), `read ${seq}`);
    return this.#latest.reply();
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
    // What is kept after the end must not keep the larger buffer that it is a part of.
    return { ...reply, ...(data !== undefined && { data: alone(data) }), done: true, usage: this.#end.usage };
  }

  get #ready(): boolean {
    return this.#head !== undefined || this.#bufferedBytes > 0 || this.#end !== undefined;
  }

  async #something(): Promise<void> {
    const patience = new Deadline(this.#options.clock);
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      patience.arm(this.#options.waitMs, resolve);
    });
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

/** The same bytes in memory of their own. */
function alone(bytes: Buffer): Buffer {
  return Buffer.from(new Uint8Array(bytes).buffer);
}
