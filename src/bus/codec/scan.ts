import { MAX_VALUES } from "../../protocols/limits.ts";
import { Reader } from "./reader.ts";

/**
 * Checks that `bytes` are exactly one msgpack value of the accepted kind, without building it: nothing is allocated, and
 * the time is linear in the bytes that are there, whatever lengths they declare.
 *
 * @throws VgasError INVALID: truncated, trailing bytes, nested deeper than MAX_DEPTH, more than `maxValues` elements and
 *   entries, an extension other than a timestamp (type -1 of 4, 8 or 12 bytes), 0xc1, or a map key that is a container,
 *   binary or extension. Invalid UTF-8 passes; it is decoded as U+FFFD.
 */
export function scanMsgpack(bytes: Uint8Array, maxValues = MAX_VALUES): void {
  const reader = new Reader(bytes, maxValues);
  reader.skip();
  reader.finish();
}
