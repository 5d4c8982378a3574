/** Records that go to the disk in one write, each chained to the one before. Pure. */
import type { Secret } from "../../../bus/sealed/secret.ts";
import type { ChainEnd } from "./chain.ts";
import type { TrailEntry, TrailRecord } from "./entry.ts";
import type { EpochKey } from "./epoch-key.ts";
import { encodeLine, MAX_BATCH_BYTES } from "./line.ts";

export class Batch {
  readonly #epoch: number;
  readonly #key: Secret;
  readonly #maxOfEpoch: number;
  readonly #parts: Buffer[] = [];
  #end: ChainEnd;
  #length = 0;

  /** Behind `end`, under the key of the present epoch, which may have `epochRecords` records. */
  constructor(end: ChainEnd, { epoch, key }: EpochKey, epochRecords: number) {
    this.#end = end;
    this.#epoch = epoch;
    this.#key = key;
    this.#maxOfEpoch = epochRecords;
  }

  /** The end of the trail once this is written. */
  get end(): ChainEnd {
    return this.#end;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#parts);
  }

  get isEmpty(): boolean {
    return this.#parts.length === 0;
  }

  /** Records of the present epoch, those of this batch included. */
  get ofEpoch(): number {
    return this.#end.epoch === this.#epoch ? this.#end.ofEpoch : 0;
  }

  /** The epoch has room for its own end only. */
  get epochIsFull(): boolean {
    return this.ofEpoch >= this.#maxOfEpoch - 1;
  }

  get isFull(): boolean {
    return this.#length >= MAX_BATCH_BYTES || this.epochIsFull;
  }

  add(entry: TrailEntry, at: number, snapshot?: object): TrailRecord {
    const place = { seq: this.#end.seq + 1, at, epoch: this.#epoch, prev: this.#end.digest };
    const { bytes, record, mac, digest } = encodeLine(entry, place, this.#key, snapshot);
    const ended = entry.op === "epoch";
    this.#end = { seq: place.seq, epoch: this.#epoch, mac, digest, ended, ofEpoch: this.ofEpoch + 1 };
    this.#parts.push(bytes);
    this.#length += bytes.length;
    return record;
  }

  /** After this the key must go on. */
  endEpoch(at: number): void {
    this.add({ op: "epoch", outcome: "ok", detail: { next: this.#epoch + 1 } }, at);
  }
}
