/**
 * Follows a trail record by record and stops at the first that is wrong. Pure.
 *
 * 1. Sequences count from 1 without a gap.
 * 2. A record's `prev` is the SHA-256 of the line before it.
 * 3. Epochs count from 0. The last record of each is an `epoch` record, and the next record is of the next epoch: so nobody who
 *    holds a later key can cut off the end of an earlier epoch.
 * 4. A record's MAC was made with the key of its epoch, where that key is at hand.
 * 5. The first record of each segment is a `segment` record, and no other is.
 */
import type { Secret } from "../../../bus/sealed/secret.ts";
import { decodeLine, digestOf, hasMac, type StoredRecord } from "./line.ts";

/** What stands at a place is not what was written there. */
export class BrokenChain extends Error {
  /** Sequence of the first record that is wrong or missing. */
  readonly seq: number;

  constructor(seq: number, problem: string) {
    super(problem);
    this.seq = seq;
  }
}

/** The end of what was followed. */
export interface ChainEnd {
  readonly seq: number;
  readonly epoch: number;
  readonly mac: string;
  /** What the next record's `prev` must be. */
  readonly digest: string;
  /** The last record ended its epoch. */
  readonly ended: boolean;
  /** How many records its epoch has, as far as they were followed. */
  readonly ofEpoch: number;
}

/** Before the first record of a trail. */
export const GENESIS: ChainEnd = { seq: 0, epoch: 0, mac: "", digest: "", ended: false, ofEpoch: 0 };

export class Chain {
  readonly #keyOf: (epoch: number) => Secret | undefined;
  #end: ChainEnd | undefined;

  /** Without `from` the first record is taken as it stands: what was before it is not looked at. */
  constructor(keyOf: (epoch: number) => Secret | undefined, from?: ChainEnd) {
    this.#keyOf = keyOf;
    this.#end = from;
  }

  get end(): ChainEnd | undefined {
    return this.#end;
  }

  /**
   * The record of a line without its end; `heads` if the line is the first of its segment.
   *
   * @throws BrokenChain
   */
  follow(bytes: Buffer, heads: boolean): StoredRecord {
    const before = this.#end;
    const record = decodeLine(bytes);
    const due = (before?.seq ?? 0) + 1;
    if ("problem" in record) throw new BrokenChain(due, `record ${due} cannot be read: ${record.problem}`);
    const { seq, epoch, mac, op } = record;
    if (before !== undefined && seq !== due) throw new BrokenChain(due, outOfTurn(due, seq));
    const epochDue = before && before.epoch + (before.ended ? 1 : 0);
    if (epochDue !== undefined && epoch !== epochDue)
      throw new BrokenChain(seq, `record ${seq} is of epoch ${epoch}, and epoch ${epochDue} is due`);
    const key = this.#keyOf(epoch);
    if (key !== undefined && !hasMac(bytes, key))
      throw new BrokenChain(seq, `the MAC of record ${seq} is wrong: it was changed, or written by somebody else`);
    if (before !== undefined && record.prev !== before.digest) {
      // Without a key for the record before it is that one which was changed: this one vouches for another.
      const known = before.seq === 0 || this.#keyOf(before.epoch) !== undefined;
      throw known
        ? new BrokenChain(seq, `record ${seq} does not follow the record ${before.seq} that stands before it`)
        : new BrokenChain(before.seq, `record ${before.seq} is not the one that record ${seq} was written after`);
    }
    if ((op === "segment") !== heads)
      throw new BrokenChain(
        seq,
        heads ? `record ${seq} is not the head of a segment` : `record ${seq} is a stray head`,
      );
    const sameEpoch = before !== undefined && before.epoch === epoch;
    const ofEpoch = sameEpoch ? before.ofEpoch + 1 : 1;
    this.#end = { seq, epoch, mac, digest: digestOf(bytes), ended: op === "epoch", ofEpoch };
    return record;
  }
}

function outOfTurn(due: number, seq: number): string {
  return seq > due
    ? `record ${due} is missing: record ${seq} follows record ${due - 1}`
    : `record ${seq} stands where record ${due} is due`;
}
