/** Faults of actor hosts: killed, stopped for so long that they are evicted, and told to end. */
import { setTimeout as pause } from "node:timers/promises";
import type { Fault } from "../fault.ts";
import { moment, ONCE } from "../history.ts";
import { between } from "../random.ts";
import { downTime, evicted, killAndStart, paused, stopAndStart, stoppedAt, struck } from "./strikes.ts";

const WORLDS = ["server", "node", "cluster"] as const;

/** Killed while it runs tasks, and one among them that may run only once. */
const kill: Fault = {
  name: "host-kill",
  worlds: WORLDS,
  reaches: ["host.evicted", "task.reassigned", "task.redelivered", "task.exhausted"],
  strike: (world, random) =>
    world.take(world.hosts, random, (host) =>
      struck(world, "host-kill", host, async () => {
        await stoppedAt(world, host, (running) => running.some((id) => id.endsWith(ONCE)));
        await killAndStart(host, downTime(random));
      }),
    ),
};

/** Its tasks are begun elsewhere while it stands still. When it goes on it finishes its own, and none of that may count twice. */
const pauseFault: Fault = {
  name: "host-pause",
  worlds: WORLDS,
  reaches: ["host.evicted", "task.reassigned", "result.second"],
  strike: (world, random) =>
    world.take(world.hosts, random, (host) =>
      struck(world, "host-pause", host, async () => {
        await world.until(
          `${host.name} to run something`,
          () => world.inRotation(host.hostId) && world.running(host).length > 0,
        );
        const since = moment();
        await paused(host, async () => {
          await evicted(world, host, since);
          await pause(between(random, 0, 1_000));
        });
        await world.until(`${host.name} to be taken back`, () => world.inRotation(host.hostId));
      }),
    ),
};

const stop: Fault = {
  name: "host-stop",
  worlds: WORLDS,
  reaches: [],
  strike: (world, random) =>
    world.take(world.hosts, random, (host) => struck(world, "host-stop", host, () => stopAndStart(host))),
};

export const HOST_FAULTS: readonly Fault[] = [kill, pauseFault, stop];
