/**
 * msgpackr, set up to decode standard msgpack. It trusts what it is given, so bytes go through `scan.ts` first: it decodes extensions
 * that build records, RegExps and Errors. What is encoded is written by `writer.ts`.
 */
import { Unpackr } from "msgpackr";
import { VgasError } from "../../protocols/errors.ts";

const unpackr = new Unpackr({
  useRecords: false,
  mapsAsObjects: true,
  // Numbers up to 2^53, bigints beyond. A value that msgpackr documents and its types do not know.
  int64AsType: "auto" as "bigint",
});

/**
 * Decodes the value at `start` to `end` of a view on a message that was scanned. A view of our own, because msgpackr leaves
 * a property on it, and because binary values are of the class of the view: `Uint8Array` whatever the message was.
 *
 * @throws VgasError INVALID if msgpackr refuses what the scan accepted
 */
export function unpack(view: Uint8Array, start: number, end: number): unknown {
  try {
    return unpackr.unpack(view, { start, end }) as unknown;
  } catch (error) {
    throw new VgasError("INVALID", `not acceptable as msgpack: ${(error as Error).message}`, { cause: error });
  }
}

/** All of `bytes` as a plain Uint8Array on the same memory. */
export function viewOf(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
