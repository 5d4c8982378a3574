import { networkInterfaces } from "node:os";
import { type Command, Option } from "commander";
import { usableInterfaces } from "../../actors/discovery/interfaces.ts";
import { describeConnection } from "../../bus/credentials/connection-file.ts";
import { type Home, openHome } from "../../bus/home/home.ts";
import { connectionOfHome, type HomeConnection } from "../../client/home-connection.ts";
import { type Config, resolveConfig } from "../../config.ts";
import { VgasError } from "../../protocols/errors.ts";
import { isSharedRole, ROLES, type Role } from "../../protocols/roles.ts";
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
      "Prints what a client or another node needs to reach the swarm of this home, as JSON. With role worker, dispatcher " +
        "or guest it issues a new credential for one of them. With --inline, and a node that runs with --lan, it is for " +
        "another machine.",
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
      const found = await connectionOfHome(config.home, isSharedRole(flags.role) ? flags.role : "client");
      const described = found.member ? ofMember(found, flags, config) : await issued(found, flags, config);
      cli.terminal.data(JSON.stringify(await describeConnection({ ...described, inline: flags.inline ?? false })));
    });
}

/** Only the home of the node that leads the swarm issues credentials; a member has its own. */
function ofMember(found: HomeConnection, { role }: Flags, { home }: Config): HomeConnection {
  if (found.credential.role === role) return found;
  const message = `the home ${home} is a member of a swarm as ${found.credential.role}: it has no other credential to give`;
  throw new VgasError("PERMISSION_DENIED", `${message}; ask on the machine that leads the swarm`);
}

async function issued(found: HomeConnection, { role, inline }: Flags, config: Config): Promise<Described> {
  const home = await openHome(config.home);
  const credential = await home.credentials.issue(role);
  const { caFile, serverName } = found;
  const url = inline === true && caFile !== undefined ? reachable(found.url, config) : found.url;
  return { url, credential, caFile, serverName, vaultKey: await vaultKeyOf(home, role) };
}

type Described = Omit<Parameters<typeof describeConnection>[0], "inline">;

/** The broker's port at every address of this machine that others can reach. */
function reachable(url: string, { interfaces }: Config): string {
  const port = url.slice(url.lastIndexOf(":") + 1);
  const addresses = usableInterfaces(networkInterfaces(), interfaces).flatMap(({ addresses: all }) =>
    all.map(({ address }) => `tls://${address}:${port}`),
  );
  if (addresses.length > 0) return [...new Set(addresses)].join(",");
  const message =
    "this machine has no address that others could reach: connect it to the network, or name an interface";
  throw new VgasError("CONFIG", `${message} in VGAS_INTERFACES`);
}

/** Only an admin sends secrets to the vault, which the node of this home runs. */
async function vaultKeyOf(home: Home, role: Role): Promise<string | undefined> {
  return role === "admin" ? (await home.credentials.find("system"))?.publicKey : undefined;
}
