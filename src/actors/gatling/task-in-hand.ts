import type { Clock } from "../../protocols/clock.ts";
import type { Priority } from "../../protocols/subjects.ts";
import type { NowAsk } from "./now.ts";

/** A task that this dispatcher has pulled and not yet seen settled. */
export interface TaskInHand {
  readonly id: string;
  /** Consumer name of its lane. */
  readonly lane: string;
  readonly priority: Priority;
  /** Restarts of the broker seen when it was pulled: what was pulled before one may be delivered a second time. */
  readonly generation: number;
  /** Stream sequence of the message it came in. */
  readonly sequence: number;
  /** Milliseconds since the epoch, by the broker's clock. */
  readonly submittedAt: number;
  readonly timeoutMs: number;
  readonly maxAttempts: number;
  /** Milliseconds since the epoch; not to be started after it. */
  readonly expiresAt: number | undefined;
  readonly replyTo: string | undefined;
  /** W3C trace context of its message. */
  readonly traceparent: string | undefined;
  /** Number of the execution that comes next, from 1. */
  readonly attempt: number;
  /** Revision of the record of that execution's start; 0 if nothing was ever recorded, undefined if that is not known. */
  readonly revision: number | undefined;
  /** Ack subject of its message, or "" for an element of `array`. */
  readonly ack: string;
  /** The task as it came. Emptied once a host has taken it, but in a cluster (strays.ts): the message itself stays in the stream. */
  body: Uint8Array;
  readonly array: ArrayInHand | undefined;
  /** Automatic id within an array: of `array`, or of the one that it was published again out of. */
  readonly element: string | undefined;
  /** It came by `now`, and this is its first delivery. */
  readonly now: NowAsk | undefined;
}

/**
 * A message that held an array of tasks. It is acknowledged when each element is settled: its result is stored, or it
 * was published again as a message of its own.
 */
export class ArrayInHand {
  readonly ack: string;
  /** Names this delivery of the array among all; undefined for the first. */
  readonly delivery: string | undefined;
  readonly pulledAt: number;
  #open: number;
  readonly #settled: (array: ArrayInHand) => void;
  readonly #abandoned: (array: ArrayInHand) => void;

  constructor(
    ack: string,
    delivery: string | undefined,
    elements: number,
    clock: Clock,
    settled: (array: ArrayInHand) => void,
    abandoned: (array: ArrayInHand) => void,
  ) {
    this.#abandoned = abandoned;
    this.ack = ack;
    this.delivery = delivery;
    this.#open = elements;
    this.pulledAt = clock.monotonic();
    this.#settled = settled;
  }

  /** It is kept alive no longer, so that its message comes back as a whole. */
  abandon(): void {
    this.#abandoned(this);
  }

  /** One element needs nothing more. */
  settleOne(): void {
    if (--this.#open === 0) this.#settled(this);
  }
}
