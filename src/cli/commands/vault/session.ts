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
import { type Advice, advised } from "./advice.ts";

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
    options?: { readonly timeoutMs?: number; readonly advice?: Advice },
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
    await withSwarm(cli, flags, "admin", async ({ bus, names, ...swarm }) => {
      const known = flags.connection === undefined ? await knownToHome(commandConfig(cli, flags).home) : {};
      const vaultKey = swarm.vaultKey ?? known.vaultKey;
      const vault = new VaultOperator({ bus, names, seed: swarm.seed ?? known.seed, vaultKey });
      await use({
        input,
        hello: () => telling("hello", {}, () => vault.hello(options())),
        call: (op, args, { timeoutMs, advice = {} } = {}) =>
          telling(op, advice, () => vault.call(op, args, options(timeoutMs))),
      });
    });
  } catch (error) {
    if (!cli.interrupt.explains(error)) throw error;
    cli.exitCode = cli.interrupt.exitCode;
  } finally {
    input.close();
  }
}

async function telling<T>(op: OperationName | "hello", advice: Advice, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    throw advised(error, op, advice);
  }
}

interface Known {
  readonly seed?: Uint8Array;
  /** Of the node that runs the vault: the home's own. */
  readonly vaultKey?: string | undefined;
}

/**
 * What a home says of its vault and to it. On an external NATS system, which issues credentials of its own, the vault still goes
 * by those of its home.
 */
async function knownToHome(home: string): Promise<Known> {
  try {
    const credentials = new Credentials(layoutOf(await realpath(home)));
    const { seed } = await credentials.read("admin");
    return { seed, vaultKey: (await credentials.find("system"))?.publicKey };
  } catch {
    // What misses it says so: only an operation needs it.
    return {};
  }
}

/** A name of the vault: of a provider, a key, a kind, a pool, a node or a task. */
export function tokenArgument(text: string): string {
  if (!isToken(text)) throw new InvalidArgumentError("It must have 1 to 64 of the characters A-Z a-z 0-9 _ -");
  return text;
}

/** Says what was done: as an object with `--json`, otherwise for people. */
export function tell({ terminal }: Cli, { json }: VaultFlags, what: object, text: string): void {
  if (json) terminal.data(JSON.stringify(what));
  else terminal.note(text);
}
