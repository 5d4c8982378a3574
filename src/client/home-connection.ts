/** How a process of this machine reaches the swarm whose broker a home runs, or that the home is a member of. */
import { readFile, realpath } from "node:fs/promises";
import { Credentials } from "../bus/credentials/credentials.ts";
import { diskError } from "../bus/home/files.ts";
import { type HomeLayout, layoutOf } from "../bus/home/layout.ts";
import { type Membership, readMembership } from "../bus/home/membership.ts";
import { readNodeIdentity } from "../bus/home/node-identity.ts";
import { type BrokerRecord, liveBroker } from "../bus/nats-server/broker-record.ts";
import { VgasError } from "../protocols/errors.ts";
import type { Role, SharedRole, UserRole } from "../protocols/roles.ts";
import type { Member } from "./reach.ts";

export interface HomeConnection {
  readonly url: string;
  /** Prefix of the swarm's subjects. */
  readonly prefix: string;
  readonly credential: {
    readonly user: string;
    readonly role: UserRole;
    readonly seed: Uint8Array;
    readonly seedFile: string;
    readonly inboxPrefix: string;
  };
  /** PEM of the authority of the swarm's certificates, and where it lies; undefined for a broker without TLS. */
  readonly ca: string | undefined;
  readonly caFile: string | undefined;
  readonly serverName: string | undefined;
  /** Public nkey of the node that runs the vault, where a membership says it. */
  readonly vaultKey: string | undefined;
  /** There if the home is a member of a swarm that another node leads, which may be elsewhere by now. */
  readonly member: Member | undefined;
}

/** Which role of a member may stand in for one that is asked for: whatever it does not open, the server refuses. */
const STANDS_IN: Readonly<Record<SharedRole, readonly Role[]>> = {
  client: ["client", "guest", "observer"],
  observer: ["observer"],
  admin: [],
};

/**
 * The address of the home's broker and the credential that all users of `role` share; without a broker the home's own
 * credential as a member of another swarm, if it may do what `role` does. Only looks: a home that is not there is not made.
 *
 * @throws VgasError NO_SWARM, with what to do, if no node runs a broker on this home and it is no member of a swarm;
 *   PERMISSION_DENIED if it is a member in another role; CONFIG if the home cannot be read
 */
export async function connectionOfHome(home: string, role: SharedRole = "client"): Promise<HomeConnection> {
  const dir = await realpath(home).catch((cause: unknown) => {
    throw noSwarm(home, "there is no such home", cause);
  });
  const layout = layoutOf(dir);
  const broker = await liveBroker(layout);
  if (broker !== undefined) return await ofBroker(layout, broker, role);
  const membership = await readMembership(layout);
  if (membership === undefined) throw noSwarm(home, "no node runs on it now");
  if (!STANDS_IN[role].includes(membership.role)) throw otherRole(home, membership, role);
  return ofMember(layout, membership);
}

async function ofBroker(
  layout: HomeLayout,
  { url, caFile, serverName }: BrokerRecord,
  role: SharedRole,
): Promise<HomeConnection> {
  const identity = await readNodeIdentity(layout.node);
  const ca = caFile === undefined ? undefined : await readCertificate(caFile);
  const shared = {
    url,
    prefix: identity?.prefix ?? "vgas",
    ca,
    caFile,
    serverName,
    vaultKey: undefined,
    member: undefined,
  };
  const credentials = new Credentials(layout);
  const credential = await credentials.read(role).catch(async (error: unknown) => {
    if (!(error instanceof VgasError) || error.code !== "NOT_FOUND") throw error;
    // It was revoked, and whoever may read the home may have a new one; or the home is being made for the first time.
    return await credentials.ensureRole(role);
  });
  return { ...shared, credential };
}

function ofMember(layout: HomeLayout, membership: Membership): HomeConnection {
  const { urls, prefix, user, role, seed, inboxPrefix, ca, serverName, vaultKey } = membership;
  const { seed: seedFile, caCertificate: caFile } = layout.membership;
  const credential = { user, role, seed, seedFile, inboxPrefix };
  const member = { layout, membership };
  return { url: urls.join(","), prefix, credential, ca, caFile, serverName, vaultKey, member };
}

async function readCertificate(path: string): Promise<string> {
  return await readFile(path, "utf8").catch((error: unknown) => {
    throw diskError(error, `read ${path}`);
  });
}

function otherRole(home: string, { swarmId, role }: Membership, wanted: SharedRole): VgasError {
  const what = `the home ${home} is a member of the swarm ${swarmId} as ${role}, and this takes the role ${wanted}`;
  const instead = "do it on the machine that leads the swarm, or give --connection what `vgas connection";
  const other = wanted === "admin" ? "" : `, or an empty --home and \`vgas connect\` with a token of that role`;
  return new VgasError("PERMISSION_DENIED", `${what}: ${instead} --role ${wanted} --inline\` printed there${other}`);
}

function noSwarm(home: string, why: string, cause?: unknown): VgasError {
  return new VgasError(
    "NO_SWARM",
    `no swarm on the home ${home}: ${why}; start one with \`vgas up\`, or give the home or the connection of a running one`,
    cause === undefined ? {} : { cause },
  );
}
