/** Faults of the one nats-server of a world: killed, told to end at once or as a lame duck, and stopped for a while. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { Fault } from "../fault.ts";
import { between } from "../random.ts";
import type { BrokerMember, World } from "../world.ts";
import { killAndStart, paused, struck } from "./strikes.ts";

const WORLDS = ["server"] as const;

/**
 * Half of the times it stands still for a moment first: what is sent to it then is lost with it, swaps of the rotation for one, and
 * nobody knows whether they were stored.
 */
const kill: Fault = {
  name: "broker-kill",
  worlds: WORLDS,
  reaches: ["task.redelivered", "task.disowned", "swap.redrawn"],
  strike: (world, random) =>
    world.take(world.brokers, random, (broker) =>
      struck(world, "broker-kill", broker, async () => {
        if (random() < 0.5) {
          broker.signal("SIGSTOP");
          await pause(between(random, 50, 500));
        }
        await killAndStart(broker, between(random, 0, 1_500));
        await connected(world);
      }),
    ),
};

const restart: Fault = {
  name: "broker-restart",
  worlds: WORLDS,
  reaches: ["consumer.remade"],
  strike: (world, random) =>
    world.take(world.brokers, random, (broker) =>
      struck(world, "broker-restart", broker, async () => {
        await broker.stop();
        await pause(between(random, 0, 1_500));
        await broker.start();
        await connected(world);
      }),
    ),
};

/** Its JetStream ends at once, its clients are let go one by one, and new ones are not taken. */
const lameDuck: Fault = {
  name: "broker-lame-duck",
  worlds: WORLDS,
  reaches: ["consumer.remade"],
  strike: (world, random) =>
    world.take(world.brokers, random, (broker) =>
      struck(world, "broker-lame-duck", broker, async () => {
        await limp(world, broker, between(random, 0, 4_000));
        await broker.start();
        await connected(world);
      }),
    ),
};

/** Often for so long that hosts seem silent, at times for longer than an acknowledgement is waited for. */
const stall: Fault = {
  name: "broker-pause",
  worlds: WORLDS,
  reaches: ["monitor.forgave", "task.redelivered"],
  strike: (world, random) =>
    world.take(world.brokers, random, (broker) =>
      struck(world, "broker-pause", broker, async () => {
        await paused(broker, () =>
          pause(random() < 0.85 ? between(random, 1_000, 5_000) : between(random, 11_000, 16_000)),
        );
        await connected(world);
      }),
    ),
};

/** It becomes a lame duck, and is told to end after `ms`. Rejects if it did not become one. */
export async function limp(world: World, broker: BrokerMember, ms: number): Promise<void> {
  const log = join(world.dir, "logs", `${broker.name}.log`);
  const times = (): number => readFileSync(log, "utf8").split("Entering lame duck mode").length;
  const before = times();
  broker.signal("SIGUSR2");
  await world.until(`${broker.name} to be a lame duck`, () => times() > before);
  await pause(ms);
  await broker.stop();
}

/** Waits until the observer is connected and hears an answer. */
export async function connected(world: World): Promise<void> {
  await world.until("the observer to be connected again", async () => {
    if (world.bus.state !== "connected") return false;
    return await world.bus.flush(1_000).then(
      () => true,
      () => false,
    );
  });
}

export const BROKER_FAULTS: readonly Fault[] = [kill, restart, lameDuck, stall];
