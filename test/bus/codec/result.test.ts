import fc from "fast-check";
import { expect, test } from "vitest";
import { decode, encode } from "../../../src/bus/codec/codec.ts";
import { encodeResult, type WholeResult } from "../../../src/bus/codec/result.ts";
import { MAX_DEPTH, MAX_VALUES } from "../../../src/protocols/limits.ts";
import { rounds } from "../../support/rounds.ts";
import { codeOf, common, nested } from "./values.ts";

const text = fc.oneof(
  fc.string({ minLength: 1, maxLength: 40 }),
  fc.string({ unit: "binary", maxLength: 8 }),
  fc.string({ minLength: 253, maxLength: 258 }),
);
const integer = fc.oneof(
  fc.constantFrom(0, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000, 0xffff_ffff, 0x1_0000_0000, Number.MAX_SAFE_INTEGER),
  fc.maxSafeNat(),
  fc.double(),
);
const maybe = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(value, { nil: undefined });

const result = fc.record({
  id: text,
  pool: text,
  kind: text,
  status: fc.constantFrom("ok", "failed"),
  output: maybe(common),
  outputRef: fc.constantFrom(undefined, { bucket: "b", name: "n", bytes: 1, sha256: "0" }),
  error: fc.constantFrom(undefined, { code: "TIMEOUT", message: "ä", retryable: false }),
  attempt: fc.nat(100),
  submittedAt: integer,
  startedAt: maybe(integer),
  finishedAt: integer,
  agent: maybe(text),
  host: maybe(text),
  ticket: maybe(integer),
  usage: fc.constant(undefined),
  replayOf: maybe(text),
}) as fc.Arbitrary<WholeResult>;

const plain: WholeResult = {
  id: "s1-2",
  pool: "default",
  kind: "echo",
  status: "ok",
  output: 1,
  outputRef: undefined,
  error: undefined,
  attempt: 1,
  submittedAt: 1_790_000_000_000,
  startedAt: 1_790_000_000_001,
  finishedAt: 1_790_000_000_002,
  agent: "host-3",
  host: "host",
  ticket: 70_000,
  usage: undefined,
  replayOf: undefined,
};

test("a result has the bytes that the encoder for everything gives, and they stay as they are", () => {
  const kept: { readonly given: Uint8Array; readonly expected: Buffer }[] = [];
  fc.assert(
    fc.property(result, (value) => {
      const expected = Buffer.from(encode(value));
      const given = encodeResult(value, "msgpack");
      expect(Buffer.from(given)).toEqual(expected);
      kept.push({ given, expected });
    }),
    { numRuns: rounds(200, 1_000) },
  );
  for (const { given, expected } of kept) expect(Buffer.from(given)).toEqual(expected);
});

test("an output that cannot be encoded is refused as within any value, and the next result is whole", () => {
  expect(() => encodeResult({ ...plain, output: { f: () => 1 } }, "msgpack")).toThrow(
    "cannot be encoded: value.output.f is a function",
  );
  expect(decode(encodeResult({ ...plain, output: nested(MAX_DEPTH - 1) }, "msgpack"))).toMatchObject({ id: "s1-2" });
  expect(codeOf(() => encodeResult({ ...plain, output: nested(MAX_DEPTH) }, "msgpack"))).toBe("INVALID_OUTPUT");
  expect(Buffer.from(encodeResult(plain, "msgpack"))).toEqual(Buffer.from(encode(plain)));
});

test("whatever is encoded can be decoded: the fields of the result count too", () => {
  const most = new Array<number>(MAX_VALUES - 16).fill(0);
  expect(decode(encodeResult({ ...plain, output: most }, "msgpack"))).toMatchObject({ output: most });
  expect(codeOf(() => encodeResult({ ...plain, output: [...most, 0] }, "msgpack"))).toBe("INVALID_OUTPUT");
});

test("a result that was asked for in JSON is JSON", () => {
  expect(JSON.parse(Buffer.from(encodeResult(plain, "json")).toString())).toEqual(JSON.parse(JSON.stringify(plain)));
});
