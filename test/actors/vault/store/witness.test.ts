import { cp } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Witness, type WitnessBucket } from "../../../../src/actors/vault/store/witness.ts";
import { decode } from "../../../../src/bus/codec/codec.ts";
import { VgasError } from "../../../../src/protocols/errors.ts";
import { temporaryDirectory } from "../../../support/home.ts";
import { makeVault, NEXT_KEY, openStore, PASSPHRASE, secret } from "./support.ts";

/** A bucket in memory that numbers its revisions as a real one, and can lose answers and races. */
class FakeBucket implements WitnessBucket {
  entry: { value: Uint8Array; revision: number; deleted: boolean } | undefined;
  /** What the next writes do: `lost`: written, and the answer is lost; `raced`: somebody else writes first. */
  readonly mishaps: ("lost" | "raced")[] = [];
  writes = 0;
  race: Uint8Array = new Uint8Array();

  async getEntry(): Promise<FakeBucket["entry"]> {
    return this.entry;
  }

  async cas(_key: string, value: Uint8Array, expected: number): Promise<number> {
    const mishap = this.mishaps.shift();
    if (mishap === "raced") this.#write(this.race);
    if ((this.entry?.revision ?? 0) !== expected) throw new VgasError("CONFLICT", "another revision");
    const revision = this.#write(value);
    if (mishap === "lost") throw new VgasError("TIMEOUT", "no answer");
    return revision;
  }

  #write(value: Uint8Array): number {
    this.writes++;
    this.entry = { value, revision: (this.entry?.revision ?? 0) + 7, deleted: false };
    return this.entry.revision;
  }
}

const file = { vaultId: "v", generation: 5, digest: "five" };

async function witnessOf(testimony: typeof file): Promise<{ bucket: FakeBucket; witness: Witness }> {
  const bucket = new FakeBucket();
  const witness = new Witness(bucket);
  await witness.advance(testimony);
  return { bucket, witness };
}

describe("the witness", () => {
  it("tells what became of a file", async () => {
    expect(await new Witness(new FakeBucket()).check(file)).toEqual({ verdict: "absent" });
    const { witness } = await witnessOf(file);
    expect(await witness.check(file)).toEqual({ verdict: "same", ...file });
    expect(await witness.check({ ...file, generation: 6 })).toEqual({ verdict: "ahead", ...file });
    expect(await witness.check({ ...file, generation: 500 })).toEqual({ verdict: "ahead", ...file });
    expect(await witness.check({ ...file, generation: 4 })).toEqual({ verdict: "rolled-back", ...file });
    expect(await witness.check({ ...file, digest: "another five" })).toEqual({ verdict: "rolled-back", ...file });
    expect(await witness.check({ ...file, vaultId: "w" })).toEqual({ verdict: "foreign", ...file });
  });

  it("goes forward, and back only when told to", async () => {
    const { bucket, witness } = await witnessOf(file);
    expect(decode(bucket.entry?.value ?? new Uint8Array())).toEqual({ v: 1, ...file });
    await witness.advance(file);
    expect(bucket.writes).toBe(1);
    const later = { ...file, generation: 6, digest: "six" };
    await witness.advance(later);
    for (const earlier of [file, { ...later, digest: "another six" }, { ...later, vaultId: "w", generation: 9 }]) {
      await expect(witness.advance(earlier)).rejects.toMatchObject({ code: "VAULT_ROLLED_BACK" });
      expect(await witness.check(later)).toMatchObject({ verdict: "same" });
    }
    for (const forced of [file, { ...file, vaultId: "w", generation: 2 }]) {
      await witness.advance(forced, { force: true });
      expect(await witness.check(forced)).toMatchObject({ verdict: "same" });
    }
  });

  it("takes a lost answer for what it was, and gives way to a newer testimony", async () => {
    const { bucket, witness } = await witnessOf(file);
    bucket.mishaps.push("lost");
    await witness.advance({ ...file, generation: 6 });
    expect(bucket.writes).toBe(2);
    const other = await witnessOf({ ...file, generation: 9 });
    bucket.race = other.bucket.entry?.value ?? new Uint8Array();
    bucket.mishaps.push("raced");
    await expect(witness.advance({ ...file, generation: 7 })).rejects.toMatchObject({ code: "VAULT_ROLLED_BACK" });
    expect(await witness.check({ ...file, generation: 9 })).toMatchObject({ verdict: "same" });
    bucket.race = Buffer.from("rubbish");
    bucket.mishaps.push(...Array<"raced">(100).fill("raced"));
    await expect(witness.advance({ ...file, generation: 10 }, { force: true })).rejects.toMatchObject({
      code: "CONFLICT",
    });
  });

  it("takes what is no testimony for a foreign one, and a deleted one for none", async () => {
    const { bucket, witness } = await witnessOf(file);
    for (const value of [Buffer.from("rubbish"), new Uint8Array(), Buffer.of(0x80)]) {
      bucket.entry = { value, revision: 70, deleted: false };
      expect(await witness.check(file)).toEqual({ verdict: "foreign" });
      await expect(witness.advance(file)).rejects.toMatchObject({ code: "VAULT_ROLLED_BACK" });
    }
    bucket.entry = { value: new Uint8Array(), revision: 80, deleted: true };
    expect(await witness.check(file)).toEqual({ verdict: "absent" });
    await witness.advance(file);
    expect(bucket.entry).toMatchObject({ revision: 87, deleted: false });
  });

  it("notices an older file that was put back", async () => {
    const { store, dir } = await makeVault(await temporaryDirectory());
    const standing = ({ vaultId = "", generation = 0, digest = "" }: typeof store) => ({ vaultId, generation, digest });
    const { witness } = await witnessOf(standing(store));
    await store.newVersion("openai", "main", secret(NEXT_KEY));
    expect(await witness.check(standing(store))).toMatchObject({ verdict: "ahead" });
    await witness.advance(standing(store));
    await cp(join(dir, "vault.prev.bin"), join(dir, "vault.bin"));
    const again = await openStore(dir);
    await again.unseal(secret(PASSPHRASE));
    expect(await witness.check(standing(again))).toMatchObject({ verdict: "rolled-back", generation: 3 });
    // Written on from there to the same number, it is another history all the same.
    await again.rotateTerm();
    expect(again.generation).toBe(3);
    expect(await witness.check(standing(again))).toMatchObject({ verdict: "rolled-back" });
  });
});
