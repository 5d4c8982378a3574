import { type Command, Option } from "commander";
import { describeConnection } from "../../bus/credentials/connection-file.ts";
import type { Credential } from "../../bus/credentials/credentials.ts";
import { type Home, openHome } from "../../bus/home/home.ts";
import { connectionOfHome } from "../../client/home-connection.ts";
import { resolveConfig } from "../../config.ts";
import { VgasError } from "../../protocols/errors.ts";
import { isNodeRole, ROLES, type Role } from "../../protocols/roles.ts";
import type { Cli } from "../cli.ts";
import { addHomeOption, configInput, type SwarmFlags } from "../options.ts";

interface Flags extends SwarmFlags {
  readonly role: Role;
  readonly inline?: boolean;
}

export function addConnection(program: Command, cli: Cli): void {
  const role = new Option("--role <role>", "who it is for").choices(ROLES).default("client" satisfies Role);
  addHomeOption(program.command("connection"))
    .summary("what a client needs to connect, as JSON")
    .description(
      "Prints what a client or another node needs to reach the swarm of this home, as JSON. With role worker or dispatcher " +
        "it issues a new credential for one node.",
    )
    .addOption(role)
    .option("--inline", "put the secret itself into the output, for another machine")
    .option("--json", "no change: the output is JSON")
    .action(async (flags: Flags) => {
      const config = resolveConfig(configInput(flags), cli.env);
      if (config.natsUrl !== undefined) {
        const message = `the swarm is on ${config.natsUrl}, an external NATS system, which issues its own credentials`;
        throw new VgasError("CONFIG", message);
      }
      const { url } = await connectionOfHome(config.home);
      const home = await openHome(config.home);
      const credential = await credentialOf(home, flags.role);
      const vaultKey = await vaultKeyOf(home, flags.role);
      const described = await describeConnection({ url, credential, vaultKey, inline: flags.inline ?? false });
      cli.terminal.data(JSON.stringify(described));
    });
}

/** Only an admin sends secrets to the vault, which the node of this home runs. */
async function vaultKeyOf(home: Home, role: Role): Promise<string | undefined> {
  return role === "admin" ? (await home.credentials.find("system"))?.publicKey : undefined;
}

async function credentialOf(home: Home, role: Role): Promise<Credential> {
  return isNodeRole(role) ? await home.credentials.issueNode(role) : await home.credentials.ensureRole(role);
}
