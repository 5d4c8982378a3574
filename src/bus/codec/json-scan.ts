/** One pass over JSON text before the runtime's parser sees it: what the parser does not bound or does not tell. */
import { VgasError } from "../../protocols/errors.ts";
import { MAX_DEPTH } from "../../protocols/limits.ts";

/** Where the parts of a JSON text are, as byte offsets. Correct for valid JSON; for anything else only bounded. */
export interface JsonShape {
  /** First byte after white space and a byte order mark. */
  readonly start: number;
  /** Elements of a top-level array as pairs start, end; undefined if the text is no array or they were not asked for. */
  readonly elements: readonly (readonly [start: number, end: number])[] | undefined;
  /** Integer literals of so many digits that a double may not hold them, as pairs start, end. */
  readonly longIntegers: readonly (readonly [start: number, end: number])[];
}

/** 2^53 has 16 digits. */
const LONG_INTEGER_DIGITS = 16;
/** An integer of more digits than the largest 64-bit one is left to be a double. */
const MAX_INTEGER_DIGITS = 20;

const QUOTE = 0x22;
const COMMA = 0x2c;
const MINUS = 0x2d;
const BACKSLASH = 0x5c;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN_MAP = 0x7b;
const CLOSE_MAP = 0x7d;

/** Offset of the first byte after white space and a byte order mark. */
export function jsonStart(bytes: Uint8Array): number {
  let at = skipSpace(bytes, 0);
  if (bytes[at] === 0xef && bytes[at + 1] === 0xbb && bytes[at + 2] === 0xbf) at = skipSpace(bytes, at + 3);
  return at;
}

/**
 * @param maxElements most elements of a top-level array; 0 does not look for them and sets no limit
 * @throws VgasError INVALID if nested deeper than MAX_DEPTH, or if a top-level array has more than `maxElements`
 */
export function scanJson(bytes: Uint8Array, maxElements = 0): JsonShape {
  const start = jsonStart(bytes);
  const { length } = bytes;
  const isArray = maxElements > 0 && bytes[start] === OPEN_ARRAY;
  const elements: [number, number][] = [];
  const longIntegers: [number, number][] = [];
  let depth = 0;
  let elementStart = start + 1;
  let at = start;
  while (at < length) {
    const byte = bytes[at] as number;
    if (byte === QUOTE) at = stringEnd(bytes, at);
    else if (byte === OPEN_MAP || byte === OPEN_ARRAY) {
      if (++depth > MAX_DEPTH)
        throw new VgasError("INVALID", `not acceptable as JSON: nested deeper than ${MAX_DEPTH}`);
      at++;
    } else if (byte === MINUS || isDigit(byte)) {
      const end = numberEnd(bytes, at);
      if (isLongInteger(bytes, at, end)) longIntegers.push([at, end]);
      at = end;
    } else {
      const closes = byte === CLOSE_MAP || byte === CLOSE_ARRAY;
      if (isArray && depth === 1 && (byte === COMMA || byte === CLOSE_ARRAY)) {
        const from = skipSpace(bytes, elementStart);
        if (byte === COMMA || from < at) elements.push([from, trimEnd(bytes, from, at)]);
        if (elements.length > maxElements)
          throw new VgasError("INVALID", `an array of more than ${maxElements} elements`);
        elementStart = at + 1;
      }
      if (closes) depth--;
      at++;
    }
  }
  return { start, elements: isArray ? elements : undefined, longIntegers };
}

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}

function skipSpace(bytes: Uint8Array, from: number): number {
  let at = from;
  while (isSpace(bytes[at])) at++;
  return at;
}

function trimEnd(bytes: Uint8Array, start: number, end: number): number {
  let at = end;
  while (at > start && isSpace(bytes[at - 1])) at--;
  return at;
}

/** Offset behind the closing quote, or the end of the text where there is none. */
function stringEnd(bytes: Uint8Array, quote: number): number {
  let at = quote + 1;
  while (at < bytes.length) {
    const byte = bytes[at];
    if (byte === QUOTE) return at + 1;
    at += byte === BACKSLASH ? 2 : 1;
  }
  return bytes.length;
}

/** Offset behind a number literal: digits, sign, point and exponent. */
function numberEnd(bytes: Uint8Array, from: number): number {
  let at = from + 1;
  for (; at < bytes.length; at++) {
    const byte = bytes[at];
    if (!isDigit(byte) && byte !== MINUS && byte !== 0x2b && byte !== 0x2e && byte !== 0x45 && byte !== 0x65) break;
  }
  return at;
}

function isLongInteger(bytes: Uint8Array, start: number, end: number): boolean {
  const first = bytes[start] === MINUS ? start + 1 : start;
  const digits = end - first;
  if (digits < LONG_INTEGER_DIGITS || digits > MAX_INTEGER_DIGITS) return false;
  for (let at = first; at < end; at++) if (!isDigit(bytes[at])) return false;
  return true;
}
