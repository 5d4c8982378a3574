/** Arbitraries and helpers that the tests of the codec share. */
import fc from "fast-check";
import { isNativeAccelerationEnabled } from "msgpackr";
import { VgasError } from "../../../src/protocols/errors.ts";

/** The code of the VgasError that `action` throws; "none" if it does not throw. Anything else thrown is a defect and goes on. */
export function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof VgasError) return error.code;
    throw error;
  }
  return "none";
}

/** Bytes written in hex, white space allowed. */
export function hex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replaceAll(/\s/g, ""), "hex"));
}

export function utf8(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, "utf8"));
}

/** Every kind of number that has a boundary in msgpack; no negative zero, which is written as the integer 0. */
const number = fc.oneof(
  fc.integer(),
  fc.maxSafeInteger(),
  fc.constantFrom(0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000, 0xffff_ffff, 0x1_0000_0000, Number.MAX_SAFE_INTEGER),
  fc.constantFrom(-0x20, -0x21, -0x80, -0x81, -0x8000, -0x8001, -0x8000_0000, -0x8000_0001, Number.MIN_SAFE_INTEGER),
  fc.double().filter((value) => !Object.is(value, -0)),
);

/** Well-formed text of every length class, a leading byte order mark among it where msgpackr keeps it. */
const text = fc.oneof(
  fc.string({ unit: "grapheme" }),
  fc.string({ unit: "binary", maxLength: 300 }),
  fc.string({ minLength: 30, maxLength: 34 }),
  fc.string({ minLength: 250, maxLength: 260 }),
  fc.string({ minLength: 80, maxLength: 90 }).map((rest) => (isNativeAccelerationEnabled ? `\uFEFF${rest}` : rest)),
);

const key = fc.string({ unit: "binary", maxLength: 40 }).filter((name) => name !== "__proto__");

/** Plain data that both msgpack libraries and JavaScript agree about. */
export const common: fc.Arbitrary<unknown> = tree(
  fc.oneof(fc.constant(null), fc.boolean(), number, text, fc.uint8Array(), fc.date({ noInvalidDate: true })),
);

/** All that can be encoded without loss: also integers beyond 2^53. */
export const lossless: fc.Arbitrary<unknown> = fc.oneof(common, tree(fc.oneof(number, largeInteger())));

/** Integers of 64 bits that a double cannot hold. */
export function largeInteger(): fc.Arbitrary<bigint> {
  return fc
    .bigInt({ min: -0x8000_0000_0000_0000n, max: 0xffff_ffff_ffff_ffffn })
    .filter((value) => value > Number.MAX_SAFE_INTEGER || value < Number.MIN_SAFE_INTEGER);
}

function tree(leaf: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  return fc.letrec<{ node: unknown }>((tie) => ({
    node: fc.oneof(
      { depthSize: "small" },
      leaf,
      fc.array(tie("node"), { maxLength: 20 }),
      fc.dictionary(key, tie("node"), { maxKeys: 20, noNullPrototype: true }),
    ),
  })).node;
}

/** A value inside `depth` arrays. */
export function nested(depth: number): unknown {
  let value: unknown = 1;
  for (let i = 0; i < depth; i++) value = [value];
  return value;
}

/** `bytes` with some of them changed: close enough to be taken half seriously by a decoder. */
export function mutated(bytes: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> {
  const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 });
  return fc.tuple(bytes, changes).map(([original, list]) => {
    const changed = Uint8Array.from(original);
    for (const [at, byte] of list) if (changed.length > 0) changed[at % changed.length] = byte;
    return changed;
  });
}
