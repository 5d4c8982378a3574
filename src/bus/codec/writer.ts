/**
 * Writes msgpack into one growing buffer, and refuses on the way what is no plain data: one walk over a value.
 *
 * The forms are those of `encode`: integers and headers as short as they can be, 64-bit integers signed as long as that holds them,
 * timestamps with milliseconds, text as valid UTF-8.
 */
import { toUSVString } from "node:util";
import { MAX_DEPTH, MAX_VALUES } from "../../protocols/limits.ts";
import {
  describe,
  EncodingTooLarge,
  fits64Bits,
  isPlainObject,
  isSafe,
  MAX_ENCODED_BYTES,
  type Path,
  refusalOf,
  refuse,
  refuseDepth,
  refuseSize,
} from "./plain.ts";

/** Allocated at once; what `take` gives is a view on such a chunk, so one that is kept keeps its chunk alive. */
const CHUNK_BYTES = 16 * 1024;
/** What is longer is copied, so that it keeps nothing else alive. */
const MAX_VIEW_BYTES = 4 * 1024;
/** Text up to this is written here; the call that writes longer text costs more than it saves before that. */
const SHORT_TEXT = 32;
/** Text up to this gets room for the longest form that it can have; of longer text the length is counted first. */
const MEDIUM_TEXT = 16 * 1024;
/** Most bytes of a header or a number. */
const MAX_HEAD_BYTES = 15;
/** Every integer up to this one is exact as a double. */
const MAX_EXACT = 2 ** 53;
const TWO_32 = 0x1_0000_0000;
const TWO_63 = 2n ** 63n;

/** First byte of a header whose length is in that byte, up to `max`, or in 8 bits (0: there is no such form), 16 or 32 after it. */
interface Forms {
  readonly fixed: number;
  readonly max: number;
  readonly in8: number;
  readonly in16: number;
  readonly in32: number;
}
const MAP: Forms = { fixed: 0x80, max: 15, in8: 0, in16: 0xde, in32: 0xdf };
const ARRAY: Forms = { fixed: 0x90, max: 15, in8: 0, in16: 0xdc, in32: 0xdd };
const TEXT: Forms = { fixed: 0xa0, max: 31, in8: 0xd9, in16: 0xda, in32: 0xdb };
const BINARY: Forms = { fixed: 0, max: -1, in8: 0xc4, in16: 0xc5, in32: 0xc6 };

const NO_HEAD: readonly number[] = [];

export class Writer {
  readonly #maxDepth: number;
  #bytes = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  #view = new DataView(this.#bytes.buffer);
  /** Where what is written begins, and ends so far. */
  #start = 0;
  #at = 0;
  /** Elements and entries of this value. Shared references count each time: they are written each time. */
  #values = 0;
  #maxValues = MAX_VALUES;
  /** Keys and indices around the value that is written; only the first `depth` parts are of this one. */
  readonly #path: Path = [];

  /** @param around containers around what is written */
  constructor(around = 0) {
    this.#maxDepth = MAX_DEPTH - around;
  }

  /** Bytes written since the last `take`. */
  get length(): number {
    return this.#at - this.#start;
  }

  /** Bytes of its memory. */
  get capacity(): number {
    return this.#bytes.length;
  }

  /**
   * One value.
   *
   * @param field of a map in which it stands, if it is not on its own
   * @throws VgasError INVALID_OUTPUT as `encode` does; nothing of it is written then
   */
  write(value: unknown, maxValues = MAX_VALUES, field?: string): void {
    const length = this.length;
    this.#values = 0;
    this.#maxValues = maxValues;
    try {
      if (field === undefined) this.#value(value, 0);
      else {
        this.#path[0] = field;
        this.#value(value, 1);
      }
    } catch (error) {
      this.back(length);
      throw refusalOf(error);
    }
  }

