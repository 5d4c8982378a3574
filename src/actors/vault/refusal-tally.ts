/**
 * Writes down what was refused, without letting anybody fill the disk with it.
 *
 * Owns one bucket for each user that was refused something lately, and its timer. A bucket lives for one second, and another one as
 * long as there was more in it than it writes.
 *
 * 1. Of a known user MAX_SINGLE refusals a second are written one by one. What is more than that is counted, and one record a second
 *    says how many those were and what the last was.
 * 2. Refusals of senders that nobody knows are only counted: the first is told at once, the others once a second, whoever they were.
 * 3. What was counted is written when its second is over, or at `stop`.
 */
import type { Clock, Timer } from "../../protocols/clock.ts";
import type { TrailEntry, TrailOperation, Who } from "./trail/entry.ts";

export interface Refusal {
  /** Undefined for a sender that nobody knows. */
  readonly who?: Who | undefined;
  readonly op?: TrailOperation | undefined;
  readonly outcome: "refused" | "failed";
  /** `CODE: message`. */
  readonly why: string;
}

const WINDOW_MS = 1_000;
const MAX_SINGLE = 20;
/** Users with a bucket of their own; others beyond it share that of the unknown. */
const MAX_USERS = 1_000;

interface Bucket {
  /** Undefined: of the unknown. */
  readonly who: Who | undefined;
  /** Records that may still be written at once in this second. */
  left: number;
  count: number;
  last: string;
  timer: Timer | undefined;
}

export class RefusalTally {
  readonly #clock: Clock;
  readonly #note: (entry: TrailEntry) => void;
  readonly #buckets = new Map<string | undefined, Bucket>();
  #stopped = false;

  /** `note` writes an entry down as well as it can; it must not throw. */
  constructor(clock: Clock, note: (entry: TrailEntry) => void) {
    this.#clock = clock;
    this.#note = note;
  }

  count(refusal: Refusal): void {
    if (this.#stopped) return;
    const { op, outcome, why } = refusal;
    const bucket = this.#bucketOf(refusal.who);
    const { who } = bucket;
    if (who !== undefined && bucket.left > 0) {
      bucket.left--;
      this.#note({ op: op ?? "unknown", outcome, who, why });
      return;
    }
    bucket.count++;
    bucket.last = op === undefined ? why : `${op}: ${why}`;
    if (bucket.left > 0) {
      bucket.left--;
      this.#tell(bucket);
    }
  }

  /** Writes what was counted, and nothing after it. Idempotent. */
  stop(): void {
    this.#stopped = true;
    for (const bucket of this.#buckets.values()) {
      this.#clock.clear(bucket.timer);
      if (bucket.count > 0) this.#tell(bucket);
    }
    this.#buckets.clear();
  }

  #bucketOf(known: Who | undefined): Bucket {
    const mine = this.#buckets.get(known?.user);
    if (mine !== undefined) return mine;
    if (known !== undefined && this.#buckets.size >= MAX_USERS) return this.#bucketOf(undefined);
    const bucket: Bucket = { who: known, left: singles(known), count: 0, last: "", timer: undefined };
    this.#buckets.set(known?.user, bucket);
    this.#arm(bucket);
    return bucket;
  }

  #arm(bucket: Bucket): void {
    bucket.timer = this.#clock.setTimeout(() => {
      if (bucket.count === 0) {
        this.#buckets.delete(bucket.who?.user);
        return;
      }
      this.#tell(bucket);
      // For the unknown that was the record of this second.
      bucket.left = bucket.who === undefined ? 0 : MAX_SINGLE;
      this.#arm(bucket);
    }, WINDOW_MS);
  }

  #tell(bucket: Bucket): void {
    const { who, count, last } = bucket;
    bucket.count = 0;
    this.#note({ op: "refusals", outcome: "refused", ...(who && { who }), detail: { count, last } });
  }
}

function singles(who: Who | undefined): number {
  return who === undefined ? 1 : MAX_SINGLE;
}
