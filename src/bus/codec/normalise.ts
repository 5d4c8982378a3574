/**
 * One walk over a value before msgpackr packs it: refuses what is no plain data, and puts in order what msgpackr would
 * write in a form that others cannot read. What is in order already, nearly everything, is not copied.
 */
import { toUSVString } from "node:util";
import { MAX_DEPTH } from "../../protocols/limits.ts";
import {
  describe,
  EncodingTooLarge,
  fits64Bits,
  isPlainObject,
  isSafe,
  MAX_ENCODED_BYTES,
  type Path,
  refuse,
  refuseDepth,
  refuseSize,
} from "./plain.ts";

/** Every integer up to this one is exact as a double, and msgpackr reads it as a number. */
const MAX_EXACT = 2 ** 53;

/**
 * The value as msgpackr is to pack it: integers beyond 32 bits are bigints, because as numbers they would be floats, which
 * typed readers of other languages refuse; other bigints are numbers; text is well-formed; maps have no undefined values.
 *
 * @param field of a map in which it stands, if it is not on its own
 * @throws VgasError INVALID_OUTPUT as `encode` does
 */
export function normalise(value: unknown, maxValues: number, field?: string): unknown {
  return new Normaliser(maxValues, field).within(value);
}

class Normaliser {
  readonly #maxValues: number;
  /** Elements and entries so far. Shared references count each time: they are written each time. */
  #values = 0;
  /** At most what the encoding takes so far. */
  #bytes = 0;
  /** Keys and indices around the value; only the first `depth` parts are of this value. */
  readonly #path: Path;

  constructor(maxValues: number, field: string | undefined) {
    this.#maxValues = maxValues;
    this.#path = field === undefined ? [] : [field];
  }

  /** The outermost value. */
  within(value: unknown): unknown {
    return this.value(value, this.#path.length);
  }

  value(value: unknown, depth: number): unknown {
    if (typeof value === "string") return this.#text(value);
    if (typeof value === "number") return integer(value);
    if (typeof value === "boolean" || value === null || value === undefined) return value;
    if (typeof value === "bigint" && fits64Bits(value)) return isSafe(value) ? integer(Number(value)) : value;
    if (Array.isArray(value)) return this.#array(value, depth);
    if (typeof value === "object" && isPlainObject(value)) return this.#map(value, depth);
    if (value instanceof Uint8Array) {
      this.#count(value.length);
      return value;
    }
    if (value instanceof Date && !Number.isNaN(value.getTime())) return value;
    return refuse(this.#path, depth, `is ${describe(value)}`);
  }

  #text(text: string): string {
    this.#count(text.length);
    return toUSVString(text);
  }

  #array(array: readonly unknown[], depth: number): readonly unknown[] {
    const count = array.length;
    this.#enter(count, depth);
    let copy: unknown[] | undefined;
    for (let i = 0; i < count; i++) {
      const value = (copy ?? array)[i];
      this.#path[depth] = i;
      const normal = this.value(value, depth + 1);
      if (Object.is(normal, value)) continue;
      copy ??= Array.from(array);
      copy[i] = normal;
    }
    return copy ?? array;
  }

  #map(map: Record<string, unknown>, depth: number): Record<string, unknown> {
    const keys = Object.keys(map);
    this.#enter(keys.length, depth);
    /** What the copy holds, once it is known that there must be one. */
    let entries: [string, unknown][] | undefined;
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i] as string;
      const value = map[key];
      this.#path[depth] = key;
      const name = this.#text(key);
      const normal = this.value(value, depth + 1);
      const kept = value !== undefined && name === key && Object.is(normal, value);
      if (!kept) entries ??= keys.slice(0, i).map((before) => [before, map[before]]);
      if (value !== undefined) entries?.push([name, normal]);
    }
    // Defines its keys, so that `__proto__` sets no prototype. Taking out of a copy what is undefined costs ten times as much.
    return entries === undefined ? map : Object.fromEntries(entries);
  }

  #enter(count: number, depth: number): void {
    if (depth >= MAX_DEPTH) refuseDepth(this.#path);
    this.#values += count;
    if (this.#values > this.#maxValues) throw new EncodingTooLarge(`more than ${this.#maxValues} values`);
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes > MAX_ENCODED_BYTES) refuseSize(MAX_ENCODED_BYTES);
  }
}

/** An integer that msgpackr would write as a float, as a bigint. */
function integer(value: number): number | bigint {
  if (value >>> 0 === value || value >> 0 === value) return value;
  return Number.isInteger(value) && value >= -MAX_EXACT && value <= MAX_EXACT ? BigInt(value) : value;
}
