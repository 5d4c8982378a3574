/** Hosts discovery on a node: what it announces, and what it knows of the nodes that it finds. */
import { Discovery } from "../actors/discovery/discovery.ts";
import type { ActorSystem } from "../actors/runtime/system.ts";
import type { Bus } from "../bus/bus.ts";
import type { Config } from "../config.ts";
import type { Clock } from "../protocols/clock.ts";
import { DISCOVERY, type Peer } from "../protocols/discovery.ts";
import type { Logger } from "../protocols/logger.ts";
import type { Names } from "../protocols/subjects.ts";

export interface HostDiscoveryOptions {
  readonly config: Config;
  readonly hostId: string;
  readonly mode: "master" | "slave";
  /** Of the swarm on the network that the node leads or is a member of. */
  readonly swarm: { readonly swarmId: string; readonly pin: string };
  /** Hosts of the NATS servers that a member uses. */
  readonly connectedTo: readonly string[];
  readonly httpPort: number | undefined;
  readonly natsPort: number | undefined;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
}

/** The port that is announced for a node that has no HTTP. */
const USUAL_HTTP_PORT = 8080;
/** Heartbeats missed before a node that has joined counts as lost: as the dispatchers have it. */
const SILENT_MS = 3_000;
const LOOK_MS = 1_000;

export function makeDiscovery(options: HostDiscoveryOptions): Discovery {
  const { config, hostId, mode, swarm, httpPort, natsPort, clock, random, logger } = options;
  const discovery = new Discovery({
    self: { hostId, mode, ...swarm, httpPort: httpPort ?? (config.httpPort || USUAL_HTTP_PORT), natsPort },
    advertise: true,
    interfaces: config.interfaces,
    ...{ clock, random, logger },
    onPeer: (peer) => {
      tell(peer, logger);
      // The node is connected to it, or it would not have been started.
      if (mode === "slave" && peer.state === "seen" && leads(peer, options)) discovery.mark(peer.id, "joined");
    },
  });
  return discovery;
}

/** Anybody can announce that it leads the swarm; the node is connected to one address. */
function leads(peer: Peer, { swarm, connectedTo }: HostDiscoveryOptions): boolean {
  return (
    peer.mode === "master" && peer.swarm === swarm.swarmId && peer.addresses.some((each) => connectedTo.includes(each))
  );
}

/** Lets others ask for the peers, and follows the heartbeats: who is heard has joined, whatever mDNS says. */
export async function hostDiscovery(
  discovery: Discovery,
  parts: {
    readonly system: ActorSystem;
    readonly bus: Bus;
    readonly names: Names;
    readonly hostId: string;
    readonly clock: Clock;
    readonly hearsAll: boolean;
  },
): Promise<() => Promise<void>> {
  const { system, bus, names, hostId, clock, hearsAll } = parts;
  const actor = await system.spawn(DISCOVERY, discovery.definition());
  if (!hearsAll) return () => actor.stop();
  const heard = new Map<string, number>();
  const prefix = names.heartbeat("").length;
  const subscription = await bus.subscribe(names.heartbeat("*"), ({ subject }) => {
    const id = subject.slice(prefix);
    if (id === hostId) return;
    if (!heard.has(id)) discovery.mark(id, "joined");
    heard.set(id, clock.monotonic());
  });
  const timer = clock.setInterval(() => {
    const now = clock.monotonic();
    for (const [id, at] of heard) {
      if (now - at <= SILENT_MS) continue;
      heard.delete(id);
      discovery.mark(id, "lost");
    }
  }, LOOK_MS);
  return async () => {
    clock.clear(timer);
    subscription.unsubscribe();
    await actor.stop();
  };
}

/** Anybody on the link can make peers seen, lost and rejected, as often as they like: only who has joined is worth a line. */
function tell({ id, state, why, mode, addresses, port }: Peer, logger: Logger): void {
  const bindings = { peer: id, mode, addresses, port, ...(why !== undefined && { why }) };
  logger[state === "joined" ? "info" : "debug"](bindings, `a peer on the network is ${state}`);
}
