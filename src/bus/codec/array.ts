/** The header of an array of tasks, for tasks that are encoded one by one: the size of each is known before they are put together. */
import { VgasError } from "../../protocols/errors.ts";
import { MAX_ARRAY_TASKS } from "../../protocols/limits.ts";

/** Bytes that the array itself adds to its elements, at most. */
export const ARRAY_HEADER_BYTES = 3;

const FIXARRAY = 0x90;
const FIXARRAY_MAX = 15;
const ARRAY_16 = 0xdc;

/**
 * What comes before `count` elements, each one encoded value.
 *
 * @throws VgasError INVALID if there are none, or more than MAX_ARRAY_TASKS
 */
export function arrayHeader(count: number): readonly number[] {
  if (count === 0 || count > MAX_ARRAY_TASKS) {
    throw new VgasError("INVALID", `an array of tasks has 1 to ${MAX_ARRAY_TASKS} elements, got ${count}`);
  }
  return count <= FIXARRAY_MAX ? [FIXARRAY | count] : [ARRAY_16, count >> 8, count & 0xff];
}
