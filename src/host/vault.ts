/** Hosts the vault on the node whose home has it. */
import type { ActorSystem } from "../actors/runtime/system.ts";
import { keepMemoryOutOfCoreDumps } from "../actors/vault/hardening.ts";
import { Vault, type VaultOptions } from "../actors/vault/vault.ts";
import type { Home } from "../bus/home/home.ts";
import { KvBucket } from "../bus/kv.ts";
import type { Secret } from "../bus/sealed/secret.ts";
import { VgasError } from "../protocols/errors.ts";
import { VAULT } from "../protocols/vault/messages.ts";

export interface HostVaultOptions extends Omit<VaultOptions, "dir" | "witnesses" | "principals"> {
  readonly home: Home;
  readonly system: ActorSystem;
  /** Opens the vault; wiped. */
  readonly passphrase: Secret | undefined;
}

/** Resolves with how to stop it, when the vault can be asked. Whatever is wrong with its file does not end the node. */
export async function hostVault({
  home,
  system,
  passphrase,
  ...options
}: HostVaultOptions): Promise<() => Promise<void>> {
  const { bus, publisher, names, logger } = options;
  if (!(await keepMemoryOutOfCoreDumps()))
    logger.debug({}, "this system does not let the node keep its memory out of core dumps");
  const vault = new Vault({
    ...options,
    dir: home.layout.vault,
    witnesses: new KvBucket(bus, publisher, names.buckets.vault),
    principals: home.credentials,
  });
  const actor = await system.spawn(VAULT, vault.definition());
  if (passphrase) {
    try {
      await vault.unlock(passphrase);
      logger.info({}, "the vault is unsealed");
    } catch (error) {
      const code = error instanceof VgasError ? error.code : "INTERNAL";
      const why = error instanceof Error ? error.message : String(error);
      logger.error({ code }, `the vault could not be unsealed and stays as it is: ${why}`);
    }
  }
  return async () => {
    await actor.stop();
    await vault.close();
  };
}
