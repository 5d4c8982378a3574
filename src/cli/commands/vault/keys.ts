/** `store`, `rotate` and `delete`: what changes the keys of the vault. */
import type { Command } from "commander";
import { leasable } from "../../../actors/vault/accounting/budgets.ts";
import type { KeyView } from "../../../protocols/vault/keys.ts";
import type { Cli } from "../../cli.ts";
import { UsageError } from "../../failure.ts";
import type { SecretQuestion } from "../../secret-input.ts";
import { using } from "./lifecycle.ts";
import { addVaultCommand, tell, tokenArgument, type VaultFlags, withVault } from "./session.ts";
import { addSettingsOptions, type SettingsFlags, settingsChangeOf, settingsOf } from "./settings.ts";
import { keyName } from "./text.ts";

interface KeyFlags extends VaultFlags {
  readonly name?: string;
  readonly keyFile?: string;
}

interface StoreFlags extends KeyFlags, SettingsFlags {
  readonly update?: boolean;
}

interface DeleteFlags extends VaultFlags {
  readonly name?: string;
  readonly yes?: boolean;
}

export const DEFAULT_NAME = "default";

const SETTINGS_ADVICE = {
  INVALID: "Correct what the message names: `vgas vault store --help` tells of the settings.",
} as const;

export function addStore(vault: Command, cli: Cli): void {
  const command = addKeyFileOption(addNameOption(addVaultCommand(vault, "store")))
    .summary("store a key of a provider")
    .description(
      "Stores a key of a provider. The key comes from --key-file, from standard input where that is no terminal, or from a " +
        "prompt that does not show it. Several keys of one provider, each with a --name, take turns.",
    )
    .argument("<provider>", "such as openai or anthropic", tokenArgument)
    .option("--update", "change only the settings of a key that is there");
  addSettingsOptions(command).action(async (provider: string, flags: StoreFlags) => {
    const name = flags.name ?? DEFAULT_NAME;
    const settings = flags.update ? {} : settingsOf(flags);
    const change = settingsChangeOf(flags);
    if (flags.update) {
      if (flags.keyFile !== undefined)
        throw new UsageError("--update changes no key", "For a new version of it: `vgas vault rotate PROVIDER`.");
      if (Object.keys(change).length === 0)
        throw new UsageError("--update needs something to change", "`vgas vault store --help` shows the settings.");
    } else if (flags.reset !== undefined)
      throw new UsageError("--reset changes a key that is there", "Give --update with it.");
    await withVault(cli, flags, async ({ call, input }) => {
      if (flags.update) {
        const key = await call("store", { provider, name, settings: change }, { advice: SETTINGS_ADVICE });
        tell(cli, flags, key, `Changed the settings of ${keyName(key)}.`);
        return;
      }
      const secret = await input.read(question(provider, name, flags));
      const key = await using(secret, () =>
        call("store", (seal) => ({ provider, name, settings, sealed: seal(secret) }), {
          advice: { CONFLICT: replaces(provider, name), ...SETTINGS_ADVICE },
        }),
      );
      tell(cli, flags, key, `Stored ${described(key)}.`);
      warnOfNoCalls(cli, flags, key);
    });
  });
}

export function addRotate(vault: Command, cli: Cli): void {
  addKeyFileOption(addNameOption(addVaultCommand(vault, "rotate")))
    .summary("a new version of a key, or a new term of the keyring")
    .description(
      "With a provider: replaces its key by a new one, taken as `store` takes it. Without: begins a new term of the keyring " +
        "and seals every key anew under it. Agents go on meanwhile.",
    )
    .argument("[provider]", "whose key is replaced", tokenArgument)
    .action(async (provider: string | undefined, flags: KeyFlags) => {
      if (provider === undefined && (flags.name !== undefined || flags.keyFile !== undefined))
        throw new UsageError(
          "--name and --key-file are of a provider's key",
          "Name the provider: `vgas vault rotate PROVIDER`.",
        );
      await withVault(cli, flags, async ({ call, input }) => {
        if (provider === undefined) {
          const done = await call("rotate", {});
          tell(cli, flags, done, `Every key is sealed under term ${done.term} of the keyring.`);
          return;
        }
        const name = flags.name ?? DEFAULT_NAME;
        const secret = await input.read(question(provider, name, flags));
        const done = await using(secret, () => call("rotate", (seal) => ({ provider, name, sealed: seal(secret) })));
        tell(cli, flags, done, `Replaced ${done.key === undefined ? `${provider}/${name}` : described(done.key)}.`);
      });
    });
}

export function addDelete(vault: Command, cli: Cli): void {
  addNameOption(addVaultCommand(vault, "delete"))
    .summary("delete a key")
    .description("Deletes a key for good, after asking. What was used of it stays in the ledger.")
    .argument("<provider>", "whose key", tokenArgument)
    .option("--yes", "do not ask")
    .action(async (provider: string, flags: DeleteFlags) => {
      const name = flags.name ?? DEFAULT_NAME;
      await withVault(cli, flags, async ({ call, input }) => {
        const remedy = `Give --yes: \`vgas vault delete ${provider} --name ${name} --yes\`.`;
        if (!flags.yes && !(await input.confirm(`Delete the key ${provider}/${name} for good?`, remedy))) {
          cli.terminal.note("Nothing was deleted.");
          cli.exitCode = 1;
          return;
        }
        await call("delete", { provider, name });
        tell(cli, flags, { provider, name, deleted: true }, `Deleted ${provider}/${name}.`);
      });
    });
}

export function addNameOption(command: Command): Command {
  return command.option("--name <name>", `which key of the provider (default: ${DEFAULT_NAME})`, tokenArgument);
}

function addKeyFileOption(command: Command): Command {
  return command.option("--key-file <file>", "a file with the key, one line; - reads it from stdin");
}

function question(provider: string, name: string, { keyFile }: KeyFlags): SecretQuestion {
  return {
    what: "the key",
    label: `Key ${provider}/${name}`,
    form: "key",
    file: keyFile,
    flag: "--key-file",
    piped: true,
  };
}

function replaces(provider: string, name: string): string {
  const key = `${provider} --name ${name}`;
  return `\`vgas vault rotate ${key}\` replaces the key, \`vgas vault store ${key} --update\` changes its settings.`;
}

/** Vgas knows where the keys of some providers go; of any other only its operator does. */
function warnOfNoCalls({ terminal }: Cli, { json }: VaultFlags, { provider, name, settings, budgets }: KeyView): void {
  if (json || settings.origins === undefined || settings.origins.length > 0) return;
  const leased = settings.lease !== false && leasable(budgets);
  const only = leased ? "Agents can lease it, and make no calls with it" : "Nothing can be done with it yet";
  const where = `\`vgas vault store ${provider} --name ${name} --update --origin https://HOST\``;
  terminal.note(
    `${terminal.errStyle.yellow("warning:")} ${only}: it has no --origin. ${where} says where calls may go.`,
  );
}

function described(key: KeyView): string {
  const ending = key.last4 === undefined ? "" : `, ends in ${key.last4}`;
  return `${keyName(key)}, version ${key.version}${ending}, fingerprint ${key.fingerprint}`;
}
