/**
 * msgpackr, set up for standard msgpack. It trusts what it is given: bytes go through `scan.ts` first (msgpackr decodes
 * extensions that build records, RegExps and Errors), values through `normalise.ts` (it writes class instances as maps,
 * and integers beyond 32 bits as floats).
 */
import { Packr } from "msgpackr";
import { VgasError } from "../../protocols/errors.ts";

/** Bytes that msgpackr allocates at once; encodings are views on such a chunk, so a kept one keeps its chunk alive. */
const CHUNK_BYTES = 8 * 1024;
/** A chunk that grew beyond this for one message is given up: msgpackr itself would go on with it for ever. */
const MAX_CHUNK_BYTES = 64 * 1024;

const packr = new Packr({
  useRecords: false,
  mapsAsObjects: true,
  // Maps with their shortest header, and of more than 65 535 entries at all.
  variableMapSize: true,
  encodeUndefinedAsNil: true,
  // A map may have a field of that name.
  useToJSON: false,
  // Numbers up to 2^53, bigints beyond. A value that msgpackr documents and its types do not know.
  int64AsType: "auto" as "bigint",
});

/** True while msgpackr packs: a getter of the value may encode something itself. */
let packing = false;

/** The encoding of a value that `normalise` gave: bytes that nobody writes to again. */
export function pack(value: unknown): Uint8Array {
  const outermost = !packing;
  packing = true;
  try {
    const bytes = packr.pack(value);
    if (bytes.buffer.byteLength <= MAX_CHUNK_BYTES) return viewOf(bytes);
    // Not within another encoding: that one still writes to its own chunk, which this call would take away.
    if (outermost) packr.useBuffer(Buffer.allocUnsafeSlow(CHUNK_BYTES));
    return new Uint8Array(bytes);
  } finally {
    packing = !outermost;
  }
}

/**
 * Decodes the value at `start` to `end` of a view on a message that was scanned. A view of our own, because msgpackr leaves
 * a property on it, and because binary values are of the class of the view: `Uint8Array` whatever the message was.
 *
 * @throws VgasError INVALID if msgpackr refuses what the scan accepted
 */
export function unpack(view: Uint8Array, start: number, end: number): unknown {
  try {
    return packr.unpack(view, { start, end }) as unknown;
  } catch (error) {
    throw new VgasError("INVALID", `not acceptable as msgpack: ${(error as Error).message}`, { cause: error });
  }
}

/** All of `bytes` as a plain Uint8Array on the same memory. */
export function viewOf(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
