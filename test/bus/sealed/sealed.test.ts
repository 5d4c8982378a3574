import { inspect } from "node:util";
import { createUser, fromPublic, fromSeed } from "@nats-io/nkeys";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeUserKey, decodeUserSeed, encodeUserKey } from "../../../src/bus/sealed/nkey.ts";
import { generateBoxKeys, openBox, sealBox, secretContext } from "../../../src/bus/sealed/sealed-box.ts";
import { Secret } from "../../../src/bus/sealed/secret.ts";
import { signerOf, verifySignature } from "../../../src/bus/sealed/signing.ts";
import { seedOf } from "./nkeys.ts";

const bytes = (constraints?: fc.IntArrayConstraints): fc.Arbitrary<Uint8Array> => fc.uint8Array(constraints);

function flipped(of: Uint8Array, bit: number): Uint8Array {
  const copy = Uint8Array.from(of);
  copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return copy;
}

describe("a sealed box", () => {
  it("gives back any bytes in any context", () => {
    fc.assert(
      fc.property(bytes({ maxLength: 5_000 }), bytes({ maxLength: 200 }), (plaintext, context) => {
        const keys = generateBoxKeys();
        expect(Uint8Array.from(openBox(keys, sealBox(keys.publicKey, plaintext, context), context))).toEqual(plaintext);
      }),
      { numRuns: 50 },
    );
  });

  it("is refused with any bit flipped and at any other length", () => {
    const keys = generateBoxKeys();
    const context = secretContext("store", "boot", new Uint8Array(16));
    const box = sealBox(keys.publicKey, Buffer.from("sk-secret-0123456789"), context);
    for (let bit = 0; bit < box.length * 8; bit++) {
      expect(() => openBox(keys, flipped(box, bit), context), `bit ${bit}`).toThrow(
        expect.objectContaining({ code: "INVALID" }),
      );
    }
    for (let length = 0; length < box.length; length++) {
      expect(() => openBox(keys, box.subarray(0, length), context), `${length} bytes`).toThrow(
        expect.objectContaining({ code: "INVALID" }),
      );
    }
    expect(() => openBox(keys, Buffer.concat([box, Buffer.alloc(1)]), context)).toThrow(/sealed/);
  });

  it("is refused in any other context, and by any other key", () => {
    fc.assert(
      fc.property(bytes(), bytes(), bytes(), (plaintext, context, other) => {
        fc.pre(Buffer.compare(context, other) !== 0);
        const keys = generateBoxKeys();
        const box = sealBox(keys.publicKey, plaintext, context);
        expect(() => openBox(keys, box, other)).toThrow(expect.objectContaining({ code: "INVALID" }));
        expect(() => openBox(generateBoxKeys(), box, context)).toThrow(expect.objectContaining({ code: "INVALID" }));
        // Neither will the right private key do for a public key that it does not have.
        const mixed = { publicKey: generateBoxKeys().publicKey, privateKey: keys.privateKey };
        expect(() => openBox(mixed, box, context)).toThrow(expect.objectContaining({ code: "INVALID" }));
      }),
      { numRuns: 50 },
    );
  });

  it("looks different each time, and shows nothing of what it holds", () => {
    const keys = generateBoxKeys();
    const boxes = Array.from({ length: 100 }, () =>
      Buffer.from(sealBox(keys.publicKey, Buffer.from("canary-canary"), Buffer.alloc(0))),
    );
    expect(new Set(boxes.map((box) => box.toString("hex", 0, 32))).size).toBe(100);
    expect(new Set(boxes.map((box) => box.toString("hex", 32))).size).toBe(100);
    for (const box of boxes) expect(box.includes("canary")).toBe(false);
  });

  it("tells contexts apart whose parts only together look the same", () => {
    const nonce = new Uint8Array(16);
    const contexts = [
      secretContext("store", "x", nonce),
      secretContext("storex", "", nonce),
      secretContext("", "storex", nonce),
    ];
    expect(new Set(contexts.map((context) => Buffer.from(context).toString("hex"))).size).toBe(3);
  });
});

