/** Faults at random, several at a time. */
import { setTimeout as pause } from "node:timers/promises";
import type { Course } from "./course.ts";
import type { Fault } from "./fault.ts";
import { moment } from "./history.ts";
import { between, oneOf } from "./random.ts";
import type { WorldKind } from "./world.ts";

/** Strikes that may overlap. */
const AT_ONCE = 2;
/** Tasks a second: it has not long. */
const RATE = 60;

/** Strikes of `faults`, chosen at random, for `seconds` in one world. Each fault must be able to strike in a world of `kind`. */
export function mixtureOf(faults: readonly Fault[], kind: WorldKind, seed: string, seconds: number): Course {
  return {
    name: `mixture-${kind}`,
    world: { kind, seed: `${seed}/mixture/${kind}`, rate: RATE },
    reaches: [],
    strike: async (world, random) => {
      const end = moment() + seconds * 1_000;
      let strikes = 0;
      const strike = async (): Promise<void> => {
        while (moment() < end) {
          await oneOf(random, faults).strike(world, random);
          strikes++;
          await pause(between(random, 0, 2_000));
        }
      };
      const all = await Promise.allSettled(Array.from({ length: AT_ONCE }, strike));
      for (const each of all) if (each.status === "rejected") throw each.reason;
      return strikes;
    },
  };
}
