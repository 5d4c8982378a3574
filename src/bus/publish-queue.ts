/** Publishes in flight and waiting, in order, within a window of messages and bytes. No effects. */
import type { VgasError } from "../protocols/errors.ts";
import type { EncodedHeaders } from "./headers.ts";
import type { PubAck } from "./pub-ack.ts";

export interface PendingPublish {
  /** Names the answer; given when it enters the window. */
  token: number;
  readonly subject: string;
  readonly data: Uint8Array;
  readonly headers: EncodedHeaders | undefined;
  readonly bytes: number;
  readonly retry: boolean;
  /** When it was handed in, and last sent; ms of a monotonic clock. */
  readonly since: number;
  sentAt: number;
  sends: number;
  /** To be sent again by the next sweep. */
  again: boolean;
  /** When it was first answered with what a moment can change, or 0. */
  refusedAt: number;
  settled: boolean;
  readonly signal: AbortSignal | undefined;
  onAbort: (() => void) | undefined;
  readonly done: (error: VgasError | undefined, ack: PubAck | undefined) => void;
}

/** Waiting entries are taken from the front; the array is cut only now and then, since `shift` would move all the rest. */
const COMPACT_AFTER = 4_096;

export class PublishQueue {
  readonly #maxMessages: number;
  readonly #maxBytes: number;
  readonly #sent = new Map<number, PendingPublish>();
  /** Undefined where it was taken; one that was given up is skipped when its turn comes. */
  #waiting: (PendingPublish | undefined)[] = [];
  #head = 0;
  #waitingCount = 0;
  #bytes = 0;
  #nextToken = 1;

  constructor(maxMessages: number, maxBytes: number) {
    this.#maxMessages = maxMessages;
    this.#maxBytes = maxBytes;
  }

  get inFlight(): number {
    return this.#sent.size;
  }

  get waiting(): number {
    return this.#waitingCount;
  }

  get isEmpty(): boolean {
    return this.#sent.size === 0 && this.#waitingCount === 0;
  }

  add(pending: PendingPublish): void {
    this.#waiting.push(pending);
    this.#waitingCount++;
  }

  /** Moves the first waiting publish into the window and returns it, or undefined if none waits or there is no room. */
  next(): PendingPublish | undefined {
    while (this.#head < this.#waiting.length) {
      const pending = this.#waiting[this.#head];
      if (pending !== undefined && !pending.settled) {
        const full = this.#sent.size >= this.#maxMessages || this.#bytes + pending.bytes > this.#maxBytes;
        // One larger than the whole window goes alone.
        if (full && this.#sent.size > 0) return undefined;
        this.#advance();
        this.#waitingCount--;
        pending.token = this.#nextToken++;
        this.#sent.set(pending.token, pending);
        this.#bytes += pending.bytes;
        return pending;
      }
      this.#advance();
    }
    return undefined;
  }

  /** The publish in flight that `token` names. */
  sent(token: number): PendingPublish | undefined {
    return this.#sent.get(token);
  }

  /** All that `test` picks, in order, those in flight first; a copy, so the caller may remove them. */
  pick(test: (pending: PendingPublish) => boolean): PendingPublish[] {
    const picked: PendingPublish[] = [];
    for (const pending of this.#sent.values()) if (test(pending)) picked.push(pending);
    for (let i = this.#head; i < this.#waiting.length; i++) {
      const pending = this.#waiting[i];
      if (pending !== undefined && !pending.settled && test(pending)) picked.push(pending);
    }
    return picked;
  }

  /** Takes it out, wherever it is; false if that was done before. */
  remove(pending: PendingPublish): boolean {
    if (pending.settled) return false;
    pending.settled = true;
    if (this.#sent.delete(pending.token)) this.#bytes -= pending.bytes;
    else this.#waitingCount--;
    return true;
  }

  #advance(): void {
    this.#waiting[this.#head++] = undefined;
    if (this.#head < COMPACT_AFTER && this.#head < this.#waiting.length) return;
    this.#waiting = this.#waiting.slice(this.#head);
    this.#head = 0;
  }
}
