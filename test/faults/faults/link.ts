/** Faults of the cable of one machine: every packet is lost, or the machine sees that it is pulled. */
import { setTimeout as pause } from "node:timers/promises";
import { Network } from "../../support/network.ts";
import type { Fault } from "../fault.ts";
import { moment } from "../history.ts";
import { between } from "../random.ts";
import type { NodeMember, World } from "../world.ts";
import { evicted, goesOn, struck } from "./strikes.ts";

/** Time enough for hosts to be taken for dead by whoever cannot hear them, ms. */
const SILENCE_MS = 4_000;
/** At times the connections are given up meanwhile, and at times the packets go on where they stopped. */
const MORE_MS = 12_000;

/** Without its cable for as long as `work` lasts. */
async function cut(world: World, { name }: NodeMember, random: () => number, work: () => Promise<void>): Promise<void> {
  const machine = world.machines.get(name);
  if (machine === undefined) throw new Error(`${name} has no machine of its own`);
  const pulled = random() < 0.3;
  await (pulled ? machine.pullCable() : machine.cut());
  try {
    await work();
  } finally {
    await (pulled ? machine.plugCable() : machine.heal());
  }
}

/** Its finished results are kept and published when it is back; what ran elsewhere meanwhile has been stored first. */
const host: Fault = {
  name: "link-host",
  worlds: ["network"],
  reaches: ["host.evicted", "task.reassigned", "result.second"],
  missing: () => Network.missing(),
  strike: (world, random) =>
    world.take(world.hosts, random, (member) =>
      struck(world, "link-host", member, async () => {
        const since = moment();
        await cut(world, member, random, async () => {
          await evicted(world, member, since);
          await pause(random() < 0.5 ? between(random, 0, 1_500) : between(random, 0, MORE_MS));
        });
        await goesOn(world, member);
      }),
    ),
};

/** It hears nobody, and is to put nobody out of the rotation for that (P7). */
const dispatcher: Fault = {
  name: "link-dispatcher",
  worlds: ["network"],
  reaches: ["monitor.forgave"],
  missing: () => Network.missing(),
  strike: (world, random) =>
    world.take(world.dispatchers, random, (member) =>
      struck(world, "link-dispatcher", member, async () => {
        const more = random() < 0.5 ? between(random, 0, 1_500) : between(random, 0, MORE_MS);
        await cut(world, member, random, () => pause(SILENCE_MS + more));
        await goesOn(world, member);
      }),
    ),
};

export const LINK_FAULTS: readonly Fault[] = [host, dispatcher];
