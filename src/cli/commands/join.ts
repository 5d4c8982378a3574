import type { Command } from "commander";
import { type ResolvedConnection, resolveConnection } from "../../bus/credentials/connection-file.ts";
import { type Config, resolveConfig } from "../../config.ts";
import { VgasError } from "../../protocols/errors.ts";
import { isSharedRole } from "../../protocols/roles.ts";
import type { Cli } from "../cli.ts";
import { runInForeground } from "../foreground.ts";
import { becomeMember } from "../membership.ts";
import { addNodeOptions, addTimeoutOption, configInput, type NodeFlags } from "../options.ts";
import { readConnection } from "../swarm.ts";
import { addTokenOption } from "../token-input.ts";

interface Flags extends NodeFlags {
  readonly tokenFile?: string;
  readonly timeout?: number;
}

const EXAMPLES = `
Examples:
  vgas join --token-file token        join the swarm that made the token, found by mDNS
  vgas join --peer 192.168.1.5:8080   without mDNS
  vgas join                           ask the swarm of this network to be let in
  vgas join --connection node2.json   with what \`vgas connection --role worker\` printed

Once let in, the node's credential is in its home: \`vgas join\` is enough from then on.`;

export function addJoin(program: Command, cli: Cli): void {
  const command = addNodeOptions(program.command("join"), { connects: true })
    .summary("attach a node with agents to a swarm")
    .description("Attaches a node with agents to a swarm that exists, in the foreground.")
    .addHelpText("after", EXAMPLES);
  addTokenOption(command);
  addTimeoutOption(command, "give up if the swarm has not let the node in by then (default: never)").action(
    async (flags: Flags) => {
      const json = flags.json ?? false;
      const given = flags.connection === undefined ? undefined : await nodeConnection(flags.connection);
      if (given !== undefined || configOf(cli, flags, ["agents"]).natsUrl !== undefined) {
        // Several nodes of one machine would contend for one HTTP port, and only some credentials may deal tasks.
        await runInForeground(cli, { config: configOf(cli, flags, ["agents"]), connection: given, joins: true, json });
        return;
      }
      const config = configOf(cli, flags, ["agents", "discovery"]);
      const membership = await becomeMember(cli, { config, flags });
      const { prefix, urls } = membership;
      const connection = { ...membership, url: urls.join(",") };
      await runInForeground(cli, { config: { ...config, prefix }, connection, membership, joins: true, json });
    },
  );
}

function configOf(cli: Cli, flags: NodeFlags, usualRoles: readonly Config["roles"][number][]): Config {
  const input = configInput(flags);
  const roles = input.roles ?? (cli.env["VGAS_ROLES"] ? undefined : [...usualRoles]);
  return resolveConfig({ ...input, roles }, cli.env);
}

async function nodeConnection(file: string): Promise<ResolvedConnection> {
  const connection = await resolveConnection(await readConnection(file));
  if (!isSharedRole(connection.user)) return connection;
  throw new VgasError(
    "CONFIG",
    `--connection is a credential of role ${connection.user}, and a node needs one of its own: \`vgas connection --role worker\``,
  );
}
