/** AES-256-GCM as everything that is sealed uses it: 32-byte keys, 12-byte IVs, 16-byte tags, nothing else. */
import { createCipheriv, createDecipheriv } from "node:crypto";
import { VgasError } from "../../protocols/errors.ts";

const CIPHER = "aes-256-gcm";
export const KEY_BYTES = 32;
export const IV_BYTES = 12;
export const TAG_BYTES = 16;

const NOTHING = new Uint8Array(0);

/** Ciphertext and tag behind it. An IV must never be used twice with the same key. */
export function sealAead(
  key: Uint8Array,
  iv: Uint8Array,
  plaintext: Uint8Array,
  associated: Uint8Array = NOTHING,
): Buffer {
  checkSizes(key, iv);
  const cipher = createCipheriv(CIPHER, key, iv, { authTagLength: TAG_BYTES });
  cipher.setAAD(associated);
  const sealed = Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
  return sealed;
}

/**
 * The plaintext, which is the caller's to wipe. Nothing of it is released before the tag is verified.
 *
 * @throws VgasError INVALID if it is not what was sealed with this key, IV and associated data
 */
export function openAead(
  key: Uint8Array,
  iv: Uint8Array,
  sealed: Uint8Array,
  associated: Uint8Array = NOTHING,
): Buffer {
  checkSizes(key, iv);
  if (sealed.length < TAG_BYTES) throw refused();
  const end = sealed.length - TAG_BYTES;
  // Without authTagLength a tag of 4 bytes would do.
  const decipher = createDecipheriv(CIPHER, key, iv, { authTagLength: TAG_BYTES });
  decipher.setAAD(associated);
  decipher.setAuthTag(sealed.subarray(end));
  const plaintext = decipher.update(sealed.subarray(0, end));
  try {
    // A stream mode: `final` verifies and adds no bytes.
    decipher.final();
    return plaintext;
  } catch {
    plaintext.fill(0);
    throw refused();
  }
}

function checkSizes(key: Uint8Array, iv: Uint8Array): void {
  if (key.length !== KEY_BYTES || iv.length !== IV_BYTES) {
    throw new VgasError("INVALID", `AES-256-GCM takes a key of ${KEY_BYTES} bytes and an IV of ${IV_BYTES}`);
  }
}

function refused(): VgasError {
  return new VgasError("INVALID", "the sealed bytes are not what was sealed, or not for this key");
}
