/** How a process of this machine reaches the swarm whose broker a home runs. */
import { realpath } from "node:fs/promises";
import { type Credential, Credentials } from "../bus/credentials/credentials.ts";
import { layoutOf } from "../bus/home/layout.ts";
import { readNodeIdentity } from "../bus/home/node-identity.ts";
import { liveBroker } from "../bus/nats-server/broker-record.ts";
import { VgasError } from "../protocols/errors.ts";
import type { SharedRole } from "../protocols/roles.ts";

export interface HomeConnection {
  readonly url: string;
  /** Prefix of the swarm's subjects. */
  readonly prefix: string;
  readonly credential: Credential;
}

/**
 * The address of the home's broker and the credential that all users of `role` share. Only looks: a home that is not
 * there is not made.
 *
 * @throws VgasError NO_SWARM, with what to do, if no node runs a broker on this home; CONFIG if the home cannot be read
 */
export async function connectionOfHome(home: string, role: SharedRole = "client"): Promise<HomeConnection> {
  const dir = await realpath(home).catch((cause: unknown) => {
    throw noSwarm(home, "there is no such home", cause);
  });
  const layout = layoutOf(dir);
  const broker = await liveBroker(layout);
  if (broker === undefined) throw noSwarm(home, "no node runs on it now");
  const identity = await readNodeIdentity(layout.node);
  try {
    const credential = await new Credentials(layout).read(role);
    return { url: broker.url, prefix: identity?.prefix ?? "vgas", credential };
  } catch (error) {
    // The broker is there before its credentials only while the home is made for the first time.
    if (error instanceof VgasError && error.code === "NOT_FOUND")
      throw noSwarm(home, `it has no ${role} credential`, error);
    throw error;
  }
}

function noSwarm(home: string, why: string, cause?: unknown): VgasError {
  return new VgasError(
    "NO_SWARM",
    `no swarm on the home ${home}: ${why}; start one with \`vgas up\`, or give the home or the connection of a running one`,
    cause === undefined ? {} : { cause },
  );
}
