import { Decoder, decode as independentDecode, encode as independentEncode } from "@msgpack/msgpack";
import fc from "fast-check";
import { isNativeAccelerationEnabled } from "msgpackr";
import { describe, expect, test } from "vitest";
import { decode, encode } from "../../../src/bus/codec/codec.ts";
import { MAX_ENCODED_BYTES } from "../../../src/bus/codec/plain.ts";
import { scanMsgpack } from "../../../src/bus/codec/scan.ts";
import { MAX_DEPTH, MAX_VALUES } from "../../../src/protocols/limits.ts";
import { rounds } from "../../support/rounds.ts";
import { HOSTILE } from "./hostile.ts";
import { codeOf, common, hex, largeInteger, lossless, mutated, nested } from "./values.ts";

describe("encode and decode", () => {
  test("give back every value that can be encoded", () => {
    fc.assert(
      fc.property(lossless, (value) => {
        expect(decode(encode(value))).toEqual(value);
      }),
      { numRuns: rounds(150, 500) },
    );
  });

  test("write what an independent library reads", () => {
    fc.assert(
      fc.property(common, (value) => {
        expect(independentDecode(encode(value))).toEqual(value);
      }),
      { numRuns: rounds(150, 500) },
    );
    fc.assert(
      fc.property(largeInteger(), (value) => {
        expect(new Decoder({ useBigInt64: true }).decode(encode([value]))).toEqual([value]);
      }),
    );
  });

  test("read what an independent library writes", () => {
    fc.assert(
      fc.property(common, (value) => {
        expect(decode(independentEncode(value))).toEqual(value);
      }),
      { numRuns: rounds(150, 500) },
    );
  });

  // Of the 64-bit forms msgpackr takes the signed one as long as it holds the value.
  test("write integers as integers and in the shortest form", () => {
    const forms: [number | bigint, string][] = [
      [0, "00"],
      [0x7f, "7f"],
      [0x80, "cc80"],
      [0x100, "cd0100"],
      [0x1_0000, "ce00010000"],
      [1_760_000_000_000, "d300000199c82cc000"],
      [Number.MAX_SAFE_INTEGER, "d3001fffffffffffff"],
      [2 ** 53, "d30020000000000000"],
      [0x8000_0000_0000_0000n, "cf8000000000000000"],
      [0xffff_ffff_ffff_ffffn, "cfffffffffffffffff"],
      [-0x20, "e0"],
      [-0x21, "d0df"],
      [-0x81, "d1ff7f"],
      [-0x8001, "d2ffff7fff"],
      [-0x8000_0001, "d3ffffffff7fffffff"],
      [-0x8000_0000_0000_0000n, "d38000000000000000"],
      [5n, "05"],
    ];
    for (const [value, form] of forms) expect(Buffer.from(encode(value)).toString("hex")).toBe(form);
  });

  test("keep 64-bit integers exact and turn them into numbers where that is exact", () => {
    expect(decode(hex("cf 00 1f ff ff ff ff ff ff"))).toBe(Number.MAX_SAFE_INTEGER);
    expect(decode(hex("cf 00 20 00 00 00 00 00 00"))).toBe(2 ** 53);
    expect(decode(hex("cf 00 20 00 00 00 00 00 01"))).toBe(2n ** 53n + 1n);
    expect(decode(hex("d3 ff df ff ff ff ff ff ff"))).toBe(-(2n ** 53n) - 1n);
    expect(decode(hex("d3 ff ff ff ff ff ff ff ff"))).toBe(-1);
  });

  test("leave out undefined map values and write nil for undefined elsewhere", () => {
    expect(decode(encode({ a: undefined, b: [undefined], c: 1 }))).toEqual({ b: [null], c: 1 });
    const many = Object.fromEntries(Array.from({ length: 70_000 }, (_, i) => [`k${i}`, i % 2 === 0 ? i : undefined]));
    expect(Object.keys(decode(encode(many)) as object)).toHaveLength(35_000);
    expect(independentDecode(encode({ a: undefined, b: 1 }))).toEqual({ b: 1 });
    expect(decode(encode(undefined))).toBeNull();
  });

  // msgpackr takes the longest form from 2106 on, where the format would have the second one until 2514.
  test("write timestamps in all three forms, and read their nanoseconds as milliseconds", () => {
    for (const [iso, bytes] of [
      ["2026-01-02T03:04:05.000Z", 6],
      ["2026-01-02T03:04:05.678Z", 10],
      ["1969-12-31T23:59:59.999Z", 15],
      ["2400-01-01T00:00:00.000Z", 15],
      ["+010000-01-01T00:00:00.000Z", 15],
    ] as const) {
      const date = new Date(iso);
      const encoded = encode(date);
      expect(encoded).toHaveLength(bytes);
      expect(decode(encoded)).toEqual(date);
      expect(independentDecode(encoded)).toEqual(date);
    }
    expect(decode(hex("d7 ff ee 6b 27 fc 00 00 00 00"))).toEqual(new Date(999));
  });

  // Without its native part msgpackr decodes text of more than 64 bytes with a TextDecoder that drops the mark.
  test("keep a byte order mark at the start of text", () => {
    for (const rest of ["", "x".repeat(61), "x".repeat(62), "x".repeat(300)]) {
      const text = `\uFEFF${rest}`;
      const kept = isNativeAccelerationEnabled || rest.length < 62;
      expect(decode(encode({ a: text }))).toEqual({ a: kept ? text : rest });
      expect(independentDecode(encode(text), { mapKeyConverter: String })).toBe(text.length > 200 ? rest : text);
    }
  });

  test("write lone surrogates as U+FFFD, so that the text is valid UTF-8", () => {
    for (const filler of ["", "x".repeat(100)]) {
      expect(decode(encode(`\ud800${filler}`))).toBe(`\ufffd${filler}`);
      expect(independentDecode(encode(`\udfff${filler}`))).toBe(`\ufffd${filler}`);
      expect(decode(encode({ a: 1, [`\ud800${filler}`]: 2, b: 3 }))).toEqual({ a: 1, [`\ufffd${filler}`]: 2, b: 3 });
    }
  });

  test("write no key twice where lone surrogates are all that tells keys apart", () => {
    const twins = { a: 1, "\ud800": [2], "\ud801": { b: 3, c: undefined }, "\uFFFD": 4, "\ud802": undefined };
    expect(encode([twins, { ...twins }])).toEqual(
      encode([
        { a: 1, "\uFFFD": 4 },
        { a: 1, "\uFFFD": 4 },
      ]),
    );
    expect(encode({ "\ud800": 1, a: 2 })).toEqual(encode({ "\uFFFD": 1, a: 2 }));
  });

  test("give bytes that later encodings do not touch", () => {
    const kept = Array.from({ length: 2_000 }, (_, i) => ({ i, bytes: encode({ i, text: "x".repeat(i % 300) }) }));
    encode("y".repeat(100_000));
    for (const { i, bytes } of kept) expect(decode(bytes)).toEqual({ i, text: "x".repeat(i % 300) });
  });

  test("do not keep a large message's memory for the small ones after it", () => {
    encode("y".repeat(1_000_000));
    expect(encode("small").buffer.byteLength).toBeLessThan(100_000);
  });

  test.each([3, 300_000])("survive a getter that encodes something of %i bytes itself", (size) => {
    const inner = new Uint8Array(size).fill(7);
    const value = {
      before: "b",
      get inner(): Uint8Array {
        return encode({ deep: inner });
      },
      after: ["a", new Date(0)],
    };
    const kept = encode(value);
    expect(decode(kept)).toEqual({ before: "b", inner: encode({ deep: inner }), after: ["a", new Date(0)] });
    encode(value);
    expect(kept).toEqual(encode(value));
  });

  test("leave the value that is encoded as it was", () => {
    const value = Object.freeze({
      list: Object.freeze([1_760_000_000_000, 5n, "\ud800", undefined]),
      absent: undefined,
      map: Object.freeze({ at: 1_760_000_000_000, "\ud800": 1 }),
    });
    const decoded = { list: [1_760_000_000_000, 5, "\ufffd", null], map: { at: 1_760_000_000_000, "\ufffd": 1 } };
    expect(decode(encode(value))).toEqual(decoded);
    expect(Object.keys(value)).toEqual(["list", "absent", "map"]);
  });
});

