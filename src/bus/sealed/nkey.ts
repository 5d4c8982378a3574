/**
 * The text form of user nkeys: base32 without padding of `prefix | 32 bytes | CRC-16 (XMODEM, little endian)`. A public key
 * has one byte of prefix and begins with `U`, a seed has two and begins with `SU`.
 *
 * The library of nkeys gives neither the raw seed nor the raw public key, and signs in JavaScript, at a hundredth of the
 * speed of node:crypto.
 */
import { VgasError } from "../../protocols/errors.ts";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const RAW_BYTES = 32;
const CRC_BYTES = 2;
/** Values that the base32 letters `U` and `S` become: five bits, at the top of a byte. */
const USER_PREFIX = 20 << 3;
const SEED_PREFIX = 18 << 3;
/** `SU`: five bits of `S`, then the eight of `U`. */
const USER_SEED_PREFIX = [SEED_PREFIX | (USER_PREFIX >> 5), (USER_PREFIX & 31) << 3] as const;

/** `U…` of a raw Ed25519 public key. */
export function encodeUserKey(raw: Uint8Array): string {
  return Buffer.from(encode([USER_PREFIX], raw)).toString("latin1");
}

/** `SU…` of a raw Ed25519 seed, as bytes that can be wiped. */
export function encodeUserSeed(raw: Uint8Array): Uint8Array {
  return encode(USER_SEED_PREFIX, raw);
}

/** Raw bytes of `U…`. @throws VgasError INVALID */
export function decodeUserKey(text: string): Buffer {
  return decode(Buffer.from(text, "latin1"), [USER_PREFIX], "a public user nkey");
}

/** Raw bytes of `SU…`, the caller's to wipe. @throws VgasError INVALID, never quoting it */
export function decodeUserSeed(seed: Uint8Array): Buffer {
  return decode(seed, USER_SEED_PREFIX, "the seed of a user nkey");
}

function encode(prefix: readonly number[], raw: Uint8Array): Uint8Array {
  const bytes = Buffer.concat([Buffer.from(prefix), raw, Buffer.alloc(CRC_BYTES)]);
  const crcAt = bytes.length - CRC_BYTES;
  bytes.writeUInt16LE(crc16(bytes.subarray(0, crcAt)), crcAt);
  const text = new Uint8Array(Math.ceil((bytes.length * 8) / 5));
  let at = 0;
  let bits = 0;
  let value = 0;
  for (const byte of bytes) {
    value = ((value << 8) | byte) & 0xfff;
    for (bits += 8; bits >= 5; bits -= 5) text[at++] = ALPHABET.charCodeAt((value >> (bits - 5)) & 31);
  }
  if (bits > 0) text[at] = ALPHABET.charCodeAt((value << (5 - bits)) & 31);
  bytes.fill(0);
  return text;
}

function decode(text: Uint8Array, prefix: readonly number[], what: string): Buffer {
  const length = prefix.length + RAW_BYTES + CRC_BYTES;
  const refused = (): VgasError => new VgasError("INVALID", `that is not ${what}`);
  if (text.length !== Math.ceil((length * 8) / 5)) throw refused();
  const bytes = Buffer.alloc(length);
  try {
    let at = 0;
    let bits = 0;
    let value = 0;
    for (const character of text) {
      const five = letterValue(character);
      if (five < 0) throw refused();
      value = ((value << 5) | five) & 0xfff;
      bits += 5;
      if (bits >= 8) {
        bits -= 8;
        bytes[at++] = value >> bits;
      }
    }
    const body = bytes.subarray(0, length - CRC_BYTES);
    if (crc16(body) !== bytes.readUInt16LE(length - CRC_BYTES)) throw refused();
    if (prefix.some((byte, i) => bytes[i] !== byte)) throw refused();
    return Buffer.from(body.subarray(prefix.length));
  } finally {
    bytes.fill(0);
  }
}

/** `A`-`Z` and `2`-`7`; -1 for anything else. */
function letterValue(character: number): number {
  if (character >= 65 && character <= 90) return character - 65;
  if (character >= 50 && character <= 55) return character - 24;
  return -1;
}

function crc16(bytes: Uint8Array): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
  }
  return crc;
}
