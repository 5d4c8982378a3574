/** One nats-server that the nodes did not start; anybody may connect. Each node and the client reach it through a proxy of their own. */
import { join } from "node:path";
import { freePort } from "../../support/nats-binary.ts";
import { TcpProxy } from "../../support/proxy.ts";
import { NatsBroker } from "../broker.ts";
import type { Ground, Site } from "../ground.ts";

export async function server({ dir, watcher, logOf }: Site): Promise<Ground> {
  const port = await freePort();
  const broker = new NatsBroker({
    ...{ name: "broker", dir: join(dir, "broker"), logFile: logOf("broker"), watcher },
    port,
  });
  await broker.start();
  const client = await TcpProxy.to(port);
  const proxies = new Map([["client", client]]);
  return {
    brokers: [broker],
    master: undefined,
    proxies,
    node: async (name) => {
      const proxy = await TcpProxy.to(port);
      proxies.set(name, proxy);
      return { args: ["up", "--nats", proxy.url] };
    },
    observer: async () => ({ url: broker.url, seed: undefined, inboxPrefix: "_INBOX.observer" }),
    client: () => ({ url: client.url }),
    close: async () => {
      await Promise.all([...proxies.values()].map((proxy) => proxy.close()));
      await broker.kill();
    },
  };
}
