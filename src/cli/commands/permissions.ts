import { type Command, Option } from "commander";
import { renderExports, renderImports, renderPermissions } from "../../bus/credentials/permissions-text.ts";
import { resolveConfig } from "../../config.ts";
import { VgasError } from "../../protocols/errors.ts";
import { guestAccount, guestImports, isGuestName, SWARM_ACCOUNT, swarmExports } from "../../protocols/guest-account.ts";
import { isSharedRole, permissionsOf, ROLES, type Role } from "../../protocols/roles.ts";
import { Names } from "../../protocols/subjects.ts";
import { isToken } from "../../protocols/tokens.ts";
import type { Cli } from "../cli.ts";

interface Flags {
  readonly role: Role;
  readonly user?: string;
  readonly prefix?: string;
  readonly json?: boolean;
}

const INDENT = "  ";

export function addPermissions(program: Command, cli: Cli): void {
  program
    .command("permissions")
    .summary("what a role may do, as nats-server has it")
    .description(
      "Prints what a user of a role may publish and subscribe to, as configuration of nats-server: for an external NATS " +
        "system, whose users are not made by vgas. For a guest it prints the accounts' exports and imports too.",
    )
    .addOption(new Option("--role <role>", "whose permissions").choices(ROLES).makeOptionMandatory())
    .option("--user <user>", "host id of a node, or name of a guest (default: the role's name where it has one)")
    .option("--prefix <prefix>", "first token of all subjects (default: vgas)")
    .option("--json", "the lists as one JSON object")
    .action((flags: Flags) => {
      const { prefix } = resolveConfig({ prefix: flags.prefix }, cli.env);
      const user = userOf(flags);
      cli.terminal.data(flags.json ? asJson(flags.role, user, prefix) : asText(flags.role, user, prefix));
    });
}

function userOf({ role, user = isSharedRole(role) ? role : undefined }: Flags): string {
  if (user === undefined)
    throw new VgasError("CONFIG", `the permissions of a ${role} are bound to its name: give --user`);
  if (!isToken(user)) throw new VgasError("INVALID", `--user must be a token [A-Za-z0-9_-]{1,64}, got "${user}"`);
  if (role === "guest" && !isGuestName(user))
    throw new VgasError("INVALID", `a guest's name is g and nine of [a-z2-7], got "${user}"`);
  return user;
}

function asJson(role: Role, user: string, prefix: string): string {
  const names = new Names(prefix);
  const guest = role === "guest" && {
    account: guestAccount(user),
    exports: swarmExports(names),
    imports: guestImports(user, names),
  };
  return JSON.stringify({ role, user, prefix, ...permissionsOf(role, user, names), ...guest });
}

function asText(role: Role, user: string, prefix: string): string {
  const names = new Names(prefix);
  const head = `# ${user}: ${role} of the swarm with prefix ${prefix}, inboxes _INBOX.${user}\n`;
  const permissions = renderPermissions(permissionsOf(role, user, names), "");
  if (role !== "guest") return `${head}${permissions}`.trimEnd();
  return [
    head,
    `# In the account of the swarm, here ${SWARM_ACCOUNT}:\n`,
    renderExports(swarmExports(names), ""),
    `# In an account for this guest alone, without JetStream:\n${guestAccount(user)} {\n`,
    renderImports(guestImports(user, names), SWARM_ACCOUNT, INDENT),
    `${INDENT}# and the permissions of its user\n`,
    renderPermissions(permissionsOf(role, user, names), INDENT),
    "}",
  ].join("");
}
