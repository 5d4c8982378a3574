/** Reads the end of a trail at a start: its last segment and its key. Changes nothing. */
import { VgasError } from "../../../protocols/errors.ts";
import { BrokenChain, Chain, type ChainEnd, GENESIS } from "./chain.ts";
import type { TrailRecord } from "./entry.ts";
import { type EpochKey, readKey } from "./epoch-key.ts";
import { MAX_BATCH_BYTES, MAX_LINE_BYTES, type StoredRecord } from "./line.ts";
import { listSegments, type Position, type RawLine, readLines, readRest, segmentPath } from "./segments.ts";

export interface LoadOptions {
  readonly dir: string;
  /** Called with the snapshot at the head of the last segment, before all of `replay`. */
  readonly restore: (snapshot: unknown) => void;
  /** Called with each record behind that head, in order. */
  readonly replay: (record: TrailRecord) => void;
}

export interface Loaded {
  readonly key: EpochKey;
  readonly end: ChainEnd;
  /** Undefined if there is no segment yet. */
  readonly position: Position | undefined;
  /** What stands behind the last record: a write that a crash broke off, and that was never acknowledged. */
  readonly torn: Buffer;
}

/** What a crash can leave of one write: its entries and the end of an epoch. */
const MAX_TORN_BYTES = MAX_BATCH_BYTES + 2 * MAX_LINE_BYTES;

/**
 * Checks what can be checked without the vault's own secret: the MACs of the present epoch, and for the rest of the last segment
 * that each record vouches for the one before it.
 *
 * @throws VgasError NOT_FOUND if there is no trail, VAULT_DAMAGED naming file and record, CONFIG if others can read it
 */
export async function loadTrail(options: LoadOptions): Promise<Loaded> {
  const { dir } = options;
  const key = await readKey(dir);
  const segments = await listSegments(dir);
  const last = segments.at(-1);
  if (key === undefined) {
    if (last === undefined) throw new VgasError("NOT_FOUND", `there is no audit trail in ${dir}`);
    throw new VgasError("VAULT_DAMAGED", `the key of the audit trail in ${dir} is missing`);
  }
  try {
    if (last !== undefined) return await readLast(options, last, key);
    if (key.epoch === 0) return { key, end: GENESIS, position: undefined, torn: Buffer.alloc(0) };
    throw new VgasError("VAULT_DAMAGED", `the audit trail in ${dir} has had ${key.epoch} epochs, and no file is left`);
  } catch (error) {
    key.key.wipe();
    throw error;
  }
}

async function readLast({ dir, restore, replay }: LoadOptions, segment: number, key: EpochKey): Promise<Loaded> {
  const path = segmentPath(dir, segment);
  const chain = new Chain((epoch) => (epoch === key.epoch ? key.key : undefined), segment === 1 ? GENESIS : undefined);
  let size = 0;
  for await (const line of readLines(path)) {
    if (!line.whole) {
      if (size === 0) throw new VgasError("VAULT_DAMAGED", `${path} has no head: its first record is cut off`);
      break;
    }
    const record = follow(chain, line, size === 0, path);
    try {
      if (size === 0) restore(record.snapshot);
      else replay(bare(record));
    } catch (error) {
      throw new VgasError("VAULT_DAMAGED", `${path}: record ${record.seq} does not add up to anything`, {
        cause: error,
      });
    }
    size = line.offset + line.bytes.length + 1;
  }
  const { end } = chain;
  if (end === undefined || end.seq === 0) throw new VgasError("VAULT_DAMAGED", `${path} is empty`);
  const fits = key.epoch === end.epoch || (end.ended && key.epoch === end.epoch + 1);
  if (!fits) {
    const what = `record ${end.seq} in ${path} is of epoch ${end.epoch}, and trail.key is of epoch ${key.epoch}`;
    throw new VgasError("VAULT_DAMAGED", `${what}: one of the two was replaced, or records were cut off`);
  }
  const torn = await readRest(path, size, MAX_TORN_BYTES + 1);
  if (torn.length > MAX_TORN_BYTES)
    throw new VgasError(
      "VAULT_DAMAGED",
      `${path} holds no record from byte ${size} on, and more than a crash can leave`,
    );
  return { key, end, position: { segment, size }, torn };
}

function follow(chain: Chain, { bytes }: RawLine, heads: boolean, path: string): StoredRecord {
  try {
    return chain.follow(bytes, heads);
  } catch (error) {
    if (error instanceof BrokenChain) throw new VgasError("VAULT_DAMAGED", `${path}: ${error.message}`);
    throw error;
  }
}

/** The record without what belongs to the chain. */
export function bare(stored: StoredRecord): TrailRecord {
  const { epoch: _epoch, prev: _prev, mac: _mac, snapshot: _snapshot, ...record } = stored;
  return record;
}