describe("nkeys", () => {
  it("are read and written as the library of NATS does", () => {
    fc.assert(
      fc.property(bytes({ minLength: 32, maxLength: 32 }), (raw) => {
        const seed = seedOf(raw);
        const theirs = fromSeed(seed);
        const ours = signerOf("u", seed);
        expect(Uint8Array.from(decodeUserSeed(seed))).toEqual(raw);
        expect(ours.publicKey).toBe(theirs.getPublicKey());
        expect(encodeUserKey(decodeUserKey(ours.publicKey))).toBe(ours.publicKey);
      }),
      { numRuns: 50 },
    );
  });

  it("sign and verify as the library of NATS does", () => {
    fc.assert(
      fc.property(bytes({ maxLength: 3_000 }), (data) => {
        const pair = createUser();
        const signer = signerOf("u", pair.getSeed());
        const signature = signer.sign(data);
        expect(fromPublic(signer.publicKey).verify(data, signature)).toBe(true);
        expect(verifySignature(signer.publicKey, data, pair.sign(data))).toBe(true);
        expect(verifySignature(createUser().getPublicKey(), data, signature)).toBe(false);
      }),
      { numRuns: 20 },
    );
  });

  it("verify no signature with a bit flipped, of another length, or over other data", () => {
    const signer = signerOf("u", createUser().getSeed());
    const data = Buffer.from("what was signed");
    const signature = signer.sign(data);
    for (let bit = 0; bit < signature.length * 8; bit++) {
      expect(verifySignature(signer.publicKey, data, flipped(signature, bit)), `bit ${bit}`).toBe(false);
    }
    for (let bit = 0; bit < data.length * 8; bit++) {
      expect(verifySignature(signer.publicKey, flipped(data, bit), signature), `bit ${bit}`).toBe(false);
    }
    expect(verifySignature(signer.publicKey, data, signature.subarray(1))).toBe(false);
    expect(verifySignature(signer.publicKey, data, new Uint8Array(0))).toBe(false);
  });

  it("are refused with any letter changed, and never quoted", () => {
    const pair = createUser();
    const text = new TextDecoder().decode(pair.getSeed());
    for (let at = 0; at < text.length; at++) {
      const changed = `${text.slice(0, at)}${text[at] === "Q" ? "R" : "Q"}${text.slice(at + 1)}`;
      // The two lowest bits of the last letter carry nothing.
      if (at === text.length - 1) continue;
      expect(() => signerOf("u", Buffer.from(changed)), `letter ${at}`).toThrow(
        /^that is not the seed of a user nkey$/,
      );
    }
    const garbage = ["", "SU", text.toLowerCase(), `${text}A`, pair.getPublicKey(), "!".repeat(58)];
    for (const each of garbage) expect(() => signerOf("u", Buffer.from(each)), each).toThrow(/not the seed/);
    for (const each of garbage.filter((one) => one !== pair.getPublicKey())) {
      expect(verifySignature(each, Buffer.from("x"), Buffer.alloc(64)), each).toBe(false);
    }
  });

  it("show no seed when a signer is printed", () => {
    const seed = createUser().getSeed();
    const shown = inspect(signerOf("u", seed), { depth: 9, showHidden: true });
    expect(shown).not.toContain(new TextDecoder().decode(seed));
    expect(shown).not.toContain(decodeUserSeed(seed).toString("hex").slice(0, 16));
    expect(shown).toContain("publicKey");
  });
});

describe("Secret", () => {
  const CANARY = "sk-canary-3141592653589793";

  it("shows itself redacted, however it is printed", () => {
    const secret = Secret.fromUtf8(CANARY);
    const held = { secret, list: [secret], map: new Map([["key", secret]]) };
    const shown = [
      String(secret),
      `${secret}`,
      JSON.stringify(held),
      inspect(held, { depth: 9, showHidden: true }),
      inspect(secret),
      inspect(new Error("failed", { cause: secret }), { showHidden: true }),
      Object.keys(secret).join(),
      JSON.stringify(structuredClone({ ...secret })),
    ];
    for (const text of shown) expect(text).not.toMatch(/canary|73 6b 2d|c2st/);
    expect(shown[0]).toBe("[redacted]");
    expect(shown[2]).toBe('{"secret":"[redacted]","list":["[redacted]"],"map":{}}');
    expect(shown[3]).toContain("Secret [redacted]");
  });

  it("owns the bytes that it was given, and overwrites them", () => {
    const given = Buffer.from(CANARY);
    const secret = new Secret(given);
    expect(secret.use((read) => read.toString())).toBe(CANARY);
    secret.wipe();
    expect(given.every((byte) => byte === 0)).toBe(true);
    expect(secret.wiped).toBe(true);
    expect(secret.length).toBe(CANARY.length);
    expect(() => secret.use(() => "read")).toThrow(expect.objectContaining({ code: "INVALID" }));
    expect(() => secret.copy()).toThrow(expect.objectContaining({ code: "INVALID" }));
    secret.wipe();
  });

  it("copies what outlives the original", () => {
    const secret = Secret.fromUtf8(CANARY);
    const copy = secret.copy();
    secret.wipe();
    expect(copy.use((read) => read.toString())).toBe(CANARY);
  });

  it("keeps any text, in memory of its own", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        const secret = Secret.fromUtf8(text);
        expect(secret.use((read) => read.toString())).toBe(Buffer.from(text).toString());
        expect(secret.use((read) => read.buffer.byteLength)).toBe(secret.length);
      }),
    );
  });
});
