import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  askReply,
  fingerprintText,
  helloRequest,
  type JoinFacts,
  MAX_JOIN_BODY_BYTES,
  proofText,
  proveRequest,
  TOKEN_LINE,
} from "../../src/protocols/admission.ts";

const BYTES = "A".repeat(43);
const HELLO = {
  v: 1,
  user: "n".repeat(64),
  nkey: `U${"A".repeat(55)}`,
  role: "worker",
  commitment: BYTES,
  machine: "m",
};

describe("texts that are signed", () => {
  const part = fc.stringMatching(/^[A-Za-z0-9_-]{1,8}$/);
  const facts = fc.record({
    ...{ swarmId: part, pin: part, challenge: part, nonce: part, nkey: part, user: part, role: part },
  }) as fc.Arbitrary<JoinFacts>;

  test("are the same only for the same facts, and for the same purpose", () => {
    fc.assert(
      fc.property(part, facts, part, facts, (id, one, otherId, other) => {
        const same = id === otherId && JSON.stringify(Object.entries(one)) === JSON.stringify(Object.entries(other));
        expect(proofText(id, one) === proofText(otherId, other)).toBe(same);
        expect(proofText(id, one)).not.toBe(fingerprintText(other));
      }),
    );
  });
});

describe("messages", () => {
  test("fit into the largest body, at their largest", () => {
    const machine = "\u{1f600}".repeat(127);
    expect(helloRequest.safeParse({ ...HELLO, machine }).success).toBe(true);
    expect(Buffer.byteLength(JSON.stringify({ ...HELLO, machine }))).toBeLessThan(MAX_JOIN_BODY_BYTES);
    const token = { id: "a".repeat(10), publicKey: BYTES, signature: "A".repeat(86) };
    expect(proveRequest.safeParse({ v: 1, challenge: BYTES, nonce: BYTES, token }).success).toBe(true);
  });

  test("an answer is pending or admitted, with what it needs", () => {
    expect(askReply.safeParse({ v: 1, state: "pending", fingerprint: "k3xm-9dqp" }).success).toBe(true);
    expect(askReply.safeParse({ v: 1, state: "admitted" }).success).toBe(false);
    expect(askReply.safeParse({ v: 1, state: "refused" }).success).toBe(false);
  });

  test("a token's line is split by width, whatever hyphens its parts hold", () => {
    const [pin, secret] = ["-".repeat(43), `${"_-".repeat(21)}-`];
    const match = TOKEN_LINE.exec(`vgas1-abcdefghij-${pin}-klmnopqrst-${secret}-abc-_9`);
    expect(match?.slice(1)).toEqual(["abcdefghij", pin, "klmnopqrst", secret, "abc-_9"]);
  });
});
