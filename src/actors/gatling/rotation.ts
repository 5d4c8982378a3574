/**
 * A lane's shared rotation: the record in KV that every dispatcher advances by compare-and-swap, and the roster it
 * counts over.
 *
 * 1. Tickets belong to the dispatcher whose swap of `index` was stored (P3). A swap whose answer was lost is won if its
 *    nonce stands in the key's history; where it does not, the tickets are drawn again: wasted at worst, never used twice.
 * 2. `ranges` is always the roster of revision `record.roster`: whoever draws, draws over the same agents (P4).
 * 3. A new roster is written first, then the record is pointed at it with `base = index`. Between the two the old roster
 *    stays in force.
 * 4. What stands there and is no record, a deletion too, was written by no dispatcher: the last good one that the key's history
 *    keeps stays in force, the same for everybody, and the next swap writes over the rubbish. Without any the lane begins anew
 *    with its next roster, at the highest index that this dispatcher has seen.
 * 5. `index` never falls below what this dispatcher has seen: a record that does was begun anew by somebody who did not know
 *    of the tickets handed out, and is lifted before anything is drawn from it.
 * 6. What is kept of a reading is of one reading: `#revision` beside an older `#record` would let a swap hand out tickets twice.
 *    So a reading that fails changes nothing.
 * 7. One write of one dispatcher is under way at a time: the lane's loop is the only caller.
 */
import { decode, encode } from "../../bus/codec/codec.ts";
import type { KvBucket, KvEntry } from "../../bus/kv.ts";
import { failpoint } from "../../failpoints/failpoints.ts";
import { VgasError } from "../../protocols/errors.ts";
import type { Logger } from "../../protocols/logger.ts";
import type { RateRecord } from "../../protocols/rate.ts";
import { type RosterRange, type RotationRecord, roster, rotationRecord } from "../../protocols/rotation.ts";
import { HEADERS, type LaneName, type Names } from "../../protocols/subjects.ts";
import { type Dealt, laterDealt, NOTHING_DEALT, readDealt, writeDealt } from "./dealt.ts";

export interface RotationOptions {
  readonly bucket: KvBucket;
  readonly names: Names;
  readonly lane: LaneName;
  /** Id of the dispatcher, the `by` of its records. */
  readonly by: string;
  /** A nonce that no other write ever has. */
  readonly nonce: () => string;
  readonly logger: Logger;
  /** Waits a little after a lost swap that is made again here. */
  readonly pause?: () => Promise<void>;
}

/** Whether a swap was stored. After `lost` the newest record has been read, and everything is to be drawn anew. */
export type SwapOutcome = "won" | "lost";

export class Rotation {
  readonly #options: RotationOptions;
  readonly #key: string;
  readonly #rosterKey: string;
  #record: RotationRecord | undefined;
  #revision = 0;
  #ranges: readonly RosterRange[] = [];
  #dealt: Dealt = NOTHING_DEALT;
  /** Highest index seen. */
  #reached = 0;
  /** Swaps lost to another dispatcher, for display. */
  conflicts = 0;
  swaps = 0;
  /** Swaps lost since the last one that was won. */
  lostInRow = 0;

  constructor(options: RotationOptions) {
    this.#options = options;
    this.#key = options.names.rotationKey(options.lane);
    this.#rosterKey = options.names.rosterKey(options.lane);
  }

  get index(): number {
    return this.#record?.index ?? 0;
  }

  get base(): number {
    return this.#record?.base ?? 0;
  }

  get rate(): RateRecord | undefined {
    return this.#record?.rate;
  }

  get ranges(): readonly RosterRange[] {
    return this.#ranges;
  }

  /** Highest sequences of the task stream that any dispatcher is known to have handed out when the record was last read. */
  get dealt(): Dealt {
    return this.#dealt;
  }

