/** What the subcommands of `vgas vault` share: their flags, the way to the vault, and the end on a signal. */
import { realpath } from "node:fs/promises";
import { type Command, InvalidArgumentError } from "commander";
import { Credentials } from "../../../bus/credentials/credentials.ts";
import { layoutOf } from "../../../bus/home/layout.ts";
import type { CallOptions, OperationInput, Seal } from "../../../bus/sealed/vault-caller.ts";
import { VaultOperator } from "../../../client/vault-operator.ts";
import { isToken } from "../../../protocols/tokens.ts";
import type { Hello } from "../../../protocols/vault/messages.ts";
import type { OperationName, OperationReply } from "../../../protocols/vault/operations.ts";
import type { Cli } from "../../cli.ts";
import { addSwarmOptions, addTimeoutOption, type SwarmFlags } from "../../options.ts";
import { SecretInput } from "../../secret-input.ts";
import { commandConfig, withSwarm } from "../../swarm.ts";

export interface VaultFlags extends SwarmFlags {
  readonly timeout?: number;
}

/** Enough for a key derivation on a slow machine, ms. */
const TIMEOUT_MS = 60_000;

export interface VaultSession {
  readonly input: SecretInput;
  hello(): Promise<Hello>;
  call<Name extends OperationName>(
    op: Name,
    args: OperationInput<Name> | ((seal: Seal) => OperationInput<Name>),
    timeoutMs?: number,
  ): Promise<OperationReply<Name>>;
}

/** Adds a subcommand with the flags that all have. */
export function addVaultCommand(vault: Command, name: string): Command {
  return addTimeoutOption(addSwarmOptions(vault.command(name)), "wait no longer than this for the vault; exit 5");
}

/**
 * Runs `use` with the vault of the swarm that the flags mean, in the role of an admin.
 *
 * @throws VgasError what `withSwarm` and `use` throw; after a signal the exit code says it instead
 */
export async function withVault(
  cli: Cli,
  flags: VaultFlags,
  use: (session: VaultSession) => Promise<void>,
): Promise<void> {
  const input = new SecretInput(cli, flags.connection === "-" ? "the connection" : undefined);
  const options = (timeoutMs = TIMEOUT_MS): CallOptions => ({
    timeoutMs: flags.timeout ?? timeoutMs,
    signal: cli.interrupt.signal,
  });
  try {
    await withSwarm(cli, flags, "admin", async ({ bus, names, seed }) => {
      const vault = new VaultOperator({ bus, names, seed: seed ?? (await seedOfHome(commandConfig(cli, flags).home)) });
      await use({
        input,
        hello: () => vault.hello(options()),
        call: (op, args, timeoutMs) => vault.call(op, args, options(timeoutMs)),
      });
    });
  } catch (error) {
    if (!cli.interrupt.explains(error)) throw error;
    cli.exitCode = cli.interrupt.exitCode;
  } finally {
    input.close();
  }
}

/** On an external NATS system, which issues credentials of its own, the vault still goes by those of its home. */
async function seedOfHome(home: string): Promise<Uint8Array | undefined> {
  try {
    return (await new Credentials(layoutOf(await realpath(home))).read("admin")).seed;
  } catch {
    // What misses it says so: only an operation needs one.
    return undefined;
  }
}

/** A name of the vault: of a provider, a key, a kind, a pool, a node or a task. */
export function tokenArgument(text: string): string {
  if (!isToken(text)) throw new InvalidArgumentError("It must be a token: 1 to 64 of A-Z a-z 0-9 _ -");
  return text;
}

/** Says what was done: as an object with `--json`, otherwise for people. */
export function tell({ terminal }: Cli, { json }: VaultFlags, what: object, text: string): void {
  if (json) terminal.data(JSON.stringify(what));
  else terminal.note(text);
}
