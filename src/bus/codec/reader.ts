/**
 * Walks over msgpack that anybody may have sent, before msgpackr sees it: every length, depth and type is checked before it
 * is believed, so any bytes end in a value or in INVALID, in time and memory linear in the bytes that are really there. What
 * is accepted is the msgpack specification with timestamps as the only extension.
 */
import { VgasError } from "../../protocols/errors.ts";
import { MAX_DEPTH, MAX_VALUES } from "../../protocols/limits.ts";

const TWO_32 = 0x1_0000_0000;
/** Type of the only extension that is accepted, as the unsigned byte on the wire. */
const TIMESTAMP = 0xff;
const MAX_NANOSECONDS = 999_999_999;
/** The furthest from the epoch that a Date can be, in ms. */
const MAX_DATE_MS = 8.64e15;

/** Payload of a token: that many bytes, or (negative) a length of that many bytes and as many bytes behind it. */
type Layout = number | "other";
/** Layouts of the tokens 0xc0 to 0xdb; arrays and maps stand behind them. */
const LAYOUT: readonly Layout[] = [
  ...([0, "other", 0, 0, -1, -2, -4, "other", "other", "other", 4, 8, 1, 2, 4, 8] as const),
  ...([1, 2, 4, 8, "other", "other", "other", "other", "other", -1, -2, -4] as const),
];

/** One pass over one message. Every method throws VgasError INVALID; after that the reader is of no use. */
export class Reader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  readonly #maxValues: number;
  #position = 0;
  #values = 0;

  constructor(bytes: Uint8Array, maxValues = MAX_VALUES) {
    this.#bytes = bytes;
    this.#maxValues = maxValues;
    this.#end = bytes.length;
  }

  /** Offset of the next byte to be read. */
  get position(): number {
    return this.#position;
  }

  /** Throws if bytes are left: a message is exactly one value. */
  finish(): void {
    if (this.#position !== this.#end) throw this.#malformed(`${this.#end - this.#position} bytes follow the value`);
  }

  /** Counts values from here on again: what follows is decoded on its own, so the bound is for it alone. */
  recount(): void {
    this.#values = 0;
  }

  /** What the next value is, without entering it; "scalar" also where there is none. */
  peek(): "map" | "array" | "scalar" {
    const token = this.#bytes[this.#position] ?? 0;
    if (token < 0x80 || token >= 0xe0) return "scalar";
    if (token < 0xa0) return token < 0x90 ? "map" : "array";
    if (token < 0xdc) return "scalar";
    return token < 0xde ? "array" : "map";
  }

  /**
   * Enters a container.
   *
   * @param depth containers around it
   * @returns the number of its elements or entries, which are to be passed next
   */
  enter(depth = 0): number {
    const type = this.peek();
    const token = this.#token();
    const count = token < 0xa0 ? token & 0x0f : this.#uint((token & 1) === 0 ? 2 : 4);
    if (depth >= MAX_DEPTH) throw this.#malformed(`nested deeper than ${MAX_DEPTH}`);
    // Every element takes at least a byte and every entry two.
    const left = this.#end - this.#position;
    if ((type === "map" ? 2 * count : count) > left)
      throw this.#malformed(`${type} of ${count} declared, ${left} bytes are left`);
    this.#values += count;
    if (this.#values > this.#maxValues) throw this.#malformed(`more than ${this.#maxValues} values`);
    return count;
  }

  /** Passes over the next value. */
  skip(depth = 0): void {
    const type = this.peek();
    if (type !== "scalar") {
      const count = this.enter(depth);
      for (let i = 0; i < count; i++) {
        if (type === "map") this.passKey(NO_NAMES);
        this.skip(depth + 1);
      }
      return;
    }
    const token = this.#token();
    if (token < 0x80 || token >= 0xe0) return;
    if (token < 0xc0) this.#advance(token & 0x1f);
    else {
      const layout = LAYOUT[token - 0xc0] as Layout;
      if (layout === "other") this.#extension(token);
      else this.#advance(layout >= 0 ? layout : this.#uint(-layout));
    }
  }

  /** Passes over a map key: text, or a scalar that has one. Answers which of `names`, all of them ASCII, it spells. */
  passKey<Name extends string>(names: readonly Name[]): Name | undefined {
    const token = this.#token();
    let length: number;
    if (token >= 0xa0 && token < 0xc0) length = token & 0x1f;
    else if (token >= 0xd9 && token < 0xdc) length = this.#uint(-(LAYOUT[token - 0xc0] as number));
    else {
      const isNumber = token < 0x80 || token >= 0xe0 || (token >= 0xca && token < 0xd4);
      if (!isNumber && token !== 0xc0 && token !== 0xc2 && token !== 0xc3)
        throw this.#malformed("a map key that is neither text nor a number");
      this.#position--;
      this.skip();
      return undefined;
    }
    const start = this.#position;
    this.#advance(length);
    for (const name of names) if (name.length === length && this.#spells(name, start)) return name;
    return undefined;
  }

  #spells(name: string, start: number): boolean {
    for (let i = 0; i < name.length; i++) if (this.#bytes[start + i] !== name.charCodeAt(i)) return false;
    return true;
  }

  #token(): number {
    const token = this.#bytes[this.#position];
    if (token === undefined) throw this.#malformed("the message ends where a value should begin");
    this.#position++;
    return token;
  }

  /** Big-endian unsigned integer of 1, 2 or 4 bytes. */
  #uint(size: number): number {
    const bytes = this.#bytes;
    let at = this.#position;
    this.#advance(size);
    // The bytes are there: #advance has checked it.
    let value = bytes[at] as number;
    for (const last = this.#position - 1; at < last; ) value = value * 0x100 + (bytes[++at] as number);
    return value;
  }

  #advance(length: number): void {
    const next = this.#position + length;
    if (next > this.#end) throw this.#malformed(`${length} bytes are declared, ${this.#end - this.#position} are left`);
    this.#position = next;
  }

  #extension(token: number): void {
    let length: number;
    if (token === 0xc7) length = this.#uint(1);
    else if (token === 0xd6) length = 4;
    else if (token === 0xd7) length = 8;
    else if (token === 0xc1) throw this.#malformed("the byte 0xc1, which is never used");
    else throw this.#malformed(`an extension (0x${token.toString(16)}) that is no timestamp`);
    const type = this.#uint(1);
    if (type !== TIMESTAMP || (length !== 4 && length !== 8 && length !== 12)) {
      throw this.#malformed(`extension type ${(type << 24) >> 24} of ${length} bytes; only timestamps are taken`);
    }
    this.#timestamp(length);
  }

  #timestamp(length: 4 | 8 | 12): void {
    // 32 bits of seconds; or 30 of nanoseconds and 34 of seconds; or 32 of nanoseconds and 64 of seconds.
    const first = length === 4 ? 0 : this.#uint(4);
    const nanoseconds = length === 8 ? first >>> 2 : first;
    const high = length === 8 ? first & 0x3 : length === 12 ? this.#uint(4) | 0 : 0;
    const seconds = high * TWO_32 + this.#uint(4);
    if (nanoseconds > MAX_NANOSECONDS || Math.abs(nanoseconds / 1_000_000 + seconds * 1_000) > MAX_DATE_MS)
      throw this.#malformed("a timestamp out of range");
  }

  #malformed(what: string): VgasError {
    return new VgasError("INVALID", `not acceptable as msgpack: ${what} (at byte ${this.#position} of ${this.#end})`);
  }
}

const NO_NAMES: readonly never[] = [];
