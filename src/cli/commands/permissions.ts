import { type Command, Option } from "commander";
import { renderExports, renderImports, renderPermissions } from "../../bus/credentials/permissions-text.ts";
import { ensureSeedFile } from "../../bus/credentials/seed-file.ts";
import { openHome } from "../../bus/home/home.ts";
import { type Config, resolveConfig } from "../../config.ts";
import { VgasError } from "../../protocols/errors.ts";
import { guestAccount, guestImports, isGuestName, SWARM_ACCOUNT, swarmExports } from "../../protocols/guest-account.ts";
import { isSharedRole, type Permissions, permissionsOf, ROLES, type UserRole } from "../../protocols/roles.ts";
import { Names } from "../../protocols/subjects.ts";
import { isToken } from "../../protocols/tokens.ts";
import type { Cli } from "../cli.ts";
import { UsageError } from "../failure.ts";
import { addHomeOption } from "../options.ts";

interface Flags {
  readonly role: UserRole;
  readonly user?: string;
  readonly seed?: string;
  readonly home?: string;
  readonly prefix?: string;
  readonly json?: boolean;
}

/** Whose permissions are to be printed. */
interface User {
  readonly role: UserRole;
  readonly user: string;
  readonly prefix: string;
  /** For people: the node or guest that is meant, and how it was found. */
  readonly who: string;
  /** Public nkey; undefined if its seed is not made here. */
  readonly nkey: string | undefined;
  readonly seedFile: string | undefined;
}

const INDENT = "  ";
const ANYTHING = ">";
/** No public nkey: a server refuses a configuration in which it was left. */
const NO_NKEY = "PUBLIC_NKEY";

export function addPermissions(program: Command, cli: Cli): void {
  const command = program
    .command("permissions")
    .summary("what a role may do, as nats-server has it")
    .description(
      "Prints a user of a role with what it may publish and subscribe to, as configuration of nats-server: for an external " +
        "NATS system, whose users are not made by vgas. For a guest it prints the accounts' exports and imports too.",
    )
    .addOption(
      new Option("--role <role>", "whose permissions; system is the node that makes the streams: `vgas up --nats`")
        .choices([...ROLES, "system"])
        .makeOptionMandatory(),
    )
    .option(
      "--user <user>",
      "host id of another node, or name of a guest (default: this home's node, or the role's name)",
    )
    .option("--seed <file>", "make the user's nkey seed there, unless it is there, and print its public key");
  addHomeOption(command)
    .option("--prefix <prefix>", "first token of all subjects (default: vgas)")
    .option("--json", "the lists as one JSON object")
    .action(async (flags: Flags) => {
      const config = resolveConfig({ home: flags.home, prefix: flags.prefix }, cli.env);
      const user = await userOf(flags, config);
      cli.terminal.data(flags.json ? asJson(user) : asText(user));
    });
}

async function userOf({ role, user: given, seed: seedFile }: Flags, config: Config): Promise<User> {
  const { user, who } = given === undefined ? await usual(role, config) : { user: given, who: `for ${given}` };
  if (!isToken(user)) throw new VgasError("INVALID", `--user must be a token [A-Za-z0-9_-]{1,64}, got "${user}"`);
  if (role === "guest" && !isGuestName(user))
    throw new VgasError("INVALID", `a guest's name is g and nine of [a-z2-7], got "${user}"`);
  const nkey = seedFile === undefined ? undefined : await ensureSeedFile(seedFile);
  return { role, user, prefix: config.prefix, who, nkey, seedFile };
}

/** Whose permissions are meant where nobody says it. A node that has not run yet gets its id here. */
async function usual(
  role: UserRole,
  { home, prefix }: Config,
): Promise<{ readonly user: string; readonly who: string }> {
  if (isSharedRole(role)) return { user: role, who: `for all who use role ${role}` };
  if (role === "guest") throw new UsageError("the permissions of role guest are bound to its name", "Give --user.");
  const { hostId, dir } = await openHome(home, { prefix });
  return { user: hostId, who: `for node ${hostId}, which lives in ${dir}` };
}

/** The node that makes the streams needs no list beside "everything". */
function listsOf({ role, user, prefix }: User): Permissions {
  if (role === "system") return { publish: [ANYTHING], subscribe: [ANYTHING] };
  return permissionsOf(role, user, new Names(prefix));
}

function asJson(of: User): string {
  const { role, user, prefix, nkey } = of;
  const names = new Names(prefix);
  const guest = role === "guest" && {
    account: guestAccount(user),
    exports: swarmExports(names),
    imports: guestImports(user, names),
  };
  return JSON.stringify({ role, user, prefix, nkey, ...listsOf(of), ...guest });
}

function asText(of: User): string {
  const { role, user, prefix, who } = of;
  const names = new Names(prefix);
  const head = `# role ${role} of the swarm with prefix ${prefix}, ${who}; its inboxes are _INBOX.${user}\n`;
  if (role !== "guest") return `${head}${keyLine(of)}${block(of, "")}`.trimEnd();
  return [
    head,
    `# In the account of the swarm, here ${SWARM_ACCOUNT}:\n`,
    renderExports(swarmExports(names), ""),
    `# In an account for this guest alone, without JetStream:\n${guestAccount(user)} {\n`,
    renderImports(guestImports(user, names), SWARM_ACCOUNT, INDENT),
    `${INDENT}${keyLine(of)}${INDENT}users: [\n`,
    block(of, INDENT + INDENT),
    `${INDENT}]\n}`,
  ].join("");
}

function keyLine({ seedFile }: User): string {
  return seedFile === undefined
    ? `# Put its public nkey (U...) for ${NO_NKEY}: --seed FILE makes one, and prints it there.\n`
    : `# Its secret is in ${JSON.stringify(seedFile)} and stays there: --nats-seed.\n`;
}

/** An element of `users: [ … ]`. */
function block(of: User, indent: string): string {
  const inner = `${indent}${INDENT}`;
  const permissions = renderPermissions(listsOf(of), inner);
  return `${indent}{\n${inner}nkey: ${of.nkey ?? NO_NKEY}\n${permissions}${indent}}\n`;
}
