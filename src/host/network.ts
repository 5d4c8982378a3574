/** What connects a node with others of its network: the door and certificate of a master, discovery, guests, the way back. */
import type { Discovery } from "../actors/discovery/discovery.ts";
import { GuestGate } from "../actors/guests/gate.ts";
import type { ActorSystem } from "../actors/runtime/system.ts";
import { peerSource } from "../admission/enrol.ts";
import type { Bus } from "../bus/bus.ts";
import type { Home } from "../bus/home/home.ts";
import type { Membership } from "../bus/home/membership.ts";
import type { Publisher } from "../bus/publisher.ts";
import type { Config } from "../config.ts";
import type { HttpServer } from "../http/server.ts";
import type { Clock } from "../protocols/clock.ts";
import type { VgasError } from "../protocols/errors.ts";
import type { Logger } from "../protocols/logger.ts";
import type { Names } from "../protocols/subjects.ts";
import { hostDiscovery, makeDiscovery } from "./discovery.ts";
import { followMaster, watchCredential } from "./following.ts";
import type { Lan } from "./lan.ts";
import type { Link } from "./link.ts";
import type { Stop } from "./stopping.ts";

export interface NetworkOptions {
  readonly config: Config;
  readonly home: Home;
  readonly link: Link;
  readonly lan: Lan | undefined;
  readonly membership: Membership | undefined;
  readonly http: HttpServer | undefined;
  readonly bus: Bus;
  readonly publisher: Publisher;
  readonly names: Names;
  readonly system: ActorSystem;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  readonly fail: (error: VgasError) => void;
  /** The servers are to be found there from now on. */
  readonly moveTo: (urls: readonly string[]) => void;
}

/** What stops each part is added to `stops`. Nothing of the network can keep a node from starting. */
export async function joinNetwork(options: NetworkOptions, stops: Stop[]): Promise<void> {
  const { home, link, lan, membership, http, bus, publisher, names, clock, logger } = options;
  if (link.server !== undefined) {
    const gate = new GuestGate({ bus, publisher, names, clock, logger, guests: () => guestsOf(home) });
    await gate.start();
    stops.push(() => gate.stop());
    if (lan) stops.push(lan.serve(link.server, http));
  } else stops.push(watchCredential(options));
  const discovery = await startDiscovery(options, stops);
  if (membership === undefined) return;
  const sources = [
    ...(discovery ? [discovery.asCandidates()] : []),
    peerSource([...options.config.peers, ...membership.doors]),
  ];
  stops.push(followMaster(options, { layout: home.layout, membership, sources, moveTo: options.moveTo }));
}

async function startDiscovery(options: NetworkOptions, stops: Stop[]): Promise<Discovery | undefined> {
  const { config, link, lan, membership, http } = options;
  const swarm = lan?.authority ?? membership;
  if (swarm === undefined || !config.mdns || !config.roles.includes("discovery")) return undefined;
  const { hostId, server } = link;
  const mode = lan ? "master" : "slave";
  const connectedTo = (membership?.urls ?? []).map((url) => new URL(url).hostname);
  const ports = { httpPort: http?.port, natsPort: server?.port };
  const discovery = makeDiscovery({ ...options, hostId, mode, swarm, connectedTo, ...ports });
  await discovery.start();
  stops.push(() => discovery.stop());
  stops.push(await hostDiscovery(discovery, { ...options, hostId, hearsAll: server !== undefined }));
  return discovery;
}

async function guestsOf({ credentials }: Home): Promise<readonly string[]> {
  return (await credentials.list()).flatMap(({ user, role }) => (role === "guest" ? [user] : []));
}
