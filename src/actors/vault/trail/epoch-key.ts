/**
 * The key of the present epoch. Keys go forward only: who takes the disk finds this one and can make the ones to come, but none of
 * those before, so what was written in earlier epochs cannot be rewritten unnoticed.
 *
 * The first key is derived from the vault's own secret. Who has opened the vault can make all of them again: see verify.ts.
 */
import { hkdfSync } from "node:crypto";
import { readdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { readPrivate, writeWhole } from "../../../bus/home/files.ts";
import { Secret } from "../../../bus/sealed/secret.ts";
import { VgasError } from "../../../protocols/errors.ts";

const KEY_FILE = "trail.key";
const STRAY = /^(?:trail\.key\..*|\d+\.jsonl)\.tmp$/;
const KEY_BYTES = 32;
const MAX_FILE_BYTES = 1_024;
const NEXT = "vgas.vault.trail.epoch.v1";

const keyFile = z.strictObject({
  v: z.literal(1),
  epoch: z.number().int().min(0),
  key: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
});

export interface EpochKey {
  readonly epoch: number;
  readonly key: Secret;
}

/** The key of epoch 0. `seed` stays the caller's; it must have 32 bytes. */
export function firstKey(seed: Secret): EpochKey {
  if (seed.length !== KEY_BYTES) throw new VgasError("INVALID", `the seed of a trail has ${KEY_BYTES} bytes`);
  return { epoch: 0, key: seed.copy() };
}

/** The key of the epoch after; the present one stays the caller's, to wipe. */
export function nextKey({ epoch, key }: EpochKey): EpochKey {
  const next = key.use((bytes) => Buffer.from(hkdfSync("sha256", bytes, "", NEXT, KEY_BYTES)));
  return { epoch: epoch + 1, key: new Secret(next) };
}

/** Puts the key in the place of the one before; a crash leaves the one or the other. @throws VgasError CONFIG */
export async function writeKey(dir: string, { epoch, key }: EpochKey): Promise<void> {
  const content = key.use((bytes) => JSON.stringify({ v: 1, epoch, key: bytes.toString("base64url") }));
  await writeWhole(join(dir, KEY_FILE), `${content}\n`);
}

/**
 * The key on disk, or undefined if there is none.
 *
 * @throws VgasError VAULT_DAMAGED if it is no key, CONFIG if others can read it
 */
export async function readKey(dir: string): Promise<EpochKey | undefined> {
  const path = join(dir, KEY_FILE);
  const bytes = await readPrivate(path, MAX_FILE_BYTES);
  if (bytes === undefined) return undefined;
  try {
    const { epoch, key } = keyFile.parse(JSON.parse(bytes.toString("utf8")));
    // Not Buffer.from: that takes small buffers from a slab that others get views of.
    const raw = Buffer.allocUnsafeSlow(KEY_BYTES);
    raw.write(key, "base64url");
    return { epoch, key: new Secret(raw) };
  } catch {
    // Not the parser's words: they quote what they read.
    throw new VgasError("VAULT_DAMAGED", `${path} is not the key of an audit trail`);
  } finally {
    bytes.fill(0);
  }
}

/**
 * A crash while a key was replaced leaves a copy, by which its epoch could be rewritten; one while a segment was begun leaves a second
 * name for it.
 */
export async function removeStrays(dir: string): Promise<void> {
  for (const name of await readdir(dir)) if (STRAY.test(name)) await unlink(join(dir, name));
}
