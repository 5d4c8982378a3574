/**
 * Recomputes a whole trail from its first key, which only the opened vault knows, and holds it against the checkpoints.
 *
 * What stands in the files is believed in nothing: every key is derived anew, so a record written with any other key, and a record
 * of an earlier epoch changed with the key of a later one, is found. What was changed with the key of the present epoch, or cut off
 * the end, is found by the checkpoints that the stream still keeps: nobody can delete one there, only push out the oldest.
 *
 * A message there that the vault's node did not sign is counted and nothing more: anybody who may publish there could else make each
 * verification fail for ever, and a new credential of the node would do so too.
 */
import type { Secret } from "../../../bus/sealed/secret.ts";
import { VgasError } from "../../../protocols/errors.ts";
import { BrokenChain, Chain, type ChainEnd, GENESIS } from "./chain.ts";
import type { StoredCheckpoint } from "./checkpoints.ts";
import { type EpochKey, firstKey, nextKey, readKey } from "./epoch-key.ts";
import { listSegments, type Position, readLines, segmentPath } from "./segments.ts";
import type { TrailHead } from "./trail.ts";

export interface Verdict {
  readonly ok: boolean;
  /** How many were found good, up to the first that is wrong. */
  readonly records: number;
  /** Those of the vault's node that were found to agree. */
  readonly checkpoints: number;
  /** Checkpoints of a trail before this one, which was gone. */
  readonly earlier?: number;
  /** Messages among them that the node's present credential did not sign, if there are any. They were not held against the trail. */
  readonly unknown?: number;
  /** Sequence of the first of those in the stream. */
  readonly unknownAt?: number;
  /** Sequence of the first record that is wrong or missing. */
  readonly at?: number;
  readonly problem?: string;
}

export interface VerifyOptions {
  /** A trail, or only its folder if no process writes there. Ask for the checkpoints first: they must not be newer. */
  readonly trail: { readonly dir: string; readonly position?: Position; readonly head?: TrailHead };
  /** What it was created with; stays the caller's. */
  readonly seed: Secret;
  readonly checkpoints: readonly StoredCheckpoint[];
}

/** A key file that claims to be further ahead than this is not believed: deriving its key would never end. */
const MAX_EPOCHS_AHEAD = 1_000;

/** Never rejects for what it finds wrong. @throws VgasError CONFIG if the files cannot be read */
export async function verifyTrail({ trail, seed, checkpoints }: VerifyOptions): Promise<Verdict> {
  const keys = new Keys(firstKey(seed));
  const chain = new Chain((epoch) => keys.of(epoch), GENESIS);
  const claims = new Claims(checkpoints);
  try {
    const { position, head } = trail;
    await walk(trail.dir, position, chain, claims);
    const end = chain.end ?? GENESIS;
    if (head !== undefined && end.mac !== head.mac)
      throw new BrokenChain(
        end.seq,
        `record ${end.seq} is not the one that the vault wrote last, which is ${head.seq}`,
      );
    claims.finish(end);
    await checkKey(trail.dir, end, keys, position !== undefined);
    return { ok: true, records: end.seq, ...claims.found };
  } catch (error) {
    const records = chain.end?.seq ?? 0;
    const found = { ok: false, records, ...claims.found };
    if (error instanceof BrokenChain)
      return { ...found, records: Math.min(records, error.seq - 1), at: error.seq, problem: error.message };
    if (error instanceof VgasError && error.code === "VAULT_DAMAGED")
      return { ...found, at: records + 1, problem: error.message };
    if (error instanceof Unplaced) return { ...found, problem: error.message };
    throw error;
  } finally {
    keys.wipe();
  }
}

/** Something is wrong that is no record's fault. */
class Unplaced extends Error {}