  /** Bytes that are encoded already. */
  encoded(bytes: Uint8Array): void {
    this.#room(bytes.length);
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  /** Forgets what was written after the first `length` bytes. */
  back(length: number): void {
    this.#at = this.#start + length;
  }

  /**
   * What was written since the last call.
   *
   * @returns bytes that are the caller's to keep; nobody writes to them again
   */
  take(): Uint8Array {
    const { length } = this;
    if (length > MAX_VIEW_BYTES) return this.cut(length);
    const view = new Uint8Array(this.#bytes.buffer, this.#start, length);
    this.#start = this.#at;
    return view;
  }

  /** Takes the first `length` bytes, as a copy that begins with `head`; what was written after them stays. */
  cut(length: number, head: readonly number[] = NO_HEAD): Uint8Array {
    const end = this.#start + length;
    const copy = new Uint8Array(head.length + length);
    copy.set(head);
    copy.set(this.#bytes.subarray(this.#start, end), head.length);
    this.#bytes.copyWithin(this.#start, end, this.#at);
    this.#at -= length;
    return copy;
  }

  #value(value: unknown, depth: number): void {
    if (typeof value === "string") this.#text(value);
    else if (typeof value === "number") this.#number(value);
    else if (typeof value === "boolean") this.#byte(value ? 0xc3 : 0xc2);
    else if (value === null || value === undefined) this.#byte(0xc0);
    else if (typeof value === "bigint" && fits64Bits(value)) this.#bigint(value);
    else if (Array.isArray(value)) this.#array(value, depth);
    else if (typeof value === "object" && isPlainObject(value)) this.#map(value, depth);
    else if (value instanceof Uint8Array) {
      this.#room(MAX_HEAD_BYTES + value.length);
      this.#head(BINARY, value.length);
      this.encoded(value);
    } else if (value instanceof Date && !Number.isNaN(value.getTime())) this.#timestamp(value);
    else refuse(this.#path, depth, `is ${describe(value)}`);
  }

  #array(array: readonly unknown[], depth: number): void {
    const count = array.length;
    this.#enter(count, depth);
    this.#head(ARRAY, count);
    for (let i = 0; i < count; i++) {
      this.#path[depth] = i;
      this.#value(array[i], depth + 1);
    }
  }

  /** Entries that are undefined are left out. */
  #map(map: Record<string, unknown>, depth: number): void {
    const keys = Object.keys(map);
    const values = this.#values;
    this.#enter(keys.length, depth);
    const head = this.length;
    this.#head(MAP, keys.length);
    const entries = this.length;
    let left = 0;
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i] as string;
      const value = map[key];
      if (value === undefined) {
        left++;
        continue;
      }
      this.#path[depth] = key;
      if (!this.#key(key)) {
        this.back(head);
        this.#values = values;
        this.#map(wellFormed(map, keys), depth);
        return;
      }
      this.#value(value, depth + 1);
    }
    if (left > 0) this.#headAgain(head, entries, keys.length - left);
  }

  /** False, with nothing written, if it is no valid Unicode: as written, another key may be the same. */
  #key(key: string): boolean {
    if (key.length < SHORT_TEXT && this.#shortText(key, key.length)) return true;
    if (toUSVString(key) !== key) return false;
    this.#text(key);
    return true;
  }

  /** A smaller header for the entries from byte `entries` on. */
  #headAgain(head: number, entries: number, count: number): void {
    const bytes = this.length - entries;
    const from = this.#start + entries;
    this.back(head);
    this.#head(MAP, count);
    this.#bytes.copyWithin(this.#at, from, from + bytes);
    this.#at += bytes;
  }

  #enter(count: number, depth: number): void {
    if (depth >= this.#maxDepth) refuseDepth(this.#path);
    this.#values += count;
    if (this.#values > this.#maxValues) throw new EncodingTooLarge(`more than ${this.#maxValues} values`);
  }

  #text(text: string): void {
    const { length } = text;
    if (length < SHORT_TEXT && this.#shortText(text, length)) return;
    this.#room(MAX_HEAD_BYTES + (length <= MEDIUM_TEXT ? length * 3 : Buffer.byteLength(text)));
    // As if it were ASCII; moved if it is not, and so much longer that its header is.
    const from = this.#at + textHeadBytes(length);
    const bytes = this.#bytes.write(text, from);
    const moved = this.#at + textHeadBytes(bytes);
    if (moved !== from) this.#bytes.copyWithin(moved, from, from + bytes);
    this.#head(TEXT, bytes);
    this.#at += bytes;
  }

  /** False if it is not ASCII. */
  #shortText(text: string, length: number): boolean {
    this.#room(1 + length);
    const bytes = this.#bytes;
    let at = this.#at;
    bytes[at++] = 0xa0 | length;
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i);
      if (code >= 0x80) return false;
      bytes[at++] = code;
    }
    this.#at = at;
    return true;
  }

  #number(value: number): void {
    this.#room(MAX_HEAD_BYTES);
    if (value >>> 0 === value) {
      if (value < 0x80) this.#byte(value);
      else if (value < 0x100) this.#bits8(0xcc, value);
      else if (value < 0x1_0000) this.#bits16(0xcd, value);
      else this.#bits32(0xce, value);
    } else if (value >> 0 === value) {
      if (value >= -0x20) this.#byte(value & 0xff);
      else if (value >= -0x80) this.#bits8(0xd0, value);
      else if (value >= -0x8000) this.#bits16(0xd1, value);
      else this.#bits32(0xd2, value);
    } else if (Number.isInteger(value) && value >= -MAX_EXACT && value <= MAX_EXACT) {
      this.#byte(0xd3);
      this.#bits64(value);
    } else {
      this.#byte(0xcb);
      this.#view.setFloat64(this.#at, value);
      this.#at += 8;
    }
  }

  #bigint(value: bigint): void {
    if (isSafe(value)) {
      this.#number(Number(value));
      return;
    }
    this.#room(MAX_HEAD_BYTES);
    this.#byte(value < TWO_63 ? 0xd3 : 0xcf);
    this.#view.setBigUint64(this.#at, BigInt.asUintN(64, value));
    this.#at += 8;
  }

  #timestamp(date: Date): void {
    this.#room(MAX_HEAD_BYTES);
    const seconds = Math.floor(date.getTime() / 1_000);
    const ms = date.getTime() - seconds * 1_000;
    if (seconds >= 0 && seconds < TWO_32 && ms === 0) {
      this.#bits8(0xd6, 0xff);
      this.#view.setUint32(this.#at, seconds);
      this.#at += 4;
    } else if (seconds >= 0 && seconds < TWO_32) {
      this.#bits8(0xd7, 0xff);
      // 30 bits of nanoseconds, then 34 of seconds, of which the upper two are 0.
      this.#view.setUint32(this.#at, ms * 4_000_000);
      this.#view.setUint32(this.#at + 4, seconds);
      this.#at += 8;
    } else {
      this.#bits16(0xc7, 0x0cff);
      this.#view.setUint32(this.#at, ms * 1_000_000);
      this.#at += 4;
      this.#bits64(seconds);
    }
  }

  #head({ fixed, max, in8, in16, in32 }: Forms, length: number): void {
    this.#room(MAX_HEAD_BYTES);
    if (length <= max) this.#byte(fixed | length);
    else if (in8 !== 0 && length < 0x100) this.#bits8(in8, length);
    else if (length < 0x1_0000) this.#bits16(in16, length);
    else this.#bits32(in32, length);
  }

  #byte(byte: number): void {
    this.#room(1);
    this.#bytes[this.#at++] = byte;
  }

  // The room for these was made before.

  #bits8(head: number, value: number): void {
    this.#bytes[this.#at++] = head;
    this.#bytes[this.#at++] = value;
  }

  #bits16(head: number, value: number): void {
    this.#bytes[this.#at++] = head;
    this.#bytes[this.#at++] = value >> 8;
    this.#bytes[this.#at++] = value;
  }

  #bits32(head: number, value: number): void {
    this.#bytes[this.#at++] = head;
    this.#view.setUint32(this.#at, value);
    this.#at += 4;
  }

  /** A signed integer that is exact as a double. */
  #bits64(value: number): void {
    this.#view.setInt32(this.#at, Math.floor(value / TWO_32));
    this.#view.setUint32(this.#at + 4, value % TWO_32);
    this.#at += 8;
  }

  /** Makes room for `bytes` more. */
  #room(bytes: number): void {
    if (this.#at + bytes > this.#bytes.length) this.#grow(bytes);
  }

  #grow(bytes: number): void {
    const { length } = this;
    // Exactly that is for who takes it: the room that a text is given may be more than it needs.
    if (length + bytes > MAX_ENCODED_BYTES + 3 * MEDIUM_TEXT + MAX_HEAD_BYTES) refuseSize(MAX_ENCODED_BYTES);
    const grown = Buffer.allocUnsafeSlow(
      length === 0 ? Math.max(CHUNK_BYTES, bytes) : 2 * length + bytes + CHUNK_BYTES,
    );
    grown.set(this.#bytes.subarray(this.#start, this.#at));
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
    this.#start = 0;
    this.#at = length;
  }
}

/** A map with its keys as they are written; of several that are the same then the last one stays. */
function wellFormed(map: Record<string, unknown>, keys: readonly string[]): Record<string, unknown> {
  const copy = Object.create(null) as Record<string, unknown>;
  for (const key of keys) {
    const value = map[key];
    if (value !== undefined) copy[toUSVString(key)] = value;
  }
  return copy;
}

function textHeadBytes(bytes: number): number {
  if (bytes <= TEXT.max) return 1;
  if (bytes < 0x100) return 2;
  return bytes < 0x1_0000 ? 3 : 5;
}
