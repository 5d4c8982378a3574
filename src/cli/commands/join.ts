import type { Command } from "commander";
import { type ResolvedConnection, resolveConnection } from "../../bus/credentials/connection-file.ts";
import { resolveConfig } from "../../config.ts";
import { VgasError } from "../../protocols/errors.ts";
import { isSharedRole } from "../../protocols/roles.ts";
import type { Cli } from "../cli.ts";
import { UsageError } from "../failure.ts";
import { runInForeground } from "../foreground.ts";
import { addNodeOptions, configInput, type NodeFlags } from "../options.ts";
import { readConnection } from "../swarm.ts";

export function addJoin(program: Command, cli: Cli): void {
  addNodeOptions(program.command("join"), { connects: true })
    .summary("attach a node with agents to a swarm")
    .description("Attaches a node with agents to a swarm that exists, in the foreground.")
    .action(async (flags: NodeFlags) => {
      const input = configInput(flags);
      // Several nodes of one machine would contend for one HTTP port, and only some credentials may deal tasks.
      const roles = input.roles ?? (cli.env["VGAS_ROLES"] ? undefined : (["agents"] as const).slice());
      const config = resolveConfig({ ...input, roles }, cli.env);
      const connection = flags.connection === undefined ? undefined : await nodeConnection(flags.connection);
      if (connection === undefined && config.natsUrl === undefined) {
        throw new UsageError(
          "join needs to know which swarm: give --connection FILE",
          "On the swarm's machine: `vgas connection --role worker --inline > FILE`; then `vgas join --connection FILE` here.",
        );
      }
      await runInForeground(cli, { config, connection, json: flags.json ?? false });
    });
}

async function nodeConnection(file: string): Promise<ResolvedConnection> {
  const connection = await resolveConnection(await readConnection(file));
  if (!isSharedRole(connection.user)) return connection;
  throw new VgasError(
    "CONFIG",
    `--connection is a credential of role ${connection.user}, and a node needs one of its own: \`vgas connection --role worker\``,
  );
}
