/** `init`, `unseal`, `seal`, `status` and `rekey`: the vault as a whole. */
import type { Command } from "commander";
import type { Secret } from "../../../bus/sealed/secret.ts";
import { VgasError } from "../../../protocols/errors.ts";
import type { Hello } from "../../../protocols/vault/messages.ts";
import type { Cli } from "../../cli.ts";
import { UsageError } from "../../failure.ts";
import { printable } from "../../style.ts";
import type { Advice } from "./advice.ts";
import {
  addNewPassphraseOptions,
  addPassphraseOptions,
  type NewPassphraseFlags,
  type PassphraseFlags,
  readNewPassphrase,
  readPassphrase,
} from "./passphrase.ts";
import { addVaultCommand, tell, type VaultFlags, withVault } from "./session.ts";

interface UnsealFlags extends PassphraseFlags {
  readonly acceptRollback?: boolean;
}

interface RekeyFlags extends PassphraseFlags, NewPassphraseFlags {}

const HAS_ONE = "`vgas vault status` tells how it is, `vgas vault unseal` opens it";
/** Of the passphrase's form the vault judges, and says which bound it breaks. */
const PASSPHRASE_ADVICE: Advice = { INVALID: "Nothing was changed: give the command again, with another passphrase." };
const INIT_ADVICE: Advice = {
  ...PASSPHRASE_ADVICE,
  CONFLICT: `${HAS_ONE}.`,
  VAULT_ROLLED_BACK:
    "Stop the node, put vault.bin back from a backup and start it; or `vgas vault init --accept-rollback` if its keys are lost.",
};

export function addInit(vault: Command, cli: Cli): void {
  addPassphraseOptions(addVaultCommand(vault, "init"))
    .summary("make the vault and leave it unsealed")
    .description(
      "Makes the vault of the swarm and leaves it unsealed. A --key-file that is not there is made, with 32 random bytes. " +
        "Without the passphrase or the key file nobody can open the vault, and nothing can restore it.",
    )
    .option("--accept-rollback", "the swarm had another vault, which is gone for good")
    .action(async (flags: UnsealFlags) => {
      await withVault(cli, flags, async ({ hello, call, input }) => {
        const { state, vaultId } = await hello();
        if (state !== "uninitialised") {
          const id = vaultId === undefined ? "" : `: ${vaultId}`;
          throw new VgasError("CONFLICT", `the swarm has a vault already${id}; ${HAS_ONE}`);
        }
        const given = { newPassphraseFile: flags.passphraseFile, newKeyFile: flags.keyFile };
        const passphrase = await readNewPassphrase(input, definedOnly(given), {
          tell: (text) => cli.terminal.note(text),
          first: true,
        });
        const made = await using(passphrase, () =>
          call(
            "init",
            (seal) => ({
              sealed: seal(passphrase),
              ...(flags.acceptRollback && { acceptRollback: true }),
            }),
            { advice: INIT_ADVICE },
          ),
        );
        tell(cli, flags, made, `The vault ${made.vaultId} is made and unsealed.`);
      });
    });
}

export function addUnseal(vault: Command, cli: Cli): void {
  addPassphraseOptions(addVaultCommand(vault, "unseal"))
    .summary("open the vault")
    .description("Opens the vault with its passphrase or key file, until its node ends or it is sealed.")
    .option("--accept-rollback", "an older vault file was put back on purpose")
    .action(async (flags: UnsealFlags) => {
      await withVault(cli, flags, async ({ hello, call, input }) => {
        refuseUninitialised(await hello());
        const passphrase = await readPassphrase(input, flags);
        const opened = await using(passphrase, () =>
          call("unseal", (seal) => ({
            sealed: seal(passphrase),
            ...(flags.acceptRollback && { acceptRollback: true }),
          })),
        );
        tell(cli, flags, opened, `The vault ${opened.vaultId} is unsealed.`);
      });
    });
}

export function addSeal(vault: Command, cli: Cli): void {
  addVaultCommand(vault, "seal")
    .summary("close the vault: no key is given out until it is unsealed")
    .description("Closes the vault: no key is given out, and no call made, until it is unsealed.")
    .action(async (flags: VaultFlags) => {
      await withVault(cli, flags, async ({ call }) => {
        await call("seal", {});
        tell(cli, flags, { state: "sealed" }, "The vault is sealed.");
      });
    });
}

export function addVaultStatus(vault: Command, cli: Cli): void {
  addVaultCommand(vault, "status")
    .summary("whether the vault is there, and open")
    .description("Shows the state of the vault, why it has failed if it has, and the node that runs it.")
    .action(async (flags: VaultFlags) => {
      await withVault(cli, flags, async ({ hello }) => {
        const { state, why, vaultId, host, boot } = await hello();
        const status = {
          state,
          ...(why !== undefined && { why }),
          ...(vaultId !== undefined && { vaultId }),
          host,
          boot,
        };
        if (flags.json) cli.terminal.data(JSON.stringify(status));
        else cli.terminal.data(statusText(status));
      });
    });
}

export function addRekey(vault: Command, cli: Cli): void {
  addNewPassphraseOptions(addPassphraseOptions(addVaultCommand(vault, "rekey")))
    .summary("change the passphrase")
    .description("Changes the passphrase or key file of the vault, while agents go on using its keys.")
    .action(async (flags: RekeyFlags) => {
      const fromStdin = [flags.passphraseFile, flags.keyFile, flags.newPassphraseFile, flags.newKeyFile];
      if (fromStdin.filter((file) => file === "-").length > 1)
        throw new UsageError("standard input gives one secret only", "Give a file for the other one.");
      await withVault(cli, flags, async ({ hello, call, input }) => {
        refuseUninitialised(await hello());
        const present = await readPassphrase(input, flags);
        await using(present, async () => {
          const next = await readNewPassphrase(input, flags, { tell: (text) => cli.terminal.note(text) });
          const done = await using(next, () =>
            call("rekey", (seal) => ({ sealed: seal(present), next: seal(next) }), { advice: PASSPHRASE_ADVICE }),
          );
          const [former, now] = [named(flags.keyFile), named(flags.newKeyFile)];
          const end = former === now ? "the former one" : `the ${former}`;
          tell(cli, flags, done, `The vault has its new ${now}; ${end} opens it no more.`);
        });
      });
    });
}

function statusText({ state, why, vaultId, host }: Pick<Hello, "state" | "why" | "vaultId" | "host">): string {
  const lines = [`state  ${state}`];
  if (why !== undefined) lines.push(`why    ${printable(why)}`);
  if (vaultId !== undefined) lines.push(`vault  ${printable(vaultId)}`);
  lines.push(`node   ${printable(host)}`);
  return lines.join("\n");
}

function refuseUninitialised({ state }: Hello): void {
  if (state === "uninitialised")
    throw new VgasError("VAULT_UNINITIALISED", "the swarm has no vault yet: make it with `vgas vault init`");
}

function named(keyFile: string | undefined): string {
  return keyFile === undefined ? "passphrase" : "key file";
}

/** Wipes the secret when `work` has ended, however it did. */
export async function using<T>(secret: Secret, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } finally {
    secret.wipe();
  }
}

function definedOnly(given: {
  newPassphraseFile?: string | undefined;
  newKeyFile?: string | undefined;
}): NewPassphraseFlags {
  const { newPassphraseFile, newKeyFile } = given;
  return {
    ...(newPassphraseFile !== undefined && { newPassphraseFile }),
    ...(newKeyFile !== undefined && { newKeyFile }),
  };
}
