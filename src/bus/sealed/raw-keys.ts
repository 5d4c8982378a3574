/** Curve25519 keys as 32 raw bytes, and the KeyObjects that node:crypto wants. */
import { createPrivateKey, createPublicKey, diffieHellman, hkdfSync, type KeyObject } from "node:crypto";
import { VgasError } from "../../protocols/errors.ts";

export const RAW_KEY_BYTES = 32;

/** What stands before the raw key in DER (RFC 8410): SPKI for public keys, PKCS #8 for private ones. */
const DER = {
  x25519: {
    spki: Buffer.from("302a300506032b656e032100", "hex"),
    pkcs8: Buffer.from("302e020100300506032b656e04220420", "hex"),
  },
  ed25519: {
    spki: Buffer.from("302a300506032b6570032100", "hex"),
    pkcs8: Buffer.from("302e020100300506032b657004220420", "hex"),
  },
} as const;
type Curve = keyof typeof DER;

/** @throws VgasError INVALID unless it is 32 bytes */
export function publicKeyOf(curve: Curve, raw: Uint8Array): KeyObject {
  checkLength(raw);
  return createPublicKey({ key: Buffer.concat([DER[curve].spki, raw]), format: "der", type: "spki" });
}

/** `raw` stays the caller's to wipe. @throws VgasError INVALID unless it is 32 bytes */
export function privateKeyOf(curve: Curve, raw: Uint8Array): KeyObject {
  checkLength(raw);
  const der = Buffer.concat([DER[curve].pkcs8, raw]);
  try {
    return createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  } finally {
    der.fill(0);
  }
}

/** The raw public key of either half. */
export function rawPublicKey(key: KeyObject): Buffer {
  const half = key.type === "private" ? createPublicKey(key) : key;
  return half.export({ format: "der", type: "spki" }).subarray(-RAW_KEY_BYTES);
}

/**
 * The shared secret of X25519, which is the caller's to wipe.
 *
 * @throws VgasError INVALID for a point of low order, whose secret anybody would know
 */
export function x25519(privateKey: KeyObject, publicKey: Uint8Array): Buffer {
  let shared: Buffer;
  try {
    shared = diffieHellman({ privateKey, publicKey: publicKeyOf("x25519", publicKey) });
  } catch (error) {
    throw error instanceof VgasError ? error : lowOrder();
  }
  if (shared.every((byte) => byte === 0)) throw lowOrder();
  return shared;
}

/** HKDF with SHA-256 (RFC 5869): `length` bytes, the caller's to wipe. */
export function hkdfSha256(secret: Uint8Array, salt: Uint8Array, info: Uint8Array, length: number): Buffer {
  return Buffer.from(hkdfSync("sha256", secret, salt, info, length));
}

function checkLength(raw: Uint8Array): void {
  if (raw.length !== RAW_KEY_BYTES) throw new VgasError("INVALID", `a key must be ${RAW_KEY_BYTES} bytes`);
}

function lowOrder(): VgasError {
  return new VgasError("INVALID", "the public key is a point of low order");
}