describe("encode", () => {
  const cycle: Record<string, unknown> = { name: "cycle" };
  cycle["self"] = cycle;
  class Custom {
    readonly field = 1;
  }
  const refused: Record<string, unknown> = {
    function: () => 1,
    symbol: Symbol("s"),
    cycle,
    "class instance": new Custom(),
    Map: new Map([["a", 1]]),
    Set: new Set([1]),
    Error: new Error("x"),
    RegExp: /x/,
    promise: Promise.resolve(1),
    "typed array": new Float64Array(2),
    "boxed number": Object(1),
    "invalid date": new Date(Number.NaN),
    "integer of 65 bits": 2n ** 64n,
    "negative integer of 65 bits": -(2n ** 63n) - 1n,
    "too deep": nested(MAX_DEPTH + 1),
    "sparse array of a billion": new Array(1_000_000_000),
    "more values than allowed, spread": Array.from({ length: 1_001 }, () => new Array(MAX_VALUES / 1_000).fill(0)),
    "a text of 1 MiB a hundred times": new Array(100).fill("x".repeat(1_048_576)),
    "binary of 1 MiB a hundred times": new Array(100).fill(new Uint8Array(1_048_576)),
    "text that only its bytes make too large": "\u20ac".repeat(MAX_ENCODED_BYTES / 2),
    "text too large": "x".repeat(MAX_ENCODED_BYTES + 1),
    "throwing getter": {
      get broken(): never {
        throw new TypeError("no");
      },
    },
    "revoked proxy": revokedProxy(),
  };

  test.each(Object.keys(refused))("refuses with INVALID_OUTPUT: %s", (name) => {
    expect(codeOf(() => encode(refused[name]))).toBe("INVALID_OUTPUT");
    expect(codeOf(() => encode({ list: [refused[name]] }))).toBe("INVALID_OUTPUT");
    expect(decode(encode("still works"))).toBe("still works");
  });

  test("names the place of what it refuses", () => {
    expect(() => encode({ a: [1, { b: () => 1 }] })).toThrow("value.a[1].b is a function");
    expect(() => encode({ a: [], b: new Map() })).toThrow("value.b is an instance of Map");
    expect(() => encode(cycle)).toThrow("contains itself");
  });

  test("takes data whose keys are names of methods", () => {
    const value = { constructor: 1, toJSON: 2, hasOwnProperty: 3, toString: 4, length: 5 };
    expect(decode(encode(value))).toEqual(value);
    expect(decode(encode(Object.assign(Object.create(null), value)))).toEqual(value);
  });

  test("takes exactly MAX_DEPTH levels, as decode does", () => {
    expect(decode(encode(nested(MAX_DEPTH)))).toEqual(nested(MAX_DEPTH));
  });

  test("takes exactly MAX_VALUES values, as decode does", () => {
    const values = new Array(MAX_VALUES).fill(0);
    expect(decode(encode(values))).toHaveLength(MAX_VALUES);
    values.push(0);
    expect(() => encode(values)).toThrow(`more than ${MAX_VALUES} values`);
    const tooMany = Buffer.concat([hex("dd 00 03 0d 41"), new Uint8Array(MAX_VALUES + 1)]);
    expect(() => decode(tooMany)).toThrow(`more than ${MAX_VALUES} values`);
  });

  test("bounds what shared references grow to", () => {
    let value: unknown = "twice";
    for (let i = 0; i < 100; i++) value = [value, value];
    expect(codeOf(() => encode(value))).toBe("INVALID_OUTPUT");
  });
});

