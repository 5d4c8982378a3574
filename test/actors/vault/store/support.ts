/** A vault in a temporary folder, with a kdf that costs nothing, and what the tests put into it. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import type { Kdf } from "../../../../src/actors/vault/store/kdf.ts";
import { VaultStore, type VaultStoreOptions } from "../../../../src/actors/vault/store/vault-store.ts";
import { Secret } from "../../../../src/bus/sealed/secret.ts";
import { type Clock, systemClock } from "../../../../src/protocols/clock.ts";

export const PASSPHRASE = "correct horse battery staple";
export const NEXT_PASSPHRASE = "a passphrase of later";
export const KEY = "sk-canary-0123456789-abcdefgh";
export const NEXT_KEY = "sk-canary-9876543210-hgfedcba";
export const NOW = 1_800_000_000_000;

/** Real timers for the lock between processes; the time that is stored stands still. */
const clock: Clock = { ...systemClock, now: () => NOW };

/** Depends on everything that scrypt does, and takes no time. */
export const quickKdf: Kdf = async (passphrase, salt, { log2N, r, p }) =>
  createHash("sha256")
    .update(salt)
    .update(Buffer.from([log2N, r, p]))
    .update(passphrase)
    .digest();

export function secret(text: string): Secret {
  return Secret.fromUtf8(text);
}

export function openStore(dir: string, options: Partial<VaultStoreOptions> = {}): Promise<VaultStore> {
  return VaultStore.open({ dir, clock, kdf: quickKdf, ...options });
}

/** An open vault in `<parent>/vault` with the key `openai/main`: generation 2. */
export async function makeVault(parent: string): Promise<{ store: VaultStore; dir: string }> {
  const dir = join(parent, "vault");
  const store = await openStore(dir);
  await store.init(secret(PASSPHRASE));
  await store.add("openai", "main", secret(KEY), {});
  return { store, dir };
}

/** The key of `openai/main`, as text. */
export function keyOf(store: VaultStore, provider = "openai", name = "main"): string {
  return store.withKey(provider, name, (key) => key.toString());
}
