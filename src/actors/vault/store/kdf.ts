/** From a passphrase to the root key: scrypt (RFC 7914), with parameters that stand in the file and are bounded on read. */
import { scrypt } from "node:crypto";
import type { Secret } from "../../../bus/sealed/secret.ts";
import { VgasError } from "../../../protocols/errors.ts";

export const SALT_BYTES = 32;
const ROOT_BYTES = 32;

/** Bytes of a passphrase or key file. Shorter ones are guessed; longer ones are a file given by mistake. */
const MIN_PASSPHRASE_BYTES = 8;
const MAX_PASSPHRASE_BYTES = 4_096;

/** N = 2^log2N: cost in time and memory; r: size of a block; p: lanes. */
export interface KdfCost {
  readonly log2N: number;
  readonly r: number;
  readonly p: number;
}

/** 128 MiB and 0.4 s on a machine of 2024. */
export const NEW_COST: KdfCost = { log2N: 17, r: 8, p: 1 };

/**
 * What is accepted of a file. Below, whoever can write the file could have the next passphrase stretched so little that it
 * can be guessed; above, the file would take the machine's memory.
 */
const BOUNDS = { log2N: [15, 20], r: [8, 16], p: [1, 4] } as const;
const MAX_MEMORY_BYTES = 256 * 1024 * 1024;

/** Resolves with the root key, which is the caller's to wipe. Injected so that tests need not wait for scrypt. */
export type Kdf = (passphrase: Buffer, salt: Uint8Array, cost: KdfCost) => Promise<Buffer>;

/** Why these parameters are not accepted, or undefined. */
export function refusalOf(cost: KdfCost): string | undefined {
  for (const name of ["log2N", "r", "p"] as const) {
    const [min, max] = BOUNDS[name];
    const value = cost[name];
    if (!(Number.isInteger(value) && value >= min && value <= max)) {
      return `its scrypt parameter ${name} is ${value}, and must be ${min} to ${max}`;
    }
  }
  // Of the lanes only one is worked on at a time.
  const bytes = 128 * cost.r * 2 ** cost.log2N;
  return bytes > MAX_MEMORY_BYTES
    ? `its scrypt parameters need ${bytes} bytes, more than ${MAX_MEMORY_BYTES}`
    : undefined;
}

/** scrypt off the main thread. node:crypto copies the passphrase at the call, and wipes its copy. */
export const scryptKdf: Kdf = (passphrase, salt, { log2N, r, p }) => {
  const N = 2 ** log2N;
  // OpenSSL counts blocks for N, the lanes, and two to work with.
  const maxmem = 128 * r * (N + p + 2);
  return new Promise((resolve, reject) => {
    scrypt(passphrase, salt, ROOT_BYTES, { N, r, p, maxmem }, (error, root) => {
      if (error === null) resolve(root);
      else reject(new VgasError("INTERNAL", `scrypt failed: ${error.message}`, { cause: error }));
    });
  });
};

/** @throws VgasError INVALID naming the bound, never the passphrase */
export function checkPassphrase(passphrase: Secret): void {
  const { length } = passphrase;
  if (length >= MIN_PASSPHRASE_BYTES && length <= MAX_PASSPHRASE_BYTES) return;
  throw new VgasError(
    "INVALID",
    `a passphrase must have ${MIN_PASSPHRASE_BYTES} to ${MAX_PASSPHRASE_BYTES} bytes, not ${length}`,
  );
}
