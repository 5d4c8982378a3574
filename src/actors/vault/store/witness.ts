/**
 * A witness of the vault's file that does not stand beside it: which vault it is, its newest generation and the digest of
 * that, in a bucket. Whoever puts an older file back would have to write there too.
 *
 * 1. The witness is written after the file. So a file that is newer than its witness is a crash between the two, or a bucket
 *    that was lost or restored; a file that is older, or another of the same generation, was put there.
 * 2. The witness never goes back, unless it is told to: that is how an operator accepts an older file.
 */
import { z } from "zod";
import { decode, encode } from "../../../bus/codec/codec.ts";
import { VgasError } from "../../../protocols/errors.ts";

/** The only key of the bucket: a node has one vault, and a witness of another one must be noticed. */
const KEY = "witness";
/** Nobody else has to write there: one lost race is a lost answer of our own, more are a defect, or somebody who abuses a role. */
const MAX_TRIES = 8;

/** What `KvBucket` offers. */
export interface WitnessBucket {
  getEntry(
    key: string,
  ): Promise<{ readonly value: Uint8Array; readonly revision: number; readonly deleted: boolean } | undefined>;
  cas(key: string, value: Uint8Array, expectedRevision: number): Promise<number>;
}

const testimony = z.object({
  v: z.literal(1),
  vaultId: z.string(),
  generation: z.number().int().min(1),
  /** SHA-256 of the file, hex. */
  digest: z.string(),
});
export type Testimony = Omit<z.infer<typeof testimony>, "v">;

/**
 * - `same`: the file is the one that was witnessed.
 * - `ahead`: it is newer, by any number.
 * - `absent`: nothing was witnessed.
 * - `rolled-back`: a newer one was witnessed, or another one of the same generation.
 * - `foreign`: another vault was witnessed, or what stands there is no testimony.
 */
export type Verdict = "same" | "ahead" | "absent" | "rolled-back" | "foreign";

/** The verdict, and what stood in the bucket, if it was a testimony. */
export interface WitnessReport extends Partial<Testimony> {
  readonly verdict: Verdict;
}

export class Witness {
  readonly #bucket: WitnessBucket;

  constructor(bucket: WitnessBucket) {
    this.#bucket = bucket;
  }

  /** Compares a file with what was witnessed. Fails as the bucket does. */
  async check(file: Testimony): Promise<WitnessReport> {
    return (await this.#read(file)).report;
  }

  /**
   * Witnesses a file. With `force` also one that is older, or of another vault.
   *
   * @throws VgasError VAULT_ROLLED_BACK if a newer one or one of another vault was witnessed; what the bucket throws
   */
  async advance(file: Testimony, options: { readonly force?: boolean } = {}): Promise<void> {
    const { vaultId, generation, digest } = file;
    for (let tries = 1; ; tries++) {
      const { report, revision } = await this.#read(file);
      if (report.verdict === "same") return;
      if (options.force !== true) refuse(report, file);
      try {
        await this.#bucket.cas(KEY, encode({ v: 1, vaultId, generation, digest }), revision);
        return;
      } catch (error) {
        // After a lost answer the next look tells whether it was written.
        const unknown = error instanceof VgasError && (error.code === "CONFLICT" || error.code === "TIMEOUT");
        if (!unknown || tries === MAX_TRIES) throw error;
      }
    }
  }

  async #read(file: Testimony): Promise<{ readonly report: WitnessReport; readonly revision: number }> {
    const entry = await this.#bucket.getEntry(KEY);
    if (entry === undefined || entry.deleted) {
      return { report: { verdict: "absent" }, revision: entry?.revision ?? 0 };
    }
    return { report: compare(file, entry.value), revision: entry.revision };
  }
}

function compare(file: Testimony, value: Uint8Array): WitnessReport {
  const witnessed = parse(value);
  if (witnessed === undefined) return { verdict: "foreign" };
  if (witnessed.vaultId !== file.vaultId) return { verdict: "foreign", ...witnessed };
  if (file.generation > witnessed.generation) return { verdict: "ahead", ...witnessed };
  const same = file.generation === witnessed.generation && file.digest === witnessed.digest;
  return { verdict: same ? "same" : "rolled-back", ...witnessed };
}

function parse(value: Uint8Array): Testimony | undefined {
  try {
    const { vaultId, generation, digest } = testimony.parse(decode(value));
    return { vaultId, generation, digest };
  } catch {
    return undefined;
  }
}

function refuse({ verdict, generation: witnessed }: WitnessReport, { generation }: Testimony): void {
  if (verdict === "rolled-back") {
    const which = witnessed === generation ? "another file of that number" : `generation ${witnessed}`;
    throw new VgasError("VAULT_ROLLED_BACK", `the vault file is generation ${generation}, and ${which} was witnessed`);
  }
  if (verdict === "foreign") {
    throw new VgasError("VAULT_ROLLED_BACK", "the vault file is of another vault than the one that was witnessed");
  }
}
