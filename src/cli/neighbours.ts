/** Who is on the network and not, or not yet, in the swarm: machines that wait to be let in, and peers that discovery has seen. */
import { PendingStore } from "../admission/pending-store.ts";
import type { Bus } from "../bus/bus.ts";
import type { HomeLayout } from "../bus/home/layout.ts";
import { readNodeIdentity } from "../bus/home/node-identity.ts";
import { askActor } from "../client/ask-actor.ts";
import { DISCOVERY, DISCOVERY_PROTOCOL, type Peer } from "../protocols/discovery.ts";
import { VgasError } from "../protocols/errors.ts";
import type { Names } from "../protocols/subjects.ts";

/** A machine that waits for `vgas approve`. */
export interface Waiting {
  readonly host: string;
  readonly state: "pending";
  readonly fingerprint: string;
  readonly address: string;
  readonly machine: string;
}

/** A peer that discovery knows and that has not joined. */
export interface Neighbour extends Omit<Peer, "id"> {
  readonly host: string;
}

const ASK_TIMEOUT_MS = 2_000;

/** Those who wait at the door of this home's node. */
export async function waitingAt(layout: HomeLayout): Promise<readonly Waiting[]> {
  const records = await new PendingStore(layout).list();
  return records
    .filter(({ state }) => state === "pending")
    .map(({ user, fingerprint, address, machine }) => ({
      host: user,
      state: "pending",
      fingerprint,
      address,
      machine,
    }));
}

/** What the discovery of this home's node has seen; nothing if it runs none. */
export async function neighboursOf(bus: Bus, names: Names, layout: HomeLayout): Promise<readonly Neighbour[]> {
  const hostId = (await readNodeIdentity(layout.node))?.hostId;
  if (hostId === undefined) return [];
  const asked = askActor(bus, names, { name: DISCOVERY, hostId }, { type: "peers" }, { timeoutMs: ASK_TIMEOUT_MS });
  const answer = await asked.catch((error: unknown) => {
    if (error instanceof VgasError && ["UNDELIVERABLE", "TIMEOUT", "PERMISSION_DENIED"].includes(error.code))
      return undefined;
    throw error;
  });
  const parsed = DISCOVERY_PROTOCOL.peers.reply.safeParse(answer);
  if (!parsed.success) return [];
  return parsed.data.peers.filter(({ state }) => state !== "joined").map(({ id, ...peer }) => ({ host: id, ...peer }));
}
