/** JSON as the other encoding of clients (contract section 2): what msgpack can carry, in the forms JSON has for it. */
import { VgasError } from "../../protocols/errors.ts";
import { MAX_DEPTH } from "../../protocols/limits.ts";
import { type JsonShape, jsonStart, scanJson } from "./json-scan.ts";
import {
  describe,
  fits64Bits,
  guarded,
  isPlainObject,
  isSafe,
  MAX_ENCODED_BYTES,
  type Path,
  refuse,
  refuseDepth,
  refuseSize,
} from "./plain.ts";

/** Doubles from here on are not integers that anybody counted; they stay numbers. */
const TWO_64 = 2 ** 64;
/** Text is turned into bytes when it is longer than this. */
const PART_CHARS = 16 * 1024;

/** True if `bytes` are JSON: the first byte after white space or a byte order mark is `{` or `[`. */
export function isJson(bytes: Uint8Array): boolean {
  const first = bytes[jsonStart(bytes)];
  return first === 0x7b || first === 0x5b;
}

/**
 * Decodes JSON of anybody. Integers beyond 2^53 and up to 64 bits are bigints, as from msgpack, so that no digit is lost;
 * of duplicate keys the last counts; `__proto__` becomes `__proto_`; invalid UTF-8 becomes U+FFFD.
 *
 * @throws VgasError INVALID: no JSON, or nested deeper than MAX_DEPTH
 */
export function decodeJson(bytes: Uint8Array): unknown {
  return parseJson(bytes, scanJson(bytes));
}

/** `decodeJson` for a text that was scanned already. */
export function parseJson(bytes: Uint8Array, shape: JsonShape): unknown {
  const text = textOf(bytes, shape.start, bytes.length);
  let value = parse(text);
  if (shape.longIntegers.length > 0) value = restoreIntegers(value, parse(quoteIntegers(bytes, shape)));
  // Any character of the key may be written as an escape; a text without these four-digit escapes cannot hold it.
  return /__proto__|\\u00(?:5f|6f|7[024])/i.test(text) ? renameProto(value) : value;
}

/**
 * Encodes the same values as `encode` as JSON: binary as base64, Date as ISO 8601, integers beyond 2^53 as strings.
 * NaN and infinities are null, as everywhere in JSON: refusing would lose a whole result for one undefined average.
 *
 * @throws VgasError INVALID_OUTPUT for what `encode` refuses
 */
export function encodeJson(value: unknown): Uint8Array {
  return guarded(() => new JsonWriter().encode(value));
}

class JsonWriter {
  /** Text not yet in #parts: short, because a string that is put together from millions of pieces keeps all of them. */
  #text = "";
  readonly #parts: Buffer[] = [];
  #bytes = 0;
  readonly #path: Path = [];

  encode(value: unknown): Uint8Array {
    this.#value(value, 0);
    this.#flush();
    const { buffer, byteOffset, length } = Buffer.concat(this.#parts, this.#bytes);
    return new Uint8Array(buffer, byteOffset, length);
  }

  #value(value: unknown, depth: number): void {
    if (this.#text.length > PART_CHARS) this.#flush();
    if (typeof value === "string") this.#string(value);
    else if (typeof value === "number") this.#append(jsonNumber(value));
    else if (typeof value === "boolean") this.#append(value ? "true" : "false");
    else if (value === null || value === undefined) this.#append("null");
    else if (typeof value === "bigint" && fits64Bits(value)) this.#append(isSafe(value) ? `${value}` : `"${value}"`);
    else if (Array.isArray(value)) this.#array(value, depth);
    else if (typeof value === "object" && isPlainObject(value)) this.#map(value, depth);
    else if (value instanceof Uint8Array) this.#binary(value);
    else if (value instanceof Date && !Number.isNaN(value.getTime())) this.#append(`"${value.toISOString()}"`);
    else refuse(this.#path, depth, `is ${describe(value)}`);
  }

  #string(text: string): void {
    if (text.length > MAX_ENCODED_BYTES) refuseSize(MAX_ENCODED_BYTES);
    this.#append(JSON.stringify(text));
  }

  #array(array: readonly unknown[], depth: number): void {
    if (depth >= MAX_DEPTH) refuseDepth(this.#path);
    this.#append("[");
    for (let i = 0; i < array.length; i++) {
      if (i > 0) this.#append(",");
      this.#path[depth] = i;
      this.#value(array[i], depth + 1);
    }
    this.#append("]");
  }

  #map(map: Record<string, unknown>, depth: number): void {
    if (depth >= MAX_DEPTH) refuseDepth(this.#path);
    let separator = "{";
    for (const key of Object.keys(map)) {
      const value = map[key];
      if (value === undefined) continue;
      this.#path[depth] = key;
      this.#append(`${separator}${JSON.stringify(key)}:`);
      this.#value(value, depth + 1);
      separator = ",";
    }
    this.#append(separator === "{" ? "{}" : "}");
  }

  #binary(bytes: Uint8Array): void {
    if (bytes.length > MAX_ENCODED_BYTES) refuseSize(MAX_ENCODED_BYTES);
    this.#append(`"${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64")}"`);
  }

  #append(text: string): void {
    this.#text += text;
  }

  #flush(): void {
    const part = Buffer.from(this.#text, "utf8");
    this.#bytes += part.length;
    if (this.#bytes > MAX_ENCODED_BYTES) refuseSize(MAX_ENCODED_BYTES);
    this.#parts.push(part);
    this.#text = "";
  }
}

function jsonNumber(value: number): string {
  if (!Number.isFinite(value)) return "null";
  const large = Number.isInteger(value) && !Number.isSafeInteger(value) && Math.abs(value) < TWO_64;
  return large ? `"${BigInt(value)}"` : String(value);
}

function textOf(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8", start, end);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new VgasError("INVALID", `not JSON: ${(error as SyntaxError).message}`, { cause: error });
  }
}

/** The text with its long integers written as strings. */
function quoteIntegers(bytes: Uint8Array, { start, longIntegers }: JsonShape): string {
  const parts: string[] = [];
  let at = start;
  for (const [from, to] of longIntegers) {
    parts.push(textOf(bytes, at, from), '"', textOf(bytes, from, to), '"');
    at = to;
  }
  return parts.join("") + textOf(bytes, at, bytes.length);
}

/** Where `parsed` has a number and `quoted`, the same text with long integers as strings, a string: that integer exactly. */
function restoreIntegers(parsed: unknown, quoted: unknown): unknown {
  if (typeof parsed === "number" && typeof quoted === "string") {
    const exact = BigInt(quoted);
    return isSafe(exact) || !fits64Bits(exact) ? parsed : exact;
  }
  if (typeof parsed !== "object" || parsed === null) return parsed;
  const target = parsed as Record<string, unknown>;
  const source = quoted as Record<string, unknown>;
  for (const key of Object.keys(target)) {
    const value = restoreIntegers(target[key], source[key]);
    if (value !== target[key])
      Object.defineProperty(target, key, { value, writable: true, enumerable: true, configurable: true });
  }
  return parsed;
}

/** JSON.parse makes `__proto__` an own property, which the next careless copy would turn into a prototype. */
function renameProto(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(renameProto);
  const renamed: Record<string, unknown> = {};
  for (const key of Object.keys(value)) {
    renamed[key === "__proto__" ? "__proto_" : key] = renameProto((value as Record<string, unknown>)[key]);
  }
  return renamed;
}
