import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  formatToken,
  newToken,
  parseToken,
  publicKeyHash,
  signProof,
  tokenPublicKey,
  verifyProof,
} from "../../src/admission/token.ts";

const SWARM = { swarmId: "abcdefghij", pin: "p".repeat(43) };
const FACTS = {
  ...SWARM,
  challenge: "c".repeat(43),
  nonce: "n".repeat(43),
  nkey: `U${"A".repeat(55)}`,
  user: "n1",
  role: "worker",
};

describe("a token's line", () => {
  test("reads back what was written, whatever its bytes are", () => {
    const bytes32 = fc
      .uint8Array({ minLength: 32, maxLength: 32 })
      .map((bytes) => Buffer.from(bytes).toString("base64url"));
    const id = fc.stringMatching(/^[a-z2-7]{10}$/);
    fc.assert(
      fc.property(id, bytes32, id, bytes32, (swarmId, pin, tokenId, secret) => {
        const token = { swarmId, pin, id: tokenId, secret };
        expect(parseToken(` ${formatToken(token)}\r\n`)).toEqual(token);
      }),
    );
  });

  test("that is cut short anywhere, or has one wrong character, is no token", () => {
    const line = formatToken(newToken(SWARM));
    for (let length = 0; length < line.length; length++) {
      expect(() => parseToken(line.slice(0, length))).toThrow(expect.objectContaining({ code: "TOKEN_INVALID" }));
    }
    for (let at = 0; at < line.length; at++) {
      const wrong = `${line.slice(0, at)}${line[at] === "a" ? "b" : "a"}${line.slice(at + 1)}`;
      expect(() => parseToken(wrong)).toThrow(expect.objectContaining({ code: "TOKEN_INVALID" }));
    }
    expect(() => parseToken(`${line}x`)).toThrow(expect.objectContaining({ code: "TOKEN_INVALID" }));
    expect(() => parseToken(line.slice(0, -1))).toThrow(/truncated or mistyped/);
  });

  test("is never quoted in an error", () => {
    const line = formatToken(newToken(SWARM));
    const { secret } = parseToken(line);
    const cut = line.slice(0, -3);
    expect(() => parseToken(cut)).toThrow(expect.not.objectContaining({ message: expect.stringContaining(secret) }));
  });
});

describe("a proof", () => {
  const token = newToken(SWARM);
  const publicKey = tokenPublicKey(token);
  const signature = signProof(token, FACTS);

  test("fits its token and its facts", () => {
    expect(verifyProof(token.id, publicKey, signature, FACTS)).toBe(true);
    expect(publicKeyHash(publicKey)).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect(signature).not.toContain(token.secret);
  });

  test.each(["swarmId", "pin", "challenge", "nonce", "nkey", "user", "role"] as const)("fits no other %s", (field) => {
    const other = { ...FACTS, [field]: `${FACTS[field].slice(0, -1)}z` };
    expect(verifyProof(token.id, publicKey, signature, other)).toBe(false);
  });

  test("fits no other token, key or signature", () => {
    const other = newToken(SWARM);
    expect(verifyProof(other.id, publicKey, signature, FACTS)).toBe(false);
    expect(verifyProof(token.id, tokenPublicKey(other), signature, FACTS)).toBe(false);
    expect(verifyProof(token.id, publicKey, signProof(other, FACTS), FACTS)).toBe(false);
    expect(verifyProof(token.id, "_".repeat(43), signature, FACTS)).toBe(false);
  });
});
