/**
 * What a node counts of each lane. Plain numbers, written on the hot path and read when somebody asks for metrics.
 *
 * 1. At most `MAX_PAIRS` lanes are told apart; all further ones count together as `other`, so that nobody can make the metrics
 *    grow by inventing kinds.
 * 2. Nothing is ever taken back: a lane that is gone keeps its counts.
 */
import type { ResultStatus } from "../protocols/result.ts";
import type { LaneName } from "../protocols/subjects.ts";
import { Buckets } from "./buckets.ts";

/** Lanes with counts of their own: each costs about fifty lines of a scrape. */
export const MAX_PAIRS = 200;

/** Stands for every lane beyond them; a lane of that name would count together with them. */
const OTHER: LaneName = { pool: "other", kind: "other" };

/** Counts of one lane, those of a dispatcher and those of a host. */
export class LaneMeter {
  readonly pool: string;
  readonly kind: string;
  /** Results that this node stored. */
  readonly results: Record<ResultStatus, number> = { ok: 0, failed: 0, cancelled: 0, expired: 0 };
  /** From submission to the start of the first attempt. */
  readonly queued = new Buckets();
  /** From the start of an attempt to its end. */
  readonly ran = new Buckets();
  /** Attempts that failed and were followed by another. */
  retries = 0;
  deadLetters = 0;
  /** Tickets drawn by this dispatcher, and those of them that carried no task. */
  tickets = 0;
  skipped = 0;
  /** Messages that had been delivered before. */
  redeliveries = 0;

  constructor({ pool, kind }: LaneName) {
    this.pool = pool;
    this.kind = kind;
  }
}

export class LaneMeters {
  readonly #meters = new Map<string, LaneMeter>();
  readonly #other = new LaneMeter(OTHER);
  #overflowed = false;

  /** The counts of `lane`; beyond `MAX_PAIRS` those that all others share. */
  of(lane: LaneName): LaneMeter {
    const key = `${lane.pool}.${lane.kind}`;
    const known = this.#meters.get(key);
    if (known) return known;
    const isOther = lane.pool === OTHER.pool && lane.kind === OTHER.kind;
    if (isOther || this.#meters.size >= MAX_PAIRS) return this.#others();
    const meter = new LaneMeter(lane);
    this.#meters.set(key, meter);
    return meter;
  }

  /** The counts of `lane` if it has any of its own, else those of all others: for names that a client may have invented. */
  known({ pool, kind }: LaneName): LaneMeter {
    return this.#meters.get(`${pool}.${kind}`) ?? this.#others();
  }

  /** All that were asked for. */
  all(): readonly LaneMeter[] {
    return this.#overflowed ? [...this.#meters.values(), this.#other] : [...this.#meters.values()];
  }

  #others(): LaneMeter {
    this.#overflowed = true;
    return this.#other;
  }
}
