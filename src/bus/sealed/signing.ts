/** Signatures by the credentials of the swarm: Ed25519 with a user's nkey. */
import { type KeyObject, sign, verify } from "node:crypto";
import { decodeUserKey, decodeUserSeed, encodeUserKey } from "./nkey.ts";
import { privateKeyOf, publicKeyOf, rawPublicKey } from "./raw-keys.ts";

/** Most public keys kept as KeyObjects: making one costs as much as half a verification. */
const MAX_CACHED = 1_000;

/** Signs as one user of the swarm. Holds the private key; nothing that is printed shows it. */
export interface Signer {
  /** Name of the user; for a node's credential its host id. */
  readonly user: string;
  /** `U…`. */
  readonly publicKey: string;
  /** 64 bytes. */
  sign(data: Uint8Array): Uint8Array;
}

/** `seed` is `SU…` as bytes; it stays the caller's. @throws VgasError INVALID */
export function signerOf(user: string, seed: Uint8Array): Signer {
  const raw = decodeUserSeed(seed);
  try {
    const key = privateKeyOf("ed25519", raw);
    return { user, publicKey: encodeUserKey(rawPublicKey(key)), sign: (data) => sign(null, data, key) };
  } finally {
    raw.fill(0);
  }
}

const cached = new Map<string, KeyObject>();

/** Whether `signature` is that of the holder of `publicKey` (`U…`) over `data`. Never throws. */
export function verifySignature(publicKey: string, data: Uint8Array, signature: Uint8Array): boolean {
  try {
    return verify(null, data, keyOf(publicKey), signature);
  } catch {
    return false;
  }
}

function keyOf(publicKey: string): KeyObject {
  const known = cached.get(publicKey);
  if (known) return known;
  const key = publicKeyOf("ed25519", decodeUserKey(publicKey));
  const [oldest] = cached.keys();
  if (oldest !== undefined && cached.size >= MAX_CACHED) cached.delete(oldest);
  cached.set(publicKey, key);
  return key;
}
