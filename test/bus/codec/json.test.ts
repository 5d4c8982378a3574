import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decode, encode } from "../../../src/bus/codec/codec.ts";
import { decodeJson, encodeJson, isJson } from "../../../src/bus/codec/json.ts";
import { MAX_DEPTH } from "../../../src/protocols/limits.ts";
import { rounds } from "../../support/rounds.ts";
import { codeOf, common, largeInteger, lossless, mutated, nested, utf8 } from "./values.ts";

const textOf = (value: unknown): string => Buffer.from(encodeJson(value)).toString("utf8");

/** JSON without what is deliberately not taken or written as JSON.parse and JSON.stringify do. */
const json = fc.jsonValue().filter((value) => {
  let plain = true;
  JSON.stringify(value, (key, part: unknown) => {
    const large = typeof part === "number" && Number.isInteger(part) && !Number.isSafeInteger(part);
    if (large || key === "__proto__") plain = false;
    return part;
  });
  return plain;
});

describe("isJson", () => {
  test("goes by the first byte after white space and a byte order mark", () => {
    for (const text of ["{}", "[", " \n\t\r{", "\uFEFF{", " \uFEFF\n["]) expect(isJson(utf8(text))).toBe(true);
    for (const text of ["", "   ", "1", '"text"', "\uFEFF", "null"]) expect(isJson(utf8(text))).toBe(false);
  });

  test("never takes msgpack maps and arrays for JSON", () => {
    fc.assert(
      fc.property(fc.oneof(fc.array(common), fc.dictionary(fc.string(), common)), (value) => {
        expect(isJson(encode(value))).toBe(false);
      }),
    );
  });
});

describe("decodeJson", () => {
  test("reads all JSON, however it is laid out", () => {
    fc.assert(
      fc.property(json, fc.constantFrom("", " ", "\t", "\n  "), fc.boolean(), (value, indent, mark) => {
        const text = `${mark ? "\uFEFF" : ""} ${JSON.stringify([value], null, indent)}\n`;
        expect(decodeJson(utf8(text))).toEqual(JSON.parse(JSON.stringify([value])));
      }),
      { numRuns: rounds(150, 500) },
    );
  });

  test("ends in a value or in INVALID for any bytes (P9)", () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 100 }),
      fc.string({ unit: fc.constantFrom(...'{}[]",:\\u0012e-+. \n'), maxLength: 60 }).map(utf8),
      mutated(json.map((value) => utf8(JSON.stringify([value])))),
    );
    fc.assert(
      fc.property(bytes, (message) => {
        expect(["none", "INVALID"]).toContain(codeOf(() => decodeJson(message)));
      }),
      { numRuns: rounds(1_000, 3_000) },
    );
  });

  test("refuses what is cut off at any byte", () => {
    const bytes = utf8('{"a":[1,{"b":"\\"]}"}],"c":12345678901234567890}');
    for (let end = 0; end < bytes.length; end++)
      expect(codeOf(() => decodeJson(bytes.subarray(0, end)))).toBe("INVALID");
    expect(codeOf(() => decodeJson(bytes))).toBe("none");
  });

  test("refuses more than MAX_DEPTH levels before parsing, and takes exactly that many", () => {
    expect(decodeJson(utf8(JSON.stringify(nested(MAX_DEPTH))))).toEqual(nested(MAX_DEPTH));
    expect(codeOf(() => decodeJson(utf8(JSON.stringify(nested(MAX_DEPTH + 1)))))).toBe("INVALID");
    expect(codeOf(() => decodeJson(utf8('{"a":'.repeat(10_000))))).toBe("INVALID");
    expect(codeOf(() => decodeJson(utf8("[".repeat(900_000))))).toBe("INVALID");
    // Brackets in text are not nesting.
    expect(decodeJson(utf8(JSON.stringify(["[".repeat(1_000), '"[['])))).toEqual(["[".repeat(1_000), '"[[']);
  });

  test("keeps integers of 64 bits exact", () => {
    fc.assert(
      fc.property(largeInteger(), (value) => {
        const text = `{"n": ${value}, "list": [1, ${value}, "${value}", {"x":${value}}], "n2": -1.5e3}`;
        expect(decodeJson(utf8(text))).toEqual({ n: value, list: [1, value, `${value}`, { x: value }], n2: -1_500 });
      }),
    );
    expect(decodeJson(utf8("[9007199254740991, 1234567890.1234567, 18446744073709551616, 1e300]"))).toEqual([
      9_007_199_254_740_991,
      1_234_567_890.123_456_7,
      2 ** 64,
      1e300,
    ]);
  });

  test("takes the last of duplicate keys", () => {
    expect(decodeJson(utf8('{"a": 1, "a": 2, "b": 9007199254740993, "b": 3}'))).toEqual({ a: 2, b: 3 });
  });

  test("lets no key reach a prototype, however it is spelled", () => {
    for (const spelling of [
      "__proto__",
      "\\u005f_proto__",
      "__\\u0070roto__",
      "__p\\u0072oto__",
      "__pr\\u006Fto__",
      "__pro\\u0074o__",
    ]) {
      const value = decodeJson(utf8(`{"list": [{"${spelling}": {"polluted": true, "n": 9007199254740993}}]}`));
      expect(value).toEqual({ list: [{ __proto_: { polluted: true, n: 9_007_199_254_740_993n } }] });
    }
    expect("polluted" in {}).toBe(false);
  });

  test("replaces invalid UTF-8", () => {
    expect(decodeJson(Buffer.concat([utf8('["a'), Uint8Array.of(0xff, 0xc0), utf8('b"]')]))).toEqual([
      "a\ufffd\ufffdb",
    ]);
  });
});

