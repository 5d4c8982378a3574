import { expect, test } from "vitest";
import { ARRAY_HEADER_BYTES, arrayHeader } from "../../../src/bus/codec/array.ts";
import { decode, encode } from "../../../src/bus/codec/codec.ts";

test.each([1, 15, 16, 255, 256, 10_000])(
  "an array of %i elements is what an encoder makes of them at once",
  (count) => {
    const values = Array.from({ length: count }, (_, i) => ({ input: i }));
    const elements = values.map((value) => encode(value));
    const packed = Buffer.concat([Buffer.from(arrayHeader(count)), ...elements]);
    expect(decode(packed)).toEqual(values);
    expect(packed.length - elements.reduce((sum, { length }) => sum + length, 0)).toBeLessThanOrEqual(
      ARRAY_HEADER_BYTES,
    );
  },
);

test.each([0, 10_001])("refuses an array of %i elements", (count) => {
  expect(() => arrayHeader(count)).toThrow(expect.objectContaining({ code: "INVALID" }));
});
