/**
 * Takes the key out of what a provider answers: a server that echoes it must not give it away.
 *
 * 1. Every occurrence of the key in the bytes that went in is replaced by as many `*`, wherever the pieces are cut.
 * 2. What comes out is as long as what went in, and only bytes with which an occurrence could begin are held back.
 * 3. Nothing that was held back is left in memory afterwards, nor are the patterns once it is wiped.
 *
 * Looked for are the key itself and its base64 (at each of the three places in a group), base64url, hex, URL-encoded and JSON forms.
 * What a server does beyond these (encrypting it, spelling it one character at a time) is not found.
 */

const STAR = 0x2a;
/** Shorter encoded forms would be found where nothing was echoed. */
const MIN_ENCODED_BYTES = 8;
const EMPTY: Buffer = Buffer.alloc(0);

interface Pattern {
  readonly bytes: Buffer;
  /** Of each prefix: length of its longest proper prefix that is also its suffix (Knuth, Morris, Pratt). */
  readonly borders: Uint16Array;
}

export class Redactor {
  #patterns: readonly Pattern[];
  /** Bytes with which an occurrence may begin, as they came. */
  #held: Buffer = EMPTY;
  /** How many of them belong to an occurrence that is known already. */
  #masked = 0;

  /** Copies what it needs of `secret`. */
  constructor(secret: Buffer) {
    this.#patterns = formsOf(secret).map((bytes) => ({ bytes, borders: bordersOf(bytes) }));
  }

  /** What can be passed on now, possibly nothing. Takes `chunk` over and changes it. */
  push(chunk: Buffer): Buffer {
    const all = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    const cut = all.length - this.#open(all);
    const rest = cut === all.length ? EMPTY : Buffer.from(all.subarray(cut));
    this.#held.fill(0);
    const crossing = this.#mask(all, this.#masked, cut);
    this.#held = rest;
    this.#masked = Math.max(0, crossing - cut);
    return all.subarray(0, cut);
  }

  /** What was held back to the end. */
  end(): Buffer {
    const rest = this.#held;
    this.#mask(rest, this.#masked, 0);
    this.#held = EMPTY;
    this.#masked = 0;
    return rest;
  }

  /** A whole text, apart from the stream. Changes `bytes`. */
  whole(bytes: Buffer): Buffer {
    this.#mask(bytes, 0, 0);
    return bytes;
  }

  /** Nothing may go through it afterwards. */
  wipe(): void {
    for (const { bytes } of this.#patterns) bytes.fill(0);
    this.#patterns = [];
    this.#held.fill(0);
    this.#held = EMPTY;
  }

  /** Length of the longest end of `all` with which an occurrence could begin. */
  #open(all: Buffer): number {
    let longest = 0;
    for (const { bytes, borders } of this.#patterns) {
      let length = 0;
      for (let at = Math.max(0, all.length - bytes.length + 1); at < all.length; at++) {
        while (length > 0 && bytes[length] !== all[at]) length = borders[length - 1] ?? 0;
        if (bytes[length] === all[at]) length++;
      }
      longest = Math.max(longest, length);
    }
    return longest;
  }

  /** Masks all occurrences and the first `known` bytes. Returns where these end, of occurrences those that begin before `cut`. */
  #mask(all: Buffer, known: number, cut: number): number {
    const spans: [from: number, to: number][] = known > 0 ? [[0, known]] : [];
    // All are looked for before any is masked, since they may overlap.
    for (const { bytes } of this.#patterns) {
      for (let at = all.indexOf(bytes); at >= 0; at = all.indexOf(bytes, at + 1)) {
        const last = spans.at(-1);
        if (last !== undefined && last[0] <= at && at <= last[1]) last[1] = Math.max(last[1], at + bytes.length);
        else spans.push([at, at + bytes.length]);
      }
    }
    let end = known;
    for (const [from, to] of spans) {
      all.fill(STAR, from, to);
      if (from < cut) end = Math.max(end, to);
    }
    return end;
  }
}

/** Made without strings, which could not be wiped. */
function formsOf(secret: Buffer): Buffer[] {
  const forms: Buffer[] = [Buffer.from(secret)];
  const add = (form: Buffer) => {
    const known = forms.some((other) => other.equals(form));
    if (known || form.length < MIN_ENCODED_BYTES) form.fill(0);
    else forms.push(form);
  };
  for (const alphabet of [BASE64, BASE64URL]) for (const shift of [0, 1, 2]) add(base64(secret, alphabet, shift));
  for (const digits of ["0123456789abcdef", "0123456789ABCDEF"])
    add(spell(secret, (byte) => [digits.charCodeAt(byte >> 4), digits.charCodeAt(byte & 15)]));
  for (const digits of ["0123456789abcdef", "0123456789ABCDEF"])
    add(
      spell(secret, (byte) =>
        UNRESERVED.test(String.fromCharCode(byte))
          ? [byte]
          : [0x25, digits.charCodeAt(byte >> 4), digits.charCodeAt(byte & 15)],
      ),
    );
  // JSON: a quote and a backslash are escaped by all, a slash by some.
  for (const escaped of ['"\\', '"\\/'])
    add(spell(secret, (byte) => (escaped.includes(String.fromCharCode(byte)) ? [0x5c, byte] : [byte])));
  return forms;
}

const UNRESERVED = /[A-Za-z0-9\-_.~]/;
const BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

function spell(secret: Buffer, spelled: (byte: number) => readonly number[]): Buffer {
  const wide = Buffer.alloc(secret.length * 3);
  let length = 0;
  for (const byte of secret) for (const code of spelled(byte)) wide[length++] = code;
  const form = Buffer.from(wide.subarray(0, length));
  wide.fill(0);
  return form;
}

/** The characters of base64 that only `secret` decides, if `shift` bytes of something else stand before it in its group. */
function base64(secret: Buffer, alphabet: string, shift: number): Buffer {
  const firstBit = shift * 8;
  const from = Math.ceil(firstBit / 6);
  const to = Math.floor((firstBit + secret.length * 8) / 6);
  const form = Buffer.alloc(Math.max(0, to - from));
  for (let char = from; char < to; char++) {
    const bit = char * 6 - firstBit;
    const at = bit >> 3;
    const two = ((secret[at] ?? 0) << 8) | (secret[at + 1] ?? 0);
    form[char - from] = alphabet.charCodeAt((two >> (10 - (bit & 7))) & 63);
  }
  return form;
}

function bordersOf(bytes: Buffer): Uint16Array {
  const borders = new Uint16Array(bytes.length);
  for (let at = 1, length = 0; at < bytes.length; at++) {
    while (length > 0 && bytes[length] !== bytes[at]) length = borders[length - 1] ?? 0;
    if (bytes[length] === bytes[at]) length++;
    borders[at] = length;
  }
  return borders;
}
