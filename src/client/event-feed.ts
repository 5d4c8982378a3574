/**
 * The events of one task, until its result is there.
 *
 * 1. Listens from its making on, not from the first read: what is submitted over the same connection after that is heard whole.
 * 2. A reader that is too slow loses the oldest events, and is told how many; the newest are kept.
 * 3. Events are not stored: what a lost connection took is gone, and is told as a gap.
 */
import type { Bus, BusMessage, Subscription } from "../bus/bus.ts";
import { decodeMirrored } from "../bus/codec/task.ts";
import { Deadline } from "../bus/deadline.ts";
import { systemClock } from "../protocols/clock.ts";
import { VgasError } from "../protocols/errors.ts";
import type { TaskEvent } from "../protocols/result.ts";
import type { PendingResult } from "./pending-result.ts";
import { type CallOptions, checkTimeout } from "./within.ts";

/** In place of events that are gone. `overflow`: the reader was too slow for `count` of them. `disconnected`: it is not known how many. */
export interface EventsDropped {
  readonly type: "dropped";
  readonly id: string;
  /** When it was noticed, ms since the epoch. */
  readonly at: number;
  readonly reason: "overflow" | "disconnected";
  /** Undefined where it is not known. */
  readonly count: number | undefined;
}

export interface EventFeedOptions extends CallOptions {
  readonly bus: Bus;
  /** Where the events are published. */
  readonly subject: string;
  readonly id: string;
  readonly pending: PendingResult;
  /** Nothing is heard any more. */
  readonly onEnd: () => void;
}

/** Kept for a reader that is busy. */
const MAX_EVENTS = 1_000;
const MAX_BYTES = 8 * 2 ** 20;

interface Kept {
  readonly event: TaskEvent | EventsDropped;
  readonly bytes: number;
}

type Next = IteratorResult<TaskEvent | EventsDropped, undefined>;

export class EventFeed implements AsyncIterableIterator<TaskEvent | EventsDropped, undefined> {
  readonly #options: EventFeedOptions;
  readonly #subscription: Subscription;
  readonly #stopListening: () => void;
  readonly #stopWaiting: () => void;
  readonly #deadline: Deadline;
  readonly #kept: Kept[] = [];
  readonly #readers: { resolve(next: Next): void; reject(error: VgasError): void }[] = [];
  #bytes = 0;
  #overflowed = 0;
  #ended = false;
  #failure: VgasError | undefined;

  /** @throws VgasError INVALID, SHUTTING_DOWN */
  constructor(options: EventFeedOptions) {
    const { bus, subject, pending, timeoutMs, signal } = options;
    checkTimeout(timeoutMs);
    this.#options = options;
    this.#subscription = bus.subscribeNow(subject, (message) => this.#heard(message));
    this.#stopListening = bus.onStatus((status) => {
      if (status.type === "reconnected") this.#add(this.#dropped("disconnected", undefined), 0);
      else if (status.type === "denied" && status.operation === "subscribe" && status.subject === subject)
        this.#end(new VgasError("PERMISSION_DENIED", `the credential does not open ${subject}`));
    });
    this.#deadline = new Deadline(timeoutMs, signal);
    this.#stopWaiting = pending.outcome === undefined ? pending.listen(() => this.#settled()) : () => undefined;
    if (this.#deadline.signal.aborted) this.#gaveUp();
    else this.#deadline.signal.addEventListener("abort", () => this.#gaveUp(), { once: true });
    if (pending.outcome !== undefined) this.#settled();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** @throws VgasError ABORTED, TIMEOUT, PERMISSION_DENIED, SHUTTING_DOWN when the client is closed */
  next(): Promise<Next> {
    if (this.#overflowed > 0) {
      const value = this.#dropped("overflow", this.#overflowed);
      this.#overflowed = 0;
      return Promise.resolve({ done: false, value });
    }
    const kept = this.#kept.shift();
    if (kept !== undefined) {
      this.#bytes -= kept.bytes;
      return Promise.resolve({ done: false, value: kept.event });
    }
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => {
      this.#readers.push({ resolve, reject });
    });
  }

  /** Stops listening; what is kept is thrown away. */
  return(): Promise<Next> {
    this.#kept.length = 0;
    this.#overflowed = 0;
    this.#end(undefined);
    return Promise.resolve({ done: true, value: undefined });
  }

  #heard(message: BusMessage): void {
    const event = decodeEvent(message.data, this.#options.id);
    if (event !== undefined) this.#add(event, message.data.length);
  }

  #add(event: Kept["event"], bytes: number): void {
    if (this.#ended) return;
    const reader = this.#readers.shift();
    if (reader !== undefined) {
      reader.resolve({ done: false, value: event });
      return;
    }
    this.#kept.push({ event, bytes });
    this.#bytes += bytes;
    while (this.#kept.length > MAX_EVENTS || this.#bytes > MAX_BYTES) {
      const oldest = this.#kept.shift();
      if (oldest === undefined) return;
      this.#bytes -= oldest.bytes;
      this.#overflowed++;
    }
  }

  #settled(): void {
    const { outcome } = this.#options.pending;
    this.#end(outcome instanceof VgasError ? outcome : undefined);
  }

  #gaveUp(): void {
    const { id, timeoutMs } = this.#options;
    const operation = `listening to the events of ${id}`;
    this.#end(
      this.#deadline.expired
        ? new VgasError("TIMEOUT", `${operation} timed out after ${timeoutMs} ms`)
        : new VgasError("ABORTED", `${operation} was aborted`, { cause: this.#deadline.signal.reason }),
    );
  }

  #end(failure: VgasError | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#failure = failure;
    this.#subscription.unsubscribe();
    this.#stopListening();
    this.#stopWaiting();
    this.#deadline.clear();
    for (const reader of this.#readers.splice(0)) {
      if (failure === undefined) reader.resolve({ done: true, value: undefined });
      else reader.reject(failure);
    }
    this.#options.onEnd();
  }

  #dropped(reason: EventsDropped["reason"], count: number | undefined): EventsDropped {
    return { type: "dropped", id: this.#options.id, at: systemClock.now(), reason, count };
  }
}

const TYPES: ReadonlySet<unknown> = new Set<TaskEvent["type"]>(["progress", "output", "retrying"]);

/** The event in `data`, undefined if it is none of that task: whoever may publish there may publish anything. */
function decodeEvent(data: Uint8Array, id: string): TaskEvent | undefined {
  try {
    const { value } = decodeMirrored(data);
    const event = (value ?? {}) as Partial<Record<keyof TaskEvent, unknown>>;
    if (event.id !== id || !TYPES.has(event.type)) return undefined;
    if (typeof event.at !== "number" || typeof event.attempt !== "number") return undefined;
    const isMap = typeof event.data === "object" && event.data !== null;
    return event.type === "progress" || isMap ? (value as TaskEvent) : undefined;
  } catch {
    return undefined;
  }
}
