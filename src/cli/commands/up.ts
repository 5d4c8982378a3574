import type { Command } from "commander";
import { resolveConfig } from "../../config.ts";
import type { Cli } from "../cli.ts";
import { runInForeground } from "../foreground.ts";
import { addNodeOptions, configInput, type NodeFlags } from "../options.ts";
import { readVaultPassphrase } from "../vault-passphrase.ts";

export function addUp(program: Command, cli: Cli): void {
  addNodeOptions(program.command("up"), { connects: false })
    .summary("start a node, and with it a swarm")
    .description(
      "Starts a node in the foreground: nats-server unless --nats is given, dispatcher, agents, vault, HTTP.",
    )
    .action(async (flags: NodeFlags) => {
      const config = resolveConfig(configInput(flags), cli.env);
      const vaultPassphrase = await readVaultPassphrase(cli, config);
      await runInForeground(cli, { config, vaultPassphrase, json: flags.json ?? false });
    });
}
