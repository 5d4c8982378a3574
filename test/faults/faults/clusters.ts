/** Faults of a cluster of three: a leader killed, moved or cut off, one after the other restarted, and all at once. */
import { setTimeout as pause } from "node:timers/promises";
import type { Fault } from "../fault.ts";
import type { ClusterBroker } from "../grounds/cluster.ts";
import { between, oneOf } from "../random.ts";
import type { World } from "../world.ts";
import { limp } from "./brokers.ts";
import { aLeader, brokersOf, LED, leaderOf, moved, stepDown, whole } from "./leaders.ts";
import { struck } from "./strikes.ts";

const WORLDS = ["cluster"] as const;
/** The others wait up to 9 s before they elect another leader. */
const ELECTED = 0.6;

/** What it led is elected anew, or it is back before the others have missed it. */
const kill: Fault = {
  name: "leader-kill",
  worlds: WORLDS,
  reaches: ["task.redelivered", "consumer.remade"],
  strike: async (world, random) => {
    await whole(world);
    const [leader, led] = await aLeader(world, random);
    await world.take([leader], random, () =>
      struck(world, "leader-kill", leader, async () => {
        await leader.kill();
        if (random() < ELECTED) await moved(world, led, leader);
        else await pause(between(random, 0, 2_000));
        await leader.start();
        await whole(world);
      }),
    );
  },
};

/** Everything that tasks need is handed over, a few at a time. */
const move: Fault = {
  name: "leader-move",
  worlds: WORLDS,
  reaches: ["consumer.remade"],
  strike: async (world, random) => {
    const [leader, led] = await aLeader(world, random);
    await struck(world, "leader-move", leader, async () => {
      await stepDown(world, led);
      await moved(world, led, leader);
      const another = oneOf(random, LED);
      if ((await leaderOf(world, another)) !== undefined) await stepDown(world, another);
    });
  },
};

/** Its clients still reach it, and none of the others does. The two go on without it. */
const partition: Fault = {
  name: "partition",
  worlds: WORLDS,
  reaches: ["task.redelivered", "consumer.remade"],
  strike: async (world, random) => {
    await whole(world);
    const [leader] = await aLeader(world, random);
    const cut = random() < 0.7 ? leader : oneOf(random, brokersOf(world));
    await world.take([cut], random, () =>
      struck(world, "partition", cut, async () => {
        const before = cut.routes.lost;
        cut.routes.cut(random() < 0.5);
        await pause(between(random, 2_000, 12_000));
        if (cut.routes.lost === before) throw new Error(`nothing was lost between ${cut.serverName} and the others`);
        cut.routes.heal();
        await whole(world);
      }),
    );
  },
};

const rolling: Fault = {
  name: "rolling-restart",
  worlds: WORLDS,
  reaches: ["consumer.remade"],
  strike: async (world, random) => {
    const lame = random() < 0.5;
    for (const broker of brokersOf(world)) {
      await whole(world);
      await world.take([broker], random, () =>
        struck(world, "rolling-restart", broker, async () => {
          if (lame) await limp(world, broker, between(random, 0, 2_000));
          else await broker.stop();
          await broker.start();
        }),
      );
    }
    await whole(world);
  },
};

/** Killed, or told to end. */
const all: Fault = {
  name: "all-restart",
  worlds: WORLDS,
  reaches: ["task.redelivered", "task.disowned"],
  strike: async (world, random) => {
    await whole(world);
    await together(world, random, brokersOf(world), async (brokers) => {
      const killed = random() < 0.5;
      await Promise.all(brokers.map((broker) => (killed ? broker.kill() : broker.stop())));
      await pause(between(random, 0, 1_000));
      await Promise.all(brokers.map((broker) => broker.start()));
      await whole(world);
    });
  },
};

/** Takes all of them. */
async function together(
  world: World,
  random: () => number,
  brokers: readonly ClusterBroker[],
  work: (brokers: readonly ClusterBroker[]) => Promise<void>,
): Promise<void> {
  const take = async (left: readonly ClusterBroker[]): Promise<void> => {
    const [next, ...rest] = left;
    if (next === undefined) await work(brokers);
    else await world.take([next], random, () => struck(world, "all-restart", next, () => take(rest)));
  };
  await take(brokers);
}

export const CLUSTER_FAULTS: readonly Fault[] = [kill, move, partition, rolling, all];
