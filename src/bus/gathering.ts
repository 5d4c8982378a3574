/**
 * Publishes to one stream that may be stored together as one batch: all of one subject, or each of another one.
 *
 * 1. What comes alone goes at once.
 * 2. For atomic batches, what comes while others of the gathering are in flight waits for them, as a database gathers
 *    commits: the server writes them one after the other anyway, and forces each to the disk by itself. Nothing waits for a fast one:
 *    it is what comes within one callback of the event loop.
 * 3. Never two messages of one subject in a batch, but where all are of one: the server checks an atomic batch as a whole against its
 *    limits per subject, and what it missed there would be refused in the middle of the commit.
 * 4. Once the stream has refused batches, nothing is gathered here until the next connection.
 */
import type { BatchKind } from "./batches.ts";
import type { PendingPublish } from "./publish-queue.ts";
import { WaitingPublishes } from "./waiting-publishes.ts";

/**
 * Fewer go one by one: the server makes a store of its own for each batch, with about six forced writes besides the one that
 * they all share.
 */
const MIN_MESSAGES = 16;
/** The server takes 1 000; its check of a batch against the stream's cap takes time in the square of this. */
const MAX_MESSAGES = 500;
const MAX_BYTES = 4 * 2 ** 20;
/** One is stored while the next one comes. */
const MAX_BATCHES = 2;
/** As many go one by one while no batch is in flight. */
const MAX_SINGLES = 8;

/** The server answers the first message of a fast batch and the last, and keeps a timer for it: for fewer that is more work than it saves. */
const MIN_FAST_MESSAGES = 4;
/** The server keeps 1 000 for a stream, whoever they are of; what comes when these are in flight goes one by one. */
const MAX_FAST_BATCHES = 8;

/** What leaves a gathering: messages that go one by one, or as one batch. */
export interface Taken {
  readonly messages: readonly PendingPublish[];
  /** Whose batch it is; undefined if they go one by one. */
  readonly batchOf: Gathering | undefined;
}

const NOTHING: Taken = { messages: [], batchOf: undefined };

export class Gathering {
  readonly kind: BatchKind;
  /** Its name: a stream, or a subject if all are of that. */
  readonly #name: string;
  readonly #waiting = new WaitingPublishes();
  #count = 0;
  #singles = 0;
  #batches = 0;
  /** The stream takes no batches. */
  refused = false;

  constructor(name: string, kind: BatchKind) {
    this.#name = name;
    this.kind = kind;
  }

  get waiting(): Iterable<PendingPublish> {
    return this.#waiting;
  }

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  add(pending: PendingPublish): void {
    this.#waiting.add(pending);
    this.#count++;
  }

  /** One that waited here was given up. */
  gaveUp(): void {
    this.#count--;
  }

  /** What goes now, at most so much of it. */
  take(room: number, roomBytes: number): Taken {
    return this.kind === "fast" ? this.#takeFast(room, roomBytes) : this.#takeAtomic(room, roomBytes);
  }

  #takeFast(room: number, roomBytes: number): Taken {
    const asBatch = Math.min(this.#count, room) >= MIN_FAST_MESSAGES && this.#batches < MAX_FAST_BATCHES;
    const messages = this.#takeMany(Math.min(room, MAX_MESSAGES), Math.min(roomBytes, this.#mostBytes));
    const together = asBatch && messages.length >= MIN_FAST_MESSAGES;
    if (together) this.#batches++;
    else this.#singles += messages.length;
    return { messages, batchOf: together ? this : undefined };
  }

  #takeAtomic(room: number, roomBytes: number): Taken {
    if (this.#count >= MIN_MESSAGES && this.#batches < MAX_BATCHES && room >= MIN_MESSAGES) {
      const messages = this.#takeMany(Math.min(room, MAX_MESSAGES), Math.min(roomBytes, this.#mostBytes));
      const together = messages.length >= MIN_MESSAGES;
      if (together) this.#batches++;
      else this.#singles += messages.length;
      return { messages, batchOf: together ? this : undefined };
    }
    if (this.#batches > 0 || this.#singles >= MAX_SINGLES) return NOTHING;
    const messages = this.#takeMany(Math.min(room, MAX_SINGLES - this.#singles), roomBytes);
    this.#singles += messages.length;
    return { messages, batchOf: undefined };
  }

  /** Everything that waits, in order; nothing is left. */
  takeAll(): readonly PendingPublish[] {
    return this.#takeMany(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
  }

  /** A batch is no longer in flight as one; `left` of its messages go on by themselves. */
  batchEnded(left: number): void {
    this.#batches--;
    this.#singles += left;
  }

  /** One that was in flight by itself is settled. */
  singleEnded(): void {
    this.#singles--;
  }

  /** Of a batch; a message that has more goes by itself, when it is the first: servers may take messages that large. */
  get #mostBytes(): number {
    return Math.max(MAX_BYTES, this.#waiting.first()?.bytes ?? 0);
  }

  #takeMany(messages: number, bytes: number): PendingPublish[] {
    const taken: PendingPublish[] = [];
    const subjects = new Set<string>();
    let left = bytes;
    for (let next = this.#waiting.first(); next !== undefined; next = this.#waiting.first()) {
      if (taken.length >= messages || next.bytes > left) break;
      if (next.subject !== this.#name && Number.isFinite(messages)) {
        if (subjects.has(next.subject)) break;
        subjects.add(next.subject);
      }
      this.#waiting.drop();
      this.#count--;
      left -= next.bytes;
      taken.push(next);
    }
    return taken;
  }
}
