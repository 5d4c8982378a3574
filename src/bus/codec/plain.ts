/** What may be encoded, for msgpack and JSON alike: plain data, bounded in depth and size. */
import { VgasError } from "../../protocols/errors.ts";
import { MAX_DEPTH, MAX_OBJECT_BYTES } from "../../protocols/limits.ts";

/**
 * Largest encoding, in bytes. Above a message's size outputs go to the object store, so this bounds memory, not messages:
 * without it a few shared references (`b = [a, a]; c = [b, b]; …`) would grow until the process dies.
 */
export const MAX_ENCODED_BYTES = MAX_OBJECT_BYTES;

/** Where an encoder is in the value, as keys and indices from the outside in. Kept so that a refusal can name the place. */
export type Path = (string | number)[];

/** True for objects written as maps: literals, objects without a prototype, and literals of another realm. */
export function isPlainObject(value: object): value is Record<string, unknown> {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** True if a 64-bit integer, signed or unsigned, can hold it. */
export function fits64Bits(value: bigint): boolean {
  return value >= -0x8000_0000_0000_0000n && value <= 0xffff_ffff_ffff_ffffn;
}

/** True if a number holds it exactly, and every integer around it. */
export function isSafe(value: bigint): boolean {
  return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER;
}

/** A value that cannot be encoded, as a noun phrase for the error. */
export function describe(value: unknown): string {
  if (typeof value === "function") return "a function";
  if (typeof value === "symbol") return "a symbol";
  if (typeof value === "bigint") return "an integer of more than 64 bits";
  if (value instanceof Date) return "an invalid date";
  if (typeof value !== "object" || value === null) return `a ${typeof value}`;
  const { name } = value.constructor ?? {};
  return typeof name === "string" && name !== "" ? `an instance of ${name}` : "no plain data";
}

/** Refuses what stands at `path` (its first `depth` parts). */
export function refuse(path: Path, depth: number, what: string): never {
  throw new VgasError("INVALID_OUTPUT", `cannot be encoded: ${place(path, depth)} ${what}`);
}

/** Refuses what is nested too deeply; a cycle ends here too. */
export function refuseDepth(path: Path): never {
  refuse(path, 3, `is nested deeper than ${MAX_DEPTH}, or contains itself`);
}

/** What is too large to be encoded, and nothing worse. */
export class EncodingTooLarge extends VgasError {
  constructor(what: string) {
    super("INVALID_OUTPUT", `cannot be encoded: ${what}`);
  }
}

export function refuseSize(maxBytes: number): never {
  throw new EncodingTooLarge(`larger than ${maxBytes} bytes`);
}

/** Runs an encoder. What a getter or a proxy throws on the way is INVALID_OUTPUT too. */
export function guarded<T>(encode: () => T): T {
  try {
    return encode();
  } catch (error) {
    throw refusalOf(error);
  }
}

/** What an encoder ended with, as its caller is to see it. */
export function refusalOf(error: unknown): VgasError {
  if (error instanceof VgasError) return error;
  const why = error instanceof Error ? error.message : "no Error";
  return new VgasError("INVALID_OUTPUT", `cannot be encoded: reading it failed (${why})`, { cause: error });
}

const MAX_PART_CHARS = 40;

function place(path: Path, depth: number): string {
  let text = "value";
  for (const part of path.slice(0, depth))
    text += typeof part === "number" ? `[${part}]` : `.${part.slice(0, MAX_PART_CHARS)}`;
  return text;
}
