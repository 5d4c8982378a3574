import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { associated } from "../../../../src/actors/vault/store/blob.ts";
import { Keyring, rootKeys } from "../../../../src/actors/vault/store/keyring.ts";
import {
  checkKey,
  describeKey,
  type KeyIdentity,
  openKey,
  type SealedRecord,
  sealKey,
} from "../../../../src/actors/vault/store/records.ts";
import { KEY, NEXT_KEY, secret } from "./support.ts";

const IDENTITY: KeyIdentity = { provider: "openai", name: "main", version: 2, term: 1 };

function newKeyring(vaultId: Buffer = randomBytes(16)): Keyring {
  return Keyring.create(vaultId, rootKeys(randomBytes(32), vaultId), randomBytes);
}

function sealed(keyring: Keyring, key: string, identity: KeyIdentity = IDENTITY): SealedRecord {
  const parts = sealKey(keyring, identity, Buffer.from(key), randomBytes);
  return { ...identity, createdAt: 1, changedAt: 1, fingerprint: "", settings: {}, ...parts };
}

function open(keyring: Keyring, record: SealedRecord): string {
  return openKey(keyring, record, (key) => key.toString());
}

const damaged = expect.objectContaining({ code: "VAULT_DAMAGED" });

describe("a sealed key", () => {
  it("opens as what it was sealed as, and is wiped afterwards", () => {
    const keyring = newKeyring();
    const record = sealed(keyring, KEY);
    let kept: Uint8Array = new Uint8Array(0);
    const seen = openKey(keyring, record, (key) => {
      kept = key;
      return key.toString();
    });
    expect(seen).toBe(KEY);
    expect([...kept]).toEqual(Array(KEY.length).fill(0));
    expect(() =>
      openKey(keyring, record, (key) => {
        kept = key;
        throw new Error("a reader that fails");
      }),
    ).toThrowError("a reader that fails");
    expect([...kept]).toEqual(Array(KEY.length).fill(0));
  });

  it("does not open under another provider, name, version, term or vault", () => {
    const keyring = newKeyring();
    const record = sealed(keyring, KEY);
    for (const other of [{ provider: "anthropic" }, { name: "spare" }, { version: 1 }, { version: 3 }]) {
      expect(() => open(keyring, { ...record, ...other })).toThrowError(damaged);
    }
    expect(() => open(keyring, { ...record, term: 2 })).toThrowError(/no term 2/);
    expect(() => open(keyring.withNewTerm(randomBytes), { ...record, term: 2 })).toThrowError(damaged);
    expect(() => open(newKeyring(), record)).toThrowError(damaged);
    expect(() => open(newKeyring(keyring.vaultId), record)).toThrowError(damaged);
    // Not even where everything but the vault is the same, as in a copy that was given another id.
    const fixed = (size: number): Buffer => Buffer.alloc(size, 7);
    const [one, other] = [1, 2].map((id) => {
      const vaultId = Buffer.alloc(16, id);
      return Keyring.create(vaultId, rootKeys(randomBytes(32), vaultId), fixed);
    }) as [Keyring, Keyring];
    const hex = (ring: Keyring): string => ring.termKey(1).use((bytes) => bytes.toString("hex"));
    expect(hex(one)).toBe(hex(other));
    expect(() => open(other, sealed(one, KEY))).toThrowError(damaged);
  });

  it("does not open with the parts of another key, or of an older version of itself", () => {
    const keyring = newKeyring();
    const record = sealed(keyring, KEY);
    const others = [
      sealed(keyring, NEXT_KEY, { ...IDENTITY, name: "spare" }),
      sealed(keyring, NEXT_KEY, { ...IDENTITY, version: 1 }),
      sealed(keyring, NEXT_KEY),
    ];
    for (const { dataKey, sealed: secretPart } of others) {
      expect(() => open(keyring, { ...record, dataKey })).toThrowError(damaged);
      expect(() => open(keyring, { ...record, sealed: secretPart })).toThrowError(damaged);
    }
    for (const { dataKey, sealed: secretPart } of others.slice(0, 2)) {
      expect(() => open(keyring, { ...record, dataKey, sealed: secretPart })).toThrowError(damaged);
    }
    // Each part is bound to what it is, not only to whose: neither can stand in the other's place.
    expect(() => open(keyring, { ...record, dataKey: record.sealed, sealed: record.dataKey })).toThrowError(damaged);
  });

  it("does not open with any bit of it flipped, or cut off", () => {
    const keyring = newKeyring();
    const record = sealed(keyring, KEY);
    for (const part of ["dataKey", "sealed"] as const) {
      const bytes = record[part];
      for (let bit = 0; bit < bytes.length * 8; bit++) {
        const flipped = Buffer.from(bytes);
        flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        expect(() => open(keyring, { ...record, [part]: flipped })).toThrowError(damaged);
      }
      for (let length = 0; length < bytes.length; length++) {
        expect(() => open(keyring, { ...record, [part]: bytes.subarray(0, length) })).toThrowError(damaged);
      }
    }
  });

  it("is never sealed to the same bytes twice", () => {
    const keyring = newKeyring();
    const seen = new Set(
      Array.from({ length: 50 }, () => sealed(keyring, KEY)).flatMap(({ dataKey, sealed: part }) => [
        dataKey.toString("hex"),
        part.toString("hex"),
      ]),
    );
    expect(seen.size).toBe(100);
  });

  it("shows no key in an error, nor in what is printed of it", () => {
    const keyring = newKeyring();
    const record = sealed(keyring, KEY);
    expect(() => open(keyring, { ...record, name: "spare" })).toThrowError(
      /^the vault file was tampered with: the key openai\/spare does not open$/,
    );
  });
});

