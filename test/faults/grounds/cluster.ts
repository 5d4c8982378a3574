/** Three nats-servers that are one cluster, with three copies of everything; anybody may connect. */
import { join } from "node:path";
import { freePort } from "../../support/nats-binary.ts";
import { NatsBroker } from "../broker.ts";
import type { Ground, Site } from "../ground.ts";

const SERVERS = 3;

export async function cluster({ dir, watcher, logOf }: Site): Promise<Ground> {
  const routes: number[] = [];
  for (let i = 0; i < SERVERS; i++) routes.push(await freePort());
  const all = routes.map((port) => `nats://127.0.0.1:${port}`).join(", ");
  const brokers: NatsBroker[] = [];
  for (const [i, route] of routes.entries()) {
    const name = `broker-${i}`;
    const config = `server_name: s${i}\ncluster { name: test, listen: "127.0.0.1:${route}", routes: [${all}] }`;
    const port = await freePort();
    brokers.push(new NatsBroker({ name, dir: join(dir, name), logFile: logOf(name), watcher, port, config }));
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
    },
  };
}
