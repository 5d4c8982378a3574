import { createHash, createHmac } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { TrailEntry } from "../../../../src/actors/vault/trail/entry.ts";
import { firstKey, nextKey } from "../../../../src/actors/vault/trail/epoch-key.ts";
import { decodeLine, digestOf, encodeLine, hasMac, MAX_LINE_BYTES } from "../../../../src/actors/vault/trail/line.ts";
import { Secret } from "../../../../src/bus/sealed/secret.ts";
import { rounds } from "../../../support/rounds.ts";
import { entryOf, SEED_BYTES, seed } from "./trails.ts";

const place = { seq: 7, at: 1_700_000_000_000, epoch: 2, prev: "p".repeat(43) };
const withoutEnd = (bytes: Buffer): Buffer => bytes.subarray(0, -1);

const anyText = fc.string({ unit: "binary", maxLength: 12_000 });
const anyEntry: fc.Arbitrary<TrailEntry> = fc.record(
  {
    op: fc.constantFrom("lease", "unknown", "epoch"),
    outcome: fc.constantFrom("ok", "refused", "failed"),
    who: fc.record({ user: anyText, role: anyText, host: anyText }),
    why: anyText,
    provider: anyText,
    key: anyText,
    version: fc.nat(),
    task: fc.record({ pool: anyText, kind: anyText, id: anyText, attempt: fc.nat(), agent: anyText }),
    usage: fc.record({ leases: fc.nat(), costNanoUsd: fc.nat() }, { requiredKeys: [] }),
    // Names of facts are the vault's own, so that none is `__proto__`, which readers leave out.
    detail: fc.dictionary(
      anyText.filter((name) => name !== "__proto__"),
      fc.oneof(anyText, fc.nat(), fc.boolean()),
      { maxKeys: 50 },
    ),
  },
  { requiredKeys: ["op", "outcome"] },
) as fc.Arbitrary<TrailEntry>;

describe("a line of the trail", () => {
  test("is JSON with its place at both ends, and a MAC that anybody with the key can compute", () => {
    const { bytes, mac, digest } = encodeLine(entryOf(1), place, seed());
    const text = withoutEnd(bytes).toString();
    expect(text).toMatch(/^\{"seq":7,"at":1700000000000,"epoch":2,"op":"lease",.*,"prev":"p{43}","mac":"[\w-]{43}"\}$/);
    const signed = text.replace(/,"mac":"[\w-]{43}"/, "");
    expect(mac).toBe(createHmac("sha256", SEED_BYTES).update(signed).digest("base64url"));
    expect(digest).toBe(createHash("sha256").update(text).digest("base64url"));
    expect(decodeLine(withoutEnd(bytes))).toEqual({ ...entryOf(1), ...place, mac });
  });

  test("is bounded, and what it holds is what was answered, whatever the entry holds", () => {
    fc.assert(
      fc.property(anyEntry, (entry) => {
        const { bytes, record, digest } = encodeLine(entry, place, seed());
        expect(bytes.length).toBeLessThanOrEqual(MAX_LINE_BYTES);
        // One line: neither an end nor a hole within.
        expect(bytes.indexOf(0x0a)).toBe(bytes.length - 1);
        expect(bytes.includes(0)).toBe(false);
        const line = withoutEnd(bytes);
        expect(decodeLine(line)).toMatchObject(JSON.parse(JSON.stringify(record)));
        expect(hasMac(line, seed())).toBe(true);
        expect(digestOf(line)).toBe(digest);
      }),
      { numRuns: rounds(50, 150) },
    );
  });

  test("does not open with a single bit changed, nor under another key", () => {
    const line = withoutEnd(encodeLine(entryOf(1), place, seed()).bytes);
    expect(hasMac(line, seed())).toBe(true);
    for (let bit = 0; bit < line.length * 8; bit++) {
      const flipped = Buffer.from(line);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(hasMac(flipped, seed())).toBe(false);
    }
    expect(hasMac(line, new Secret(Buffer.alloc(32, 8)))).toBe(false);
  });

  test("is bounded also where every character takes six bytes", () => {
    const zeros = (length: number) => "\0".repeat(length);
    for (const length of [60, 400, 1_900, 20_000]) {
      const [user, role, host] = [zeros(length), zeros(length), zeros(length)];
      const worst: TrailEntry = {
        ...entryOf(1),
        who: { user, role, host },
        why: zeros(length),
        provider: zeros(length),
        key: zeros(length),
        task: { pool: zeros(length), kind: zeros(length), id: zeros(length), attempt: 1, agent: zeros(length) },
        detail: Object.fromEntries(Array.from({ length: 40 }, (_, n) => [`${zeros(length)}${n}`, zeros(length)])),
      };
      const { bytes, record } = encodeLine(worst, place, seed());
      expect(bytes.length).toBeLessThanOrEqual(MAX_LINE_BYTES);
      expect(decodeLine(withoutEnd(bytes))).toMatchObject({ ...record });
    }
  });

  test("clips what is long and keeps the rest", () => {
    const { record } = encodeLine({ ...entryOf(1), why: "w".repeat(9_000) }, place, seed());
    expect(record.why).toMatch(/^w{1999}…$/);
    expect(record).toMatchObject({ ...entryOf(1) });
  });
});

describe("the keys of epochs", () => {
  test("follow from each other, forward only", () => {
    const seen = new Set<string>();
    let key = firstKey(seed());
    for (let epoch = 0; epoch < 50; epoch++) {
      expect(key.epoch).toBe(epoch);
      seen.add(key.key.use((bytes) => bytes.toString("hex")));
      key = nextKey(key);
    }
    expect(seen.size).toBe(50);
    expect(() => firstKey(new Secret(Buffer.alloc(16)))).toThrow(/32 bytes/);
  });
});
