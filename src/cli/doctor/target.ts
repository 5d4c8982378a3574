/** Which swarm is meant, and with what credential it is looked at. */
import { readFile } from "node:fs/promises";
import type { ConnectOptions } from "../../bus/connection.ts";
import { resolveConnection } from "../../bus/credentials/connection-file.ts";
import { Credentials } from "../../bus/credentials/credentials.ts";
import { diskError } from "../../bus/home/files.ts";
import type { HomeLayout } from "../../bus/home/layout.ts";
import { readMembership } from "../../bus/home/membership.ts";
import { readNodeIdentity } from "../../bus/home/node-identity.ts";
import { liveBroker } from "../../bus/nats-server/broker-record.ts";
import { externalConnection } from "../../client/external-connection.ts";
import type { Config } from "../../config.ts";
import { isNodeRole, isSharedRole, type Role, type UserRole } from "../../protocols/roles.ts";
import { UsageError } from "../failure.ts";
import { readConnection } from "../swarm.ts";

export interface Target {
  /** For people: where it was found. */
  readonly from: "connection" | "external" | "home" | "membership";
  readonly connect: Pick<ConnectOptions, "url" | "seed" | "ca" | "serverName" | "inboxPrefix">;
  readonly prefix: string;
  readonly user: string;
  /** What the credential is to be good for. */
  readonly role: UserRole;
}

export interface TargetOptions {
  readonly layout: HomeLayout;
  readonly config: Config;
  /** File of what `vgas connection` printed. */
  readonly connection?: string | undefined;
  /** As flags and environment say; the home's and a membership's own win without it. */
  readonly prefix?: string | undefined;
  readonly role?: UserRole | undefined;
  /** The node or guest that the credential is bound to; of an external system the home's own node without it. */
  readonly user?: string | undefined;
}

/**
 * Undefined if there is none: no node runs on the home, and it is no member of a swarm.
 *
 * @throws VgasError CONFIG, NOT_FOUND of files
 * @throws UsageError if a role is bound to a user, and none is given
 */
export async function findTarget(options: TargetOptions): Promise<Target | undefined> {
  const { layout, config, connection, role } = options;
  const prefix = options.prefix ?? config.prefix;
  if (connection !== undefined) {
    const resolved = await resolveConnection(await readConnection(connection));
    const { url, user, seed, ca, serverName, inboxPrefix: inbox } = resolved;
    const connect = { url, seed, ca, serverName, inboxPrefix: inbox };
    return { from: "connection", connect, prefix, user, role: role ?? resolved.role ?? roleOf(user) };
  }
  if (config.natsUrl !== undefined) return await external(options, config.natsUrl, prefix);
  return (await ofHome(options)) ?? (await ofMembership(layout, options));
}

async function external(
  { layout, config, role = "admin", user: given }: TargetOptions,
  url: string,
  prefix: string,
): Promise<Target> {
  const own = async (): Promise<string | undefined> =>
    role === "guest" ? undefined : (await readNodeIdentity(layout.node))?.hostId;
  const user = isSharedRole(role) ? role : (given ?? (await own()));
  if (user === undefined) throw withoutUser(role);
  return { from: "external", connect: await externalConnection(url, config, user), prefix, user, role };
}

/** What a description that names no role is for: the users that share a role have its name, the others are nodes. */
function roleOf(user: string): Role {
  return isSharedRole(user) ? user : "worker";
}

async function ofHome({ layout, prefix, role = "observer", user: given }: TargetOptions): Promise<Target | undefined> {
  const broker = await liveBroker(layout);
  if (broker === undefined) return undefined;
  const user = isNodeRole(role) || role === "guest" ? given : role;
  if (user === undefined) throw withoutUser(role);
  const { seed, inboxPrefix: inbox } = await new Credentials(layout).read(user);
  const { url, serverName, caFile } = broker;
  const ca = caFile === undefined ? undefined : await readAuthority(caFile);
  const own = (await readNodeIdentity(layout.node))?.prefix;
  return {
    from: "home",
    connect: { url, seed, ca, serverName, inboxPrefix: inbox },
    prefix: prefix ?? own ?? "vgas",
    user,
    role,
  };
}

function withoutUser(role: UserRole): UsageError {
  return new UsageError(
    `a credential of role ${role} is bound to the name of a node or guest`,
    "Give it: --user NAME.",
  );
}

async function ofMembership(layout: HomeLayout, { prefix, role }: TargetOptions): Promise<Target | undefined> {
  const membership = await readMembership(layout);
  if (membership === undefined) return undefined;
  const { urls, seed, ca, serverName, inboxPrefix: inbox, user } = membership;
  return {
    from: "membership",
    connect: { url: urls.join(","), seed, ca, serverName, inboxPrefix: inbox },
    prefix: prefix ?? membership.prefix,
    user,
    role: role ?? membership.role,
  };
}

async function readAuthority(path: string): Promise<string> {
  return await readFile(path, "utf8").catch((error: unknown) => {
    throw diskError(error, `read ${path}`);
  });
}
