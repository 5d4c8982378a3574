/** One sealed value: `IV (12) | ciphertext | tag (16)`, AES-256-GCM, bound to what it is and where it belongs. */
import { IV_BYTES, openAead, sealAead } from "../../../bus/sealed/aead.ts";
import type { Secret } from "../../../bus/sealed/secret.ts";

/** Gives that many random bytes, which are the caller's to keep and to wipe. */
export type RandomBytes = (size: number) => Buffer;

/**
 * Associated data of several parts: each behind its length, so that no two lists of parts give the same bytes. Numbers are
 * 8 bytes, text is UTF-8.
 */
export function associated(...parts: readonly (string | number | Uint8Array)[]): Buffer {
  return Buffer.concat(
    parts.flatMap((part) => {
      const bytes = typeof part === "number" ? uint64(part) : typeof part === "string" ? Buffer.from(part) : part;
      const length = Buffer.alloc(4);
      length.writeUInt32BE(bytes.length);
      return [length, bytes];
    }),
  );
}

/** Seals `plaintext`, which stays the caller's to wipe. */
export function sealBlob(key: Secret, plaintext: Uint8Array, binding: Uint8Array, randomBytes: RandomBytes): Buffer {
  const iv = randomBytes(IV_BYTES);
  return key.use((bytes) => Buffer.concat([iv, sealAead(bytes, iv, plaintext, binding)]));
}

/** The plaintext, which is the caller's to wipe. @throws VgasError INVALID if key, blob and binding do not belong together */
export function openBlob(key: Secret, blob: Uint8Array, binding: Uint8Array): Buffer {
  // A blob cut within its IV is refused by its sizes, one cut behind it by its tag.
  return key.use((bytes) => openAead(bytes, blob.subarray(0, IV_BYTES), blob.subarray(IV_BYTES), binding));
}

function uint64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}