  /** Reads the record and its roster. False if the lane has none yet. Where it throws, all is as before. */
  async load(): Promise<boolean> {
    for (;;) {
      const newest = await this.#options.bucket.getEntry(this.#key);
      const found = newest && (recordOf(newest) ?? (await this.#lastGood()));
      this.#warnOfRubbish(newest, found);
      if (newest === undefined || found === undefined) {
        this.#revision = newest?.revision ?? 0;
        this.#record = undefined;
        this.#ranges = [];
        return false;
      }
      const dealt = laterDealt(this.#dealt, readDealt(found.entry.header(HEADERS.dealt)));
      const current = await this.#lifted({ revision: newest.revision, record: found.record }, dealt);
      // Somebody else wrote meanwhile.
      if (current === undefined) continue;
      const { revision, record } = current;
      const ranges = record.roster === this.#record?.roster ? this.#ranges : await this.#rosterAt(record.roster);
      this.#revision = revision;
      this.#record = record;
      this.#ranges = ranges;
      this.#reached = record.index;
      this.#dealt = dealt;
      return true;
    }
  }

  /** Draws `drawn` tickets; `dealt` are the highest stream sequences they will carry; `rate` replaces what is recorded of it. */
  async advance(drawn: number, dealt: Dealt, rate?: RateRecord): Promise<SwapOutcome> {
    const record = this.#require();
    const next = { ...record, index: record.index + drawn, ...(rate !== undefined && { rate }) };
    return this.#swap(next, laterDealt(this.#dealt, dealt));
  }

  /** Puts `ranges` in force from the next ticket on, whatever others write meanwhile, unless they write a newer roster. */
  async replaceRoster(ranges: readonly RosterRange[]): Promise<void> {
    const { bucket } = this.#options;
    const current = await bucket.getEntry(this.#rosterKey);
    const value = encode({ v: 1, ranges });
    const revision = await bucket.cas(this.#rosterKey, value, current?.revision ?? 0);
    for (;;) {
      const known = this.#record ?? ((await this.load()) ? this.#record : undefined);
      // A newer one; or this one, by a swap of ours that came so late that it was taken for lost: in force, it is not to begin again.
      if (known && known.roster >= revision) return;
      const next: RotationRecord = known
        ? { ...known, base: known.index, roster: revision }
        : { v: 1, index: this.#reached, base: this.#reached, roster: revision, by: "", nonce: "" };
      if ((await this.#swap(next, this.#dealt)) === "won") {
        // Where the answer was lost the record has been read again, and may be of a newer roster already.
        if (this.#record?.roster === revision) this.#ranges = ranges;
        return;
      }
      await this.#options.pause?.();
    }
  }

  async #swap(next: RotationRecord, dealt: Dealt): Promise<SwapOutcome> {
    this.lostInRow++;
    const outcome = await this.#offer(next, dealt);
    if (outcome === "won") this.lostInRow = 0;
    return outcome;
  }

  async #offer(next: RotationRecord, dealt: Dealt): Promise<SwapOutcome> {
    const { bucket, by, nonce } = this.#options;
    const record: RotationRecord = { ...next, by, nonce: nonce() };
    this.swaps++;
    failpoint("swap.before");
    try {
      const headers = { [HEADERS.dealt]: writeDealt(dealt) };
      const revision = await bucket.cas(this.#key, encode(record), this.#revision, headers);
      if (failpoint("swap.answer")) throw new VgasError("TIMEOUT", `the answer to the swap of ${this.#key} was lost`);
      this.#revision = revision;
      this.#record = record;
      this.#reached = record.index;
      this.#dealt = dealt;
      return "won";
    } catch (error) {
      if (!(error instanceof VgasError)) throw error;
      if (error.code === "CONFLICT") {
        this.conflicts++;
        failpoint("swap.conflict");
        await this.load();
        return "lost";
      }
      // The answer did not come, so it is not known whether the swap was stored.
      return this.#settleUnknown(record.nonce);
    }
  }

  async #settleUnknown(nonce: string): Promise<SwapOutcome> {
    const history = await this.#options.bucket.history(this.#key);
    const written = history.some((entry) => recordOf(entry)?.record.nonce === nonce);
    failpoint(written ? "swap.recovered" : "swap.redrawn");
    await this.load();
    return written ? "won" : "lost";
  }

  /** What was read, put where this dispatcher knows that the tickets handed out end. Undefined if it lost the race for that. */
  async #lifted(read: Stored, dealt: Dealt): Promise<Stored | undefined> {
    const { bucket, by, nonce, logger } = this.#options;
    const index = this.#reached;
    if (read.record.index >= index) return read;
    const record: RotationRecord = { ...read.record, index, base: index, by, nonce: nonce() };
    try {
      const headers = { [HEADERS.dealt]: writeDealt(dealt) };
      const revision = await bucket.cas(this.#key, encode(record), read.revision, headers);
      logger.warn(
        { key: this.#key, index, was: read.record.index },
        "a rotation record was behind tickets handed out already; the rotation goes on after them",
      );
      return { revision, record };
    } catch (error) {
      if (!(error instanceof VgasError) || error.code !== "CONFLICT") throw error;
      this.conflicts++;
      return undefined;
    }
  }

  #warnOfRubbish(newest: KvEntry | undefined, found: Good | undefined): void {
    if (newest === undefined || found?.entry === newest) return;
    // A key that was deleted and never held a record is as good as none.
    if (newest.deleted && found === undefined) return;
    const what = newest.deleted ? "a rotation record was deleted" : "something else was written over a rotation record";
    this.#options.logger.warn({ key: this.#key }, `${what}; the next turn writes over that`);
  }

  async #rosterAt(revision: number): Promise<readonly RosterRange[]> {
    const history = await this.#options.bucket.history(this.#rosterKey);
    const entry = history.find((each) => each.revision === revision);
    // Sixteen newer rosters were written before the record was pointed at one: the maintenance of the lane writes the next.
    return (entry && roster.safeParse(decoded(entry)).data?.ranges) ?? [];
  }

  async #lastGood(): Promise<Good | undefined> {
    const history = await this.#options.bucket.history(this.#key);
    return history
      .map(recordOf)
      .filter((each) => each !== undefined)
      .at(-1);
  }

  #require(): RotationRecord {
    if (!this.#record) throw new VgasError("INTERNAL", `lane ${this.#key} drew before its record was read`);
    return this.#record;
  }
}

interface Good {
  readonly entry: KvEntry;
  readonly record: RotationRecord;
}

/** A record and the revision that the next swap expects. */
interface Stored {
  readonly revision: number;
  readonly record: RotationRecord;
}

function recordOf(entry: KvEntry): Good | undefined {
  const record = rotationRecord.safeParse(decoded(entry)).data;
  return record && { entry, record };
}

function decoded({ value }: KvEntry): unknown {
  try {
    return decode(value);
  } catch {
    return undefined;
  }
}
