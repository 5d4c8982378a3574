/** An array of tasks from tasks that are encoded already, so that the size of each is known before they are put together. */
import { VgasError } from "../../protocols/errors.ts";
import { MAX_ARRAY_TASKS } from "../../protocols/limits.ts";

/** Bytes that the array itself adds to its elements, at most. */
export const ARRAY_HEADER_BYTES = 3;

const FIXARRAY = 0x90;
const FIXARRAY_MAX = 15;
const ARRAY_16 = 0xdc;

/**
 * The msgpack array of `elements`, each one encoded value.
 *
 * @throws VgasError INVALID if there are none, or more than MAX_ARRAY_TASKS
 */
export function packArray(elements: readonly Uint8Array[]): Uint8Array {
  const count = elements.length;
  if (count === 0 || count > MAX_ARRAY_TASKS) {
    throw new VgasError("INVALID", `an array of tasks has 1 to ${MAX_ARRAY_TASKS} elements, got ${count}`);
  }
  const header = count <= FIXARRAY_MAX ? [FIXARRAY | count] : [ARRAY_16, count >> 8, count & 0xff];
  let bytes = header.length;
  for (const element of elements) bytes += element.length;
  const packed = new Uint8Array(bytes);
  packed.set(header);
  let at = header.length;
  for (const element of elements) {
    packed.set(element, at);
    at += element.length;
  }
  return packed;
}
