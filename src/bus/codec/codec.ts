/** msgpack on the bus: standard types only, readable by any library (contract section 2). */
import { MAX_VALUES } from "../../protocols/limits.ts";
import { unpack, viewOf } from "./msgpackr.ts";
import { MAX_ENCODED_BYTES, refuseSize } from "./plain.ts";
import { scanMsgpack } from "./scan.ts";
import { Writer } from "./writer.ts";

/** A writer with more memory than this is given up: one large value must not take that for ever. */
const MAX_KEPT_BYTES = 64 * 1024;

/** Undefined while it is used: a getter of the value may encode something itself. */
let spare: Writer | undefined;

/**
 * Encodes plain data: null, booleans, numbers, bigints up to 64 bits, strings, Uint8Array (bin), Date (timestamp), arrays
 * and plain objects. Map values that are undefined are left out, elsewhere undefined is nil. NaN and infinities are floats.
 *
 * @param field of a map in which the value stands, if it is not on its own
 * @returns bytes that are the caller's to keep; nobody writes to them again
 * @throws VgasError INVALID_OUTPUT naming the place: functions, symbols, cycles, nesting beyond MAX_DEPTH, instances of
 *   classes (Map, Set, Error and other typed arrays among them), larger integers; EncodingTooLarge for more than `maxValues`
 *   values or MAX_ENCODED_BYTES
 */
export function encode(value: unknown, maxValues = MAX_VALUES, field?: string): Uint8Array {
  const writer = spare ?? new Writer();
  spare = undefined;
  try {
    writer.write(value, maxValues, field);
    if (writer.length > MAX_ENCODED_BYTES) refuseSize(MAX_ENCODED_BYTES);
    return writer.take();
  } finally {
    // Nothing is left in one whose value was refused for its size: it is far larger than this.
    if (writer.capacity <= MAX_KEPT_BYTES) spare = writer;
  }
}

/**
 * Decodes bytes of anybody: nil, booleans, numbers, bigints (integers beyond 2^53), strings, Uint8Array (a view on `bytes`),
 * Date, arrays and plain objects. A map key that is a number, boolean or nil becomes its text; `__proto__` becomes
 * `__proto_`. Invalid UTF-8 becomes U+FFFD.
 *
 * @throws VgasError INVALID for everything that `scanMsgpack` refuses
 */
export function decode(bytes: Uint8Array, maxValues = MAX_VALUES): unknown {
  scanMsgpack(bytes, maxValues);
  return unpack(viewOf(bytes), 0, bytes.length);
}
