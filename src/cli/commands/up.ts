import type { Command } from "commander";
import { resolveConfig } from "../../config.ts";
import type { Cli } from "../cli.ts";
import { runInForeground } from "../foreground.ts";
import { addNodeOptions, configInput, type NodeFlags } from "../options.ts";

export function addUp(program: Command, cli: Cli): void {
  addNodeOptions(program.command("up"), { connects: false })
    .summary("start a node, and with it a swarm")
    .description("Starts a node in the foreground: nats-server unless --nats is given, dispatcher, agents, HTTP.")
    .action(async (flags: NodeFlags) => {
      const config = resolveConfig(configInput(flags), cli.env);
      await runInForeground(cli, { config, json: flags.json ?? false });
    });
}
