/** The broker's accounts and users, as nats-server.conf includes them: generated, never edited. */
import { VgasError } from "../../protocols/errors.ts";
import { guestAccount, guestImports, SWARM_ACCOUNT, swarmExports } from "../../protocols/guest-account.ts";
import { permissionsOf, type UserRole } from "../../protocols/roles.ts";
import type { Names } from "../../protocols/subjects.ts";
import { renderExports, renderImports, renderPermissions } from "./permissions-text.ts";

export interface BrokerUser {
  readonly user: string;
  readonly role: UserRole;
  /** Public nkey, `U…`. */
  readonly publicKey: string;
}

const HEADER = `# Written by vgas from the credentials of this home and the table of roles; changes made here are lost.
# A public key is no secret: only the holder of its seed can sign the server's challenge.
`;

/** What one guest may take of the server: enough for a few processes of its own, and not for a flood. */
const GUEST_LIMITS = "limits: { max_connections: 64, max_subscriptions: 1024 }";

/**
 * Text of accounts.conf. The same users and canary give the same text, in whatever order they come. The canary is a user
 * without any right and with a key made for one writing of the file: a server that accepts it has loaded that writing.
 *
 * @throws VgasError INTERNAL without users: a server without any lets everybody in
 */
export function renderAccounts(users: readonly BrokerUser[], canary: string, names: Names): string {
  if (users.length === 0) throw new VgasError("INTERNAL", "a broker without users would be open to everybody");
  const sorted = [...users].sort((a, b) => (a.user < b.user ? -1 : 1));
  const members = sorted.filter(({ role }) => role !== "guest");
  const guests = sorted.filter(({ role }) => role === "guest");
  return [
    HEADER,
    "accounts {\n",
    `  ${SWARM_ACCOUNT} {\n    jetstream: enabled\n    users: [\n`,
    `      { nkey: ${canary}, permissions: { publish: { deny: ">" }, subscribe: { deny: ">" } } } # canary\n`,
    ...members.map((user) => renderUser(user, names)),
    "    ]\n",
    renderExports(swarmExports(names), "    "),
    "  }\n",
    ...guests.map((guest) => renderGuest(guest, names)),
    "}\n",
  ].join("");
}

function renderGuest(guest: BrokerUser, names: Names): string {
  return [
    `  ${guestAccount(guest.user)} {\n    ${GUEST_LIMITS}\n    users: [\n`,
    renderUser(guest, names),
    "    ]\n",
    renderImports(guestImports(guest.user, names), SWARM_ACCOUNT, "    "),
    "  }\n",
  ].join("");
}

function renderUser({ user, role, publicKey }: BrokerUser, names: Names): string {
  return `      # ${user}: ${role}
      {
        nkey: ${publicKey}
${renderPermissions(permissionsOf(role, user, names), "        ")}      }
`;
}
