/** One nats-server whose store is on a small file system; anybody may connect. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { freePort } from "../../support/nats-binary.ts";
import { PrivateDisk } from "../../support/private-disk.ts";
import { NatsBroker } from "../broker.ts";
import type { Ground, Site } from "../ground.ts";

/** Holds what a course leaves there, several times over. */
const MEGABYTES = 96;

export async function smallDisk({ dir, watcher, logOf }: Site): Promise<Ground> {
  const store = join(dir, "store");
  mkdirSync(store);
  const disk = await PrivateDisk.mount(store, MEGABYTES);
  const broker = new NatsBroker({
    ...{ name: "broker", dir: join(dir, "broker"), logFile: logOf("broker"), watcher, store },
    port: await freePort(),
    enter: (argv) => disk.enter(argv),
  });
  await broker.start();
  const { url } = broker;
  return {
    brokers: [broker],
    master: undefined,
    disk,
    node: async () => ({ args: ["up", "--nats", url] }),
    observer: async () => ({ url, seed: undefined, inboxPrefix: "_INBOX.observer" }),
    client: () => ({ url }),
    close: async () => {
      await broker.kill();
      await disk.close();
    },
  };
}
