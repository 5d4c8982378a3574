/** Faults of dispatchers: killed, alone or with a host; stopped for a while; and told to end. */
import { setTimeout as pause } from "node:timers/promises";
import type { Fault } from "../fault.ts";
import { between } from "../random.ts";
import { downTime, killAndStart, paused, stopAndStart, struck } from "./strikes.ts";

const WORLDS = ["server", "node", "cluster"] as const;
/** Longer than a host may be silent. */
const STALL_MS = 4_000;

const kill: Fault = {
  name: "dispatcher-kill",
  worlds: WORLDS,
  reaches: ["task.redelivered", "swap.conflict"],
  strike: (world, random) =>
    world.take(world.dispatchers, random, (dispatcher) =>
      struck(world, "dispatcher-kill", dispatcher, () => killAndStart(dispatcher, downTime(random))),
    ),
};

const both: Fault = {
  name: "both-kill",
  worlds: WORLDS,
  reaches: ["task.redelivered", "host.evicted"],
  strike: (world, random) =>
    world.take(world.dispatchers, random, (dispatcher) =>
      world.take(world.hosts, random, (host) =>
        struck(world, "both-kill", dispatcher, () =>
          struck(world, "both-kill", host, async () => {
            await Promise.all([killAndStart(dispatcher, downTime(random)), killAndStart(host, downTime(random))]);
          }),
        ),
      ),
    ),
};

/** P7: it has heard nobody for longer than a host may be silent, and must evict nobody for that. */
const pauseFault: Fault = {
  name: "dispatcher-pause",
  worlds: WORLDS,
  reaches: ["monitor.forgave"],
  strike: (world, random) =>
    world.take(world.dispatchers, random, (dispatcher) =>
      struck(world, "dispatcher-pause", dispatcher, () =>
        paused(dispatcher, () => pause(STALL_MS + between(random, 0, 500))),
      ),
    ),
};

const stop: Fault = {
  name: "dispatcher-stop",
  worlds: WORLDS,
  reaches: [],
  strike: (world, random) =>
    world.take(world.dispatchers, random, (dispatcher) =>
      struck(world, "dispatcher-stop", dispatcher, () => stopAndStart(dispatcher)),
    ),
};

export const DISPATCHER_FAULTS: readonly Fault[] = [kill, both, pauseFault, stop];
