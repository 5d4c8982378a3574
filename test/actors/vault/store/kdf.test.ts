import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { checkPassphrase, NEW_COST, scryptKdf } from "../../../../src/actors/vault/store/kdf.ts";
import { secret } from "./support.ts";

describe("scrypt", () => {
  // RFC 7914, section 12; the root key is the first 32 bytes of its 64, since scrypt ends with PBKDF2, block after block.
  it.each([
    {
      ...{ passphrase: "", salt: "", cost: { log2N: 4, r: 1, p: 1 } },
      expected: "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442",
    },
    {
      ...{ passphrase: "password", salt: "NaCl", cost: { log2N: 10, r: 8, p: 16 } },
      expected: "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162",
    },
    {
      ...{ passphrase: "pleaseletmein", salt: "SodiumChloride", cost: { log2N: 14, r: 8, p: 1 } },
      expected: "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2",
    },
  ])("gives the root that RFC 7914 gives for $passphrase", async ({ passphrase, salt, cost, expected }) => {
    const root = await scryptKdf(Buffer.from(passphrase), Buffer.from(salt), cost);
    expect(root.toString("hex")).toBe(expected);
  });

  it("has the memory that new vaults and the costliest accepted ones take", async () => {
    const salt = createHash("sha256").update("salt").digest();
    for (const cost of [NEW_COST, { log2N: 15, r: 16, p: 4 }]) {
      expect(await scryptKdf(Buffer.from("a passphrase"), salt, cost)).toHaveLength(32);
    }
  });

  it("takes passphrases of 8 to 4096 bytes, and says how many there were", () => {
    for (const length of [8, 4_096]) expect(() => checkPassphrase(secret("x".repeat(length)))).not.toThrow();
    for (const length of [0, 7, 4_097]) {
      expect(() => checkPassphrase(secret("x".repeat(length)))).toThrowError(
        expect.objectContaining({ code: "INVALID", message: `a passphrase must have 8 to 4096 bytes, not ${length}` }),
      );
    }
  });
});
