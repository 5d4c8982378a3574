/** Pairs of user nkeys, made and read by node:crypto. */
import { randomBytes } from "node:crypto";
import { decodeUserSeed, encodeUserKey, encodeUserSeed } from "./nkey.ts";
import { privateKeyOf, RAW_KEY_BYTES, rawPublicKey } from "./raw-keys.ts";

export interface UserKeys {
  /** `SU…` as bytes, the caller's to wipe. */
  readonly seed: Uint8Array;
  /** `U…`. */
  readonly publicKey: string;
}

export function createUserKeys(): UserKeys {
  const raw = randomBytes(RAW_KEY_BYTES);
  try {
    return { seed: encodeUserSeed(raw), publicKey: encodeUserKey(rawPublicKey(privateKeyOf("ed25519", raw))) };
  } finally {
    raw.fill(0);
  }
}

/** `U…` of `SU…`, which stays the caller's. @throws VgasError INVALID, never quoting it */
export function userKeyOfSeed(seed: Uint8Array): string {
  const raw = decodeUserSeed(seed);
  try {
    return encodeUserKey(rawPublicKey(privateKeyOf("ed25519", raw)));
  } finally {
    raw.fill(0);
  }
}
