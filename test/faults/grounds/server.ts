/** One nats-server that the nodes did not start; anybody may connect. */
import { join } from "node:path";
import { freePort } from "../../support/nats-binary.ts";
import { NatsBroker } from "../broker.ts";
import type { Ground, Site } from "../ground.ts";

export async function server({ dir, watcher, logOf }: Site): Promise<Ground> {
  const broker = new NatsBroker({
    ...{ name: "broker", dir: join(dir, "broker"), logFile: logOf("broker"), watcher },
    port: await freePort(),
  });
  await broker.start();
  const { url } = broker;
  return {
    brokers: [broker],
    master: undefined,
    node: async () => ({ args: ["up", "--nats", url] }),
    observer: async () => ({ url, seed: undefined, inboxPrefix: "_INBOX.observer" }),
    client: () => ({ url }),
    close: () => broker.kill(),
  };
}
