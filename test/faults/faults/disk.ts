/**
 * The disk of the store is full for a while. What nats-server 2.15.1 does then: a stream whose write failed answers no publish any
 * more, and goes on so when there is room again, until it is started anew; nothing that it acknowledged is lost. An embedded one is
 * started anew by its node; this one by whoever runs it.
 */
import { setTimeout as pause } from "node:timers/promises";
import { PrivateDisk } from "../../support/private-disk.ts";
import { NatsBroker } from "../broker.ts";
import type { Fault } from "../fault.ts";
import { moment } from "../history.ts";
import { between } from "../random.ts";

export const DISK_FULL: Fault = {
  name: "disk-full",
  worlds: ["small-disk"],
  reaches: [],
  missing: () => PrivateDisk.missing(),
  strike: async (world, random) => {
    const { disk } = world;
    const [broker] = world.brokers;
    if (disk === undefined || !(broker instanceof NatsBroker)) throw new Error("the world has no small disk");
    world.record({ type: "struck", at: moment(), fault: "disk-full" });
    disk.fill();
    try {
      await world.until("the broker to fail for want of room", () => broker.log().includes("no space left on device"));
      await pause(between(random, 0, 3_000));
    } finally {
      disk.empty();
    }
    await pause(between(random, 0, 1_000));
    if (random() < 0.5) await broker.kill();
    else await broker.stop();
    await broker.start();
    const stored = world.results;
    await world.until("results to be stored again", () => world.results > stored + 20);
    world.record({ type: "healed", at: moment(), fault: "disk-full" });
  },
};