describe("decode (P9)", () => {
  test.each(Object.keys(HOSTILE))("refuses with INVALID, as the scan does: %s", (name) => {
    const bytes = HOSTILE[name] as Uint8Array;
    expect(codeOf(() => decode(bytes))).toBe("INVALID");
    expect(codeOf(() => scanMsgpack(bytes))).toBe("INVALID");
  });

  test("ends in a value or in INVALID for any bytes, and the scan agrees", () => {
    const bytes = fc.oneof(fc.uint8Array({ maxLength: 200 }), mutated(lossless.map((value) => encode(value))));
    fc.assert(
      fc.property(bytes, (message) => {
        const verdict = codeOf(() => decode(message));
        expect(["none", "INVALID"]).toContain(verdict);
        expect(codeOf(() => scanMsgpack(message))).toBe(verdict);
      }),
      { numRuns: rounds(1_000, 3_000) },
    );
  });

  test("refuses every message that is cut off at any byte, and every message with a byte too many", () => {
    fc.assert(
      fc.property(lossless, (value) => {
        const bytes = encode(value);
        fc.pre(bytes.length < 2_000);
        const cuts = Array.from(bytes.keys(), (end) => codeOf(() => decode(bytes.subarray(0, end))));
        expect(cuts.every((verdict) => verdict === "INVALID")).toBe(true);
        expect(codeOf(() => decode(Buffer.concat([bytes, hex("c0")])))).toBe("INVALID");
        expect(codeOf(() => scanMsgpack(bytes))).toBe("none");
      }),
      { numRuns: rounds(20, 50) },
    );
  });

  test("refuses a container by its declared count, before its elements", () => {
    expect(() => decode(hex("dd ff ff ff ff 01"))).toThrow("array of 4294967295 declared, 1 bytes are left");
    expect(() => decode(hex("de 00 02 a1 61 01"))).toThrow("map of 2 declared, 3 bytes are left");
  });

  test("lets no key reach a prototype", () => {
    const value = decode(hex("82 a9 5f5f70726f746f5f5f 81 a8 706f6c6c75746564 c3 a1 61 01")) as object;
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
    expect(value).toEqual({ __proto_: { polluted: true }, a: 1 });
    expect("polluted" in {}).toBe(false);
    const own = JSON.parse('{"__proto__": {"polluted": 1760000000000}, "at": 1760000000000}') as object;
    expect(decode(encode(own))).toEqual({ __proto_: { polluted: 1_760_000_000_000 }, at: 1_760_000_000_000 });
    expect(decode(encode({ ...own, absent: undefined }))).toEqual(decode(encode(own)));
    // The same key in the long forms of text, which take another path.
    expect(decode(hex("81 d9 09 5f5f70726f746f5f5f 80"))).toEqual({ __proto_: {} });
  });

  test("makes text of keys that are numbers, booleans or nil", () => {
    expect(
      decode(hex("86 01 a1 61 ff a1 62 c3 a1 63 c0 a1 64 cb 3f f8 00 00 00 00 00 00 a1 65 cd 01 00 a1 66")),
    ).toEqual({
      "1": "a",
      "-1": "b",
      true: "c",
      null: "d",
      "1.5": "e",
      "256": "f",
    });
  });

  test("replaces invalid UTF-8, in text and in keys, long and short", () => {
    for (const length of [2, 31, 100]) {
      const text = Buffer.concat([hex("d9"), Uint8Array.of(length), Buffer.alloc(length, 0xff)]);
      expect(decode(text)).toBe("\ufffd".repeat(length));
      expect(decode(Buffer.concat([hex("81"), text, hex("01")]))).toEqual({ ["\ufffd".repeat(length)]: 1 });
    }
    expect(decode(hex("a3 ed a0 80"))).toMatch(/^\ufffd+$/);
  });

  test("keeps keys apart that share a slot of msgpackr's key cache", () => {
    // Same length and first two bytes, in messages short enough for the cache.
    const keys = Array.from({ length: 200 }, (_, i) => `kk${i % 2}mmmm${String(i).padStart(3, "0")}`);
    for (let round = 0; round < 3; round++) {
      for (const [i, name] of keys.entries()) expect(decode(encode({ [name]: i }))).toEqual({ [name]: i });
    }
    const value = Object.fromEntries(keys.map((name, i) => [name, i]));
    expect(decode(encode(value))).toEqual(value);
  });

  test("gives binary as a view on the message", () => {
    const bytes = encode({ bin: Uint8Array.of(1, 2, 3) });
    const { bin } = decode(bytes) as { bin: Uint8Array };
    expect(bin.buffer).toBe(bytes.buffer);
    expect(bin).toStrictEqual(Uint8Array.of(1, 2, 3));
    expect(decode(Buffer.from(bytes))).toStrictEqual({ bin: Uint8Array.of(1, 2, 3) });
  });
});

function revokedProxy(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}
