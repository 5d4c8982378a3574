/** Faults of a master and of the nats-server that it started: either killed alone, and both. */

import { setTimeout as pause } from "node:timers/promises";
import type { Failpoint } from "../../../src/failpoints/failpoints.ts";
import type { Fault } from "../fault.ts";
import { moment } from "../history.ts";
import type { BrokerMember, NodeMember, World } from "../world.ts";
import { connected } from "./brokers.ts";
import { downTime, struck } from "./strikes.ts";

const WORLDS = ["node"] as const;

/** Its nats-server lives on, and with it the swarm; its next life takes that one over. */
const master: Fault = {
  name: "master-kill",
  worlds: WORLDS,
  reaches: ["broker.adopted", "task.redelivered"],
  strike: (world, random) =>
    withMaster(world, random, (node, broker) =>
      struck(world, "master-kill", node, async () => {
        const left = broker.pid;
        await node.kill();
        if (!broker.alive) throw new Error("the nats-server of a killed master is gone");
        await pause(downTime(random));
        await again(world, "broker.adopted", () => node.start());
        if (broker.pid !== left) throw new Error(`nats-server ${left} was left, and ${broker.pid} runs`);
        await connected(world);
      }),
    ),
};

const both: Fault = {
  name: "master-and-broker-kill",
  worlds: WORLDS,
  reaches: ["task.redelivered", "task.disowned"],
  strike: (world, random) =>
    withMaster(world, random, (node, broker) =>
      struck(world, "master-and-broker-kill", node, async () => {
        await node.kill();
        await broker.kill();
        await pause(downTime(random));
        await node.start();
        await connected(world);
      }),
    ),
};

const broker: Fault = {
  name: "embedded-broker-kill",
  worlds: WORLDS,
  reaches: ["broker.restarted", "task.redelivered"],
  strike: (world, random) =>
    withMaster(world, random, (node, embedded) =>
      struck(world, "embedded-broker-kill", node, async () => {
        await budget(world);
        await again(world, "broker.restarted", () => embedded.kill());
        await connected(world);
      }),
    ),
};

async function withMaster(
  world: World,
  random: () => number,
  work: (master: NodeMember, broker: BrokerMember) => Promise<void>,
): Promise<void> {
  const { master: node } = world;
  const [embedded] = world.brokers;
  if (node === undefined || embedded === undefined) throw new Error("this world has no master");
  await world.take([node], random, () => work(node, embedded));
}

/** Does `work`, and waits until `name` was passed once more. */
async function again(world: World, name: Failpoint, work: () => Promise<void>): Promise<void> {
  const before = world.passed(name);
  await work();
  await world.until(`${name} to be passed`, () => world.passed(name) > before);
}

/** A node whose nats-server ends more often than five times in a minute ends too, as it should. */
const MOST = 5;
const WINDOW_MS = 62_000;
const kills = new WeakMap<World, number[]>();

async function budget(world: World): Promise<void> {
  const past = kills.get(world) ?? [];
  kills.set(world, past);
  const oldest = past.length < MOST ? undefined : past[past.length - MOST];
  if (oldest !== undefined) await pause(Math.max(0, oldest + WINDOW_MS - moment()));
  past.push(moment());
}

export const MASTER_FAULTS: readonly Fault[] = [master, both, broker];
