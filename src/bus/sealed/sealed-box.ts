/**
 * Sealed boxes: bytes that only the holder of one X25519 key can read, and only in the context they were sealed for.
 *
 * ```
 * box        = ephemeral public key (32) | ciphertext | tag (16)
 * key | IV   = HKDF-SHA256(X25519(ephemeral, recipient), salt = ephemeral public key | recipient public key,
 *                          info = "vgas.vault.box.v1\0" | context), 32 + 12 bytes
 * ciphertext = AES-256-GCM
 * ```
 *
 * 1. Each box has an ephemeral key of its own, so key and IV are never used twice.
 * 2. A box says nothing about its sender: what carries it must be signed.
 */
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { VgasError } from "../../protocols/errors.ts";
import { IV_BYTES, KEY_BYTES, openAead, sealAead, TAG_BYTES } from "./aead.ts";
import { hkdfSha256, RAW_KEY_BYTES, rawPublicKey, x25519 } from "./raw-keys.ts";

const BOX_DOMAIN = "vgas.vault.box.v1\0";

/** Bytes of a box around its plaintext. */
const BOX_OVERHEAD_BYTES = RAW_KEY_BYTES + TAG_BYTES;

export interface BoxKeys {
  /** Raw, 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly privateKey: KeyObject;
}

export function generateBoxKeys(): BoxKeys {
  const { privateKey } = generateKeyPairSync("x25519");
  return { publicKey: rawPublicKey(privateKey), privateKey };
}

/**
 * Seals `plaintext`, which stays the caller's to wipe, for the holder of `recipient`.
 *
 * @throws VgasError INVALID if `recipient` is no usable public key
 */
export function sealBox(recipient: Uint8Array, plaintext: Uint8Array, context: Uint8Array): Uint8Array {
  const ephemeral = generateBoxKeys();
  const keys = derive(x25519(ephemeral.privateKey, recipient), ephemeral.publicKey, recipient, context);
  try {
    return Buffer.concat([
      ephemeral.publicKey,
      sealAead(keys.subarray(0, KEY_BYTES), keys.subarray(KEY_BYTES), plaintext),
    ]);
  } finally {
    keys.fill(0);
  }
}

/**
 * The plaintext, which is the caller's to wipe.
 *
 * @throws VgasError INVALID if the box is damaged, was sealed for another key, or in another context
 */
export function openBox(keys: BoxKeys, box: Uint8Array, context: Uint8Array): Buffer {
  if (box.length < BOX_OVERHEAD_BYTES) throw new VgasError("INVALID", "a sealed box is longer than that");
  const ephemeral = box.subarray(0, RAW_KEY_BYTES);
  const derived = derive(x25519(keys.privateKey, ephemeral), ephemeral, keys.publicKey, context);
  try {
    return openAead(derived.subarray(0, KEY_BYTES), derived.subarray(KEY_BYTES), box.subarray(RAW_KEY_BYTES));
  } finally {
    derived.fill(0);
  }
}

/** The context of a secret that travels to the vault: good for this operation, this life of the vault and this request. */
export function secretContext(op: string, boot: string, nonce: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(`${op}\0${boot}\0`), nonce]);
}

/** Wipes `shared`. */
function derive(shared: Buffer, ephemeral: Uint8Array, recipient: Uint8Array, context: Uint8Array): Buffer {
  try {
    const salt = Buffer.concat([ephemeral, recipient]);
    return hkdfSha256(shared, salt, Buffer.concat([Buffer.from(BOX_DOMAIN), context]), KEY_BYTES + IV_BYTES);
  } finally {
    shared.fill(0);
  }
}