async function walk(dir: string, position: Position | undefined, chain: Chain, claims: Claims): Promise<void> {
  const segments = new Set(await listSegments(dir));
  const last = position?.segment ?? Math.max(0, ...segments);
  const due = (): number => (chain.end?.seq ?? 0) + 1;
  for (let segment = 1; segment <= last; segment++) {
    const path = segmentPath(dir, segment);
    if (!segments.has(segment)) throw new BrokenChain(due(), `record ${due()} is missing: there is no file ${path}`);
    const until = segment === position?.segment ? position.size : undefined;
    let size = 0;
    for await (const { bytes, whole } of readLines(path, 0, until)) {
      if (!whole) throw new BrokenChain(due(), `record ${due()} in ${path} is cut off`);
      const { seq, mac } = chain.follow(bytes, size === 0);
      claims.meet(seq, mac);
      size += bytes.length + 1;
    }
    if (size === 0 || size < (until ?? 0))
      throw new BrokenChain(due(), `record ${due()} is missing: ${path} was cut off at byte ${size}`);
  }
}

/** The key on disk must be the present epoch's. While the trail is written it may have gone on since. */
async function checkKey(dir: string, end: ChainEnd, keys: Keys, written: boolean): Promise<void> {
  const present = await readKey(dir);
  if (present === undefined) throw new Unplaced("trail.key is missing");
  try {
    const { epoch, key } = present;
    const latest = end.epoch + (written ? MAX_EPOCHS_AHEAD : end.ended ? 1 : 0);
    if (epoch < end.epoch || epoch > latest)
      throw new Unplaced(`trail.key is of epoch ${epoch}, and the last record of epoch ${end.epoch}`);
    const derived = keys.of(epoch);
    if (!derived?.use((a) => key.use((b) => a.equals(b))))
      throw new Unplaced(`trail.key is not the key of epoch ${epoch}: it was replaced`);
  } finally {
    present.key.wipe();
  }
}

/** Keys one after the other; the one before the present is kept. */
class Keys {
  #present: EpochKey;
  #before: EpochKey | undefined;

  constructor(first: EpochKey) {
    this.#present = first;
  }

  of(epoch: number): Secret | undefined {
    while (this.#present.epoch < epoch) {
      this.#before?.key.wipe();
      this.#before = this.#present;
      this.#present = nextKey(this.#present);
    }
    return [this.#present, this.#before].find((each) => each?.epoch === epoch)?.key;
  }

  wipe(): void {
    this.#present.key.wipe();
    this.#before?.key.wipe();
  }
}

/** What the checkpoints say, met by the records one after the other. */
class Claims {
  readonly #claims = new Map<number, { readonly mac: string; readonly sequence: number }[]>();
  #latest = 0;
  #met = 0;
  #unknown = 0;
  #unknownAt: number | undefined;
  #trusted = 0;
  #earlier = 0;

  constructor(stored: readonly StoredCheckpoint[]) {
    for (const { sequence, checkpoint } of stored) {
      if ("problem" in checkpoint) {
        this.#unknown++;
        this.#unknownAt ??= sequence;
        continue;
      }
      const { seq, mac } = checkpoint;
      if (seq === 0) {
        // An operator has accepted that the trail before was gone.
        this.#earlier += this.#trusted;
        this.#trusted = 0;
        this.#latest = 0;
        this.#claims.clear();
        continue;
      }
      this.#trusted++;
      const same = this.#claims.get(seq);
      if (same) same.push({ mac, sequence });
      else this.#claims.set(seq, [{ mac, sequence }]);
      this.#latest = Math.max(this.#latest, seq);
    }
  }

  get found(): Pick<Verdict, "checkpoints" | "earlier" | "unknown" | "unknownAt"> {
    return {
      checkpoints: this.#met,
      ...(this.#earlier > 0 && { earlier: this.#earlier }),
      ...(this.#unknownAt !== undefined && { unknown: this.#unknown, unknownAt: this.#unknownAt }),
    };
  }

  meet(seq: number, mac: string): void {
    for (const claim of this.#claims.get(seq) ?? []) {
      if (claim.mac !== mac)
        throw new BrokenChain(seq, `record ${seq} is not the one that checkpoint ${claim.sequence} vouches for`);
      this.#met++;
    }
  }

  finish({ seq }: ChainEnd): void {
    if (this.#latest > seq)
      throw new BrokenChain(
        seq + 1,
        `record ${seq + 1} is missing: the trail ends with record ${seq}, and a checkpoint vouches for record ${this.#latest}`,
      );
  }
}
