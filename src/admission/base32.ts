const ALPHABET = "abcdefghijklmnopqrstuvwxyz234567";
const BITS = 5;

/** `bytes` in lower case base32 without padding: what people read out and what may be a file's name everywhere. */
export function base32(bytes: Uint8Array): string {
  let text = "";
  let value = 0;
  let bits = 0;
  for (const byte of bytes) {
    value = (value << 8) | byte;
    bits += 8;
    while (bits >= BITS) {
      bits -= BITS;
      text += ALPHABET[(value >> bits) & 31];
    }
    value &= (1 << bits) - 1;
  }
  return bits === 0 ? text : text + ALPHABET[(value << (BITS - bits)) & 31];
}
