/** The passphrase with which a node opens its vault at the start, from wherever it was told to take it. */
import type { Secret } from "../bus/sealed/secret.ts";
import type { Config } from "../config.ts";
import { parseUnlock, readUnlock } from "../unlock.ts";
import type { Cli } from "./cli.ts";
import { SecretInput } from "./secret-input.ts";

/** Undefined if the node is to start with its vault sealed. The caller wipes it. @throws UsageError, VgasError CONFIG, ABORTED */
export async function readVaultPassphrase(cli: Cli, { home, vaultUnlock }: Config): Promise<Secret | undefined> {
  if (vaultUnlock === undefined) return undefined;
  const input = new SecretInput(cli);
  try {
    return await readUnlock(parseUnlock(vaultUnlock), {
      home,
      signal: cli.interrupt.signal,
      prompt: () =>
        input.read({
          what: "the vault's passphrase",
          label: "Passphrase",
          form: "line",
          flag: "--vault-unlock",
          remedy: "Use another --vault-unlock source: file:PATH, stdin, systemd, keyring.",
        }),
    });
  } finally {
    input.close();
  }
}
