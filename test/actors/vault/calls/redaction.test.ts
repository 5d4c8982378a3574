import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Redactor } from "../../../../src/actors/vault/calls/redaction.ts";
import { rounds } from "../../../support/rounds.ts";

const KEY = 'sk-test/+"7Gq\\x0Zé';
const bytes = Buffer.from(KEY);

/** What comes out when `pieces` go in one after the other. */
function through(key: Buffer, pieces: readonly Buffer[]): Buffer {
  const redactor = new Redactor(key);
  const out = pieces.map((piece) => Buffer.from(redactor.push(Buffer.from(piece))));
  return Buffer.concat([...out, redactor.end()]);
}

/** The same by the definition: every byte that lies in an occurrence is a star. */
function byDefinition(key: Buffer, text: Buffer): Buffer {
  const masked = Buffer.from(text);
  for (let at = 0; at + key.length <= text.length; at++)
    if (text.subarray(at, at + key.length).equals(key)) masked.fill("*", at, at + key.length);
  return masked;
}

describe("redaction", () => {
  it("finds the key wherever the pieces are cut", () => {
    const text = Buffer.concat([
      Buffer.from("before sk-sk-te "),
      bytes,
      Buffer.from(" between "),
      bytes,
      bytes,
      Buffer.from("after s"),
    ]);
    const expected = byDefinition(bytes, text);
    expect(expected.toString()).toContain(`between ${"*".repeat(2 * bytes.length)}after s`);
    for (let first = 0; first <= text.length; first++)
      for (let second = first; second <= text.length; second++) {
        const pieces = [text.subarray(0, first), text.subarray(first, second), text.subarray(second)];
        const out = through(bytes, pieces);
        if (!out.equals(expected))
          expect({ first, second, out: out.toString() }).toEqual({ expected: expected.toString() });
      }
    expect(
      through(
        bytes,
        [...text].map((byte) => Buffer.from([byte])),
      ),
    ).toEqual(expected);
  });

  it("does as its definition says for any key, text and cuts", () => {
    // A small alphabet, so that keys overlap with themselves and with their own beginnings.
    const letters = fc.array(fc.constantFrom(0x61, 0x62, 0x63), { minLength: 1, maxLength: 7 });
    fc.assert(
      fc.property(letters, fc.array(fc.oneof(letters, fc.constant(undefined)), { maxLength: 30 }), (key, parts) => {
        const secret = Buffer.from(key);
        const pieces = parts.map((part) => (part === undefined ? secret : Buffer.from(part)));
        expect(through(secret, pieces)).toEqual(byDefinition(secret, Buffer.concat(pieces)));
      }),
      { numRuns: rounds(700, 2_000) },
    );
  });

  const spellings: [name: string, text: string][] = [
    ["base64", bytes.toString("base64").replace(/=+$/, "")],
    ["base64url", bytes.toString("base64url")],
    ["hex", bytes.toString("hex")],
    ["capital hex", bytes.toString("hex").toUpperCase()],
    ["URL-encoded", encodeURIComponent(KEY)],
    ["JSON", JSON.stringify(KEY).slice(1, -1)],
  ];
  it.each(spellings)("finds the key's %s form, byte by byte too", (_name, text) => {
    // The last characters of base64 hold bits of what follows the key; they are not masked, and tell at most five bits.
    for (const pieces of [[Buffer.from(`<${text}>`)], [...`<${text}>`].map((char) => Buffer.from(char))]) {
      const out = through(bytes, pieces).toString("latin1");
      expect(out).toMatch(/^<\*+[A-Za-z0-9+/_-]?>$/);
      expect(out).toHaveLength(Buffer.byteLength(text) + 2);
    }
  });

  it("finds the key within longer base64, at each place in a group", () => {
    for (const before of ["", "u", "us", "user:", "Bearer "]) {
      const encoded = Buffer.from(`${before}${KEY}, and more`).toString("base64");
      const out = through(bytes, [Buffer.from(encoded)]).toString();
      expect(out).toMatch(/\*{20,}/);
      const told = Buffer.from(out.replaceAll("*", "A"), "base64").toString("latin1");
      // At most the bits of one byte at either end are left.
      expect(told).not.toContain(KEY.slice(1, 5));
    }
  });

  it("holds back only what may be the beginning of the key", () => {
    const redactor = new Redactor(bytes);
    expect(redactor.push(Buffer.from("data: hello\n\n")).toString()).toBe("data: hello\n\n");
    expect(redactor.push(Buffer.from("data: sk-te")).toString()).toBe("data: ");
    expect(redactor.push(Buffer.from("a")).toString()).toBe("sk-tea");
    expect(redactor.end()).toHaveLength(0);
  });

  it("masks what was whole in what it held back", () => {
    // "bcb" is the key; the second half of it begins another one that never comes.
    expect(through(Buffer.from("bcb"), [Buffer.from("abcb"), Buffer.from("c")]).toString()).toBe("a***c");
    expect(through(Buffer.from("bcb"), [Buffer.from("abcb")]).toString()).toBe("a***");
  });

  it("takes the longest key that there can be", () => {
    const long = Buffer.alloc(4_096, "k");
    const text = Buffer.concat([Buffer.from("x"), long, Buffer.from("y")]);
    expect(through(long, [text.subarray(0, 2_000), text.subarray(2_000)]).toString()).toBe(`x${"*".repeat(4_096)}y`);
  });
});
