/** Three nats-servers that are one cluster, with three copies of everything; anybody may connect. */
import { join } from "node:path";
import { freePort } from "../../support/nats-binary.ts";
import { TcpProxy } from "../../support/proxy.ts";
import { NatsBroker } from "../broker.ts";
import type { Ground, Site } from "../ground.ts";
import type { BrokerMember } from "../world.ts";
import { Routes } from "./routes.ts";

const SERVERS = 3;

/** One of a cluster: it can be cut off from the others, while its clients still reach it. */
export interface ClusterBroker extends BrokerMember {
  /** As the cluster knows it. */
  readonly serverName: string;
  readonly routes: Routes;
}

export function isOfCluster(broker: BrokerMember): broker is ClusterBroker {
  return "routes" in broker;
}

class RoutedBroker extends NatsBroker implements ClusterBroker {
  readonly serverName: string;
  readonly routes: Routes;

  constructor(options: ConstructorParameters<typeof NatsBroker>[0], serverName: string, routes: Routes) {
    super(options);
    this.serverName = serverName;
    this.routes = routes;
  }
}

export async function cluster({ dir, watcher, logOf }: Site): Promise<Ground> {
  const ports: number[] = [];
  for (let i = 0; i < SERVERS; i++) ports.push(await freePort());
  const all: TcpProxy[] = [];
  // The way from each to each other one.
  const ways: TcpProxy[][] = [];
  for (const from of ports) {
    const row: TcpProxy[] = [];
    for (const to of ports) if (to !== from) row.push(await TcpProxy.to(to));
    ways.push(row);
    all.push(...row);
  }
  const brokers: RoutedBroker[] = [];
  for (const [i, port] of ports.entries()) {
    const name = `broker-${i}`;
    const serverName = `s${i}`;
    const out = ways[i] as TcpProxy[];
    const into = ways.flatMap((row, from) => (from === i ? [] : [row[i < from ? i : i - 1] as TcpProxy]));
    const config = [
      `server_name: ${serverName}`,
      // Servers tell each other of others: at port 1 nobody listens, so no route goes past the proxies.
      `cluster { name: test, listen: "127.0.0.1:${port}", advertise: "127.0.0.1:1", routes: [${out.map(({ url }) => url).join(", ")}] }`,
    ].join("\n");
    const options = { name, dir: join(dir, name), logFile: logOf(name), watcher, port: await freePort(), config };
    brokers.push(new RoutedBroker(options, serverName, new Routes([...out, ...into])));
  }
  await Promise.all(brokers.map((broker) => broker.start()));
  const url = brokers.map((broker) => broker.url).join(",");
  return {
    brokers,
    master: undefined,
    node: async () => ({ args: ["up", "--nats", url, "--replicas", String(SERVERS)] }),
    observer: async () => ({ url, seed: undefined, inboxPrefix: "_INBOX.observer" }),
    client: () => ({ url }),
    close: async () => {
      await Promise.all(brokers.map((broker) => broker.kill()));
      await Promise.all(all.map((proxy) => proxy.close()));
    },
  };
}