describe("encodeJson", () => {
  test("writes plain JSON values as JSON.stringify does", () => {
    fc.assert(
      fc.property(json, (value) => {
        expect(textOf(value)).toBe(JSON.stringify(value));
      }),
      { numRuns: rounds(150, 500) },
    );
  });

  test("writes JSON for everything that msgpack takes", () => {
    fc.assert(
      fc.property(lossless, (value) => {
        const mirrored: unknown = JSON.parse(textOf(value));
        expect(mirrored).toEqual(JSON.parse(textOf(decode(encode(value)))));
      }),
      { numRuns: rounds(150, 500) },
    );
  });

  test("writes binary as base64, dates as ISO 8601, integers beyond 2^53 as strings, NaN as null", () => {
    expect(textOf({ bin: Uint8Array.of(1, 2, 255), date: new Date(0) })).toBe(
      '{"bin":"AQL/","date":"1970-01-01T00:00:00.000Z"}',
    );
    expect(textOf([5n, 2n ** 53n, -(2n ** 63n), 2 ** 60, Number.MAX_SAFE_INTEGER])).toBe(
      '[5,"9007199254740992","-9223372036854775808","1152921504606846976",9007199254740991]',
    );
    expect(textOf([Number.NaN, Number.POSITIVE_INFINITY, undefined, 1e300])).toBe("[null,null,null,1e+300]");
    expect(textOf({ a: undefined, b: 1, c: undefined })).toBe('{"b":1}');
    expect(textOf({ a: undefined })).toBe("{}");
    expect(textOf(Buffer.from("view of a pool").subarray(0, 4))).toBe('"dmlldw=="');
  });

  test("refuses with INVALID_OUTPUT what encode refuses, and names the place", () => {
    for (const value of [
      () => 1,
      Symbol("s"),
      new Map(),
      new Error("x"),
      2n ** 64n,
      new Date(Number.NaN),
      nested(MAX_DEPTH + 1),
    ]) {
      expect(codeOf(() => encodeJson([value]))).toBe("INVALID_OUTPUT");
    }
    let shared: unknown = "twice";
    for (let i = 0; i < 100; i++) shared = { l: shared, r: shared };
    expect(codeOf(() => encodeJson(shared))).toBe("INVALID_OUTPUT");
    expect(() => encodeJson({ a: [new Set()] })).toThrow("value.a[0] is an instance of Set");
  });
});