describe("what is said of a key", () => {
  it("is its last four characters only if it is long, and of printable ones", () => {
    const keyring = newKeyring();
    const last4 = (key: string): string | undefined => describeKey(keyring, Buffer.from(key)).last4;
    expect(last4(`${"a".repeat(16)}wxyz`)).toBe("wxyz");
    expect(last4(`${"a".repeat(15)}wxyz`)).toBeUndefined();
    expect(last4(`${"a".repeat(30)}ö`)).toBeUndefined();
  });

  it("is a fingerprint that is the same for the same key, in this vault alone", () => {
    const keyring = newKeyring();
    const fingerprint = (ring: Keyring, key: string): string => describeKey(ring, Buffer.from(key)).fingerprint;
    expect(fingerprint(keyring, KEY)).toMatch(/^[\w-]{16}$/);
    expect(fingerprint(keyring, KEY)).toBe(fingerprint(keyring, KEY));
    expect(fingerprint(keyring, KEY)).not.toBe(fingerprint(keyring, NEXT_KEY));
    expect(fingerprint(keyring, KEY)).not.toBe(fingerprint(newKeyring(), KEY));
    expect(fingerprint(keyring, KEY)).toBe(fingerprint(keyring.withNewTerm(randomBytes), KEY));
  });

  it.each([
    ["", /1 to 4096 bytes, not 0/],
    ["x".repeat(4_097), /not 4097/],
    ["sk-abc\n", /control characters/],
    ["sk-\u0000abc", /control characters/],
    ["sk-abc\u007f", /control characters/],
    [" sk-abc", /space/],
    ["sk-abc ", /space/],
  ])("is that no header could carry %j", (key, says) => {
    expect(() => checkKey(secret(key))).toThrowError(expect.objectContaining({ code: "INVALID" }));
    expect(() => checkKey(secret(key))).toThrowError(says);
  });

  it("is nothing against a key of 1 to 4096 bytes", () => {
    for (const key of ["x", "a b", "schlüssel", "x".repeat(4_096)]) expect(() => checkKey(secret(key))).not.toThrow();
  });
});

describe("associated data", () => {
  it("differs for any two lists of parts", () => {
    const part = fc.oneof(fc.string({ maxLength: 6 }), fc.nat(), fc.uint8Array({ maxLength: 6 }));
    const plain = (parts: readonly (string | number | Uint8Array)[]): string =>
      JSON.stringify(parts.map((value) => [...(typeof value === "number" ? bytesOf(value) : Buffer.from(value))]));
    const bytesOf = (value: number): Buffer => {
      const bytes = Buffer.alloc(8);
      bytes.writeBigUInt64BE(BigInt(value));
      return bytes;
    };
    fc.assert(
      fc.property(fc.array(part, { maxLength: 4 }), fc.array(part, { maxLength: 4 }), (a, b) => {
        expect(associated(...a).equals(associated(...b))).toBe(plain(a) === plain(b));
      }),
    );
    expect(associated("ab", "c").equals(associated("a", "bc"))).toBe(false);
  });
});

describe("the keyring", () => {
  it("opens with its own root and vault alone, and no term in another's place", () => {
    const vaultId = randomBytes(16);
    const root = randomBytes(32);
    const keys = () => rootKeys(Buffer.from(root), vaultId);
    const keyring = Keyring.create(vaultId, keys(), randomBytes);
    const again = Keyring.open(vaultId, keys(), keyring.sealed);
    expect(again.derive("x").use((bytes) => bytes.toString("hex"))).toBe(
      keyring.derive("x").use((bytes) => bytes.toString("hex")),
    );
    expect(() => Keyring.open(vaultId, rootKeys(randomBytes(32), vaultId), keyring.sealed)).toThrowError(damaged);
    expect(() => Keyring.open(randomBytes(16), keys(), keyring.sealed)).toThrowError(damaged);
    const [term] = keyring.sealed.terms;
    if (term === undefined) throw new Error("a keyring has a term");
    for (const forged of [
      { ...keyring.sealed, terms: [{ ...term, term: 2 }] },
      { ...keyring.sealed, terms: [{ ...term, key: keyring.sealed.secret }] },
      { ...keyring.sealed, secret: term.key },
    ]) {
      expect(() => Keyring.open(vaultId, keys(), forged)).toThrowError(damaged);
    }
  });

  it("derives a key for each purpose, the same under every root and term", () => {
    const keyring = newKeyring();
    const hex = (ring: Keyring, label: string): string => ring.derive(label).use((bytes) => bytes.toString("hex"));
    expect(hex(keyring, "trail")).toHaveLength(64);
    expect(hex(keyring, "trail")).not.toBe(hex(keyring, "fingerprint"));
    const moved = keyring.withNewTerm(randomBytes).underRoot(rootKeys(randomBytes(32), keyring.vaultId), randomBytes);
    expect(hex(moved, "trail")).toBe(hex(keyring, "trail"));
    expect(hex(moved, "trail")).not.toBe(hex(newKeyring(), "trail"));
  });

  it("wipes the root that it was made of, and all of its own", () => {
    const root = randomBytes(32);
    const vaultId = randomBytes(16);
    const keyring = Keyring.create(vaultId, rootKeys(root, vaultId), randomBytes);
    expect(root).toEqual(Buffer.alloc(32));
    keyring.wipe();
    expect(keyring.body.wiped).toBe(true);
    expect(keyring.termKey(1).wiped).toBe(true);
    expect(() => keyring.derive("x")).toThrowError(/wiped/);
    expect(() => keyring.copyRoot()).toThrowError(/wiped/);
  });
});
