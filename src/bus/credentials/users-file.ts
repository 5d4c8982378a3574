/** The broker's users, as nats-server.conf includes them: generated, never edited. */
import { VgasError } from "../../protocols/errors.ts";
import { permissionsOf, type UserRole } from "../../protocols/roles.ts";
import type { Names } from "../../protocols/subjects.ts";

export interface BrokerUser {
  readonly user: string;
  readonly role: UserRole;
  /** Public nkey, `U…`. */
  readonly publicKey: string;
}

const HEADER = `# Written by vgas from the credentials of this home and the table of roles; changes made here are lost.
# A public key is no secret: only the holder of its seed can sign the server's challenge.
`;

/**
 * Text of users.conf. The same users give the same text, in whatever order they come.
 *
 * @throws VgasError INTERNAL without users: a server without any lets everybody in
 */
export function renderUsers(users: readonly BrokerUser[], names: Names): string {
  if (users.length === 0) throw new VgasError("INTERNAL", "a broker without users would be open to everybody");
  const blocks = [...users].sort((a, b) => (a.user < b.user ? -1 : 1)).map((user) => renderUser(user, names));
  return `${HEADER}users: [\n${blocks.join("")}]\n`;
}

function renderUser({ user, role, publicKey }: BrokerUser, names: Names): string {
  const { publish, subscribe, deny } = permissionsOf(role, user, names);
  return `  # ${user}: ${role}
  {
    nkey: ${publicKey}
    permissions: {
      publish: { allow: [${quoted(publish)}]${denied(deny?.publish)} }
      subscribe: { allow: [${quoted(subscribe)}]${denied(deny?.subscribe)} }
    }
  }
`;
}

function denied(subjects: readonly string[] = []): string {
  return subjects.length === 0 ? "" : `, deny: [${quoted(subjects)}]`;
}

function quoted(subjects: readonly string[]): string {
  return subjects.map((subject) => `\n        ${JSON.stringify(subject)}`).join("");
}
