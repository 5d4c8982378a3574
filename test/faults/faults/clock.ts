/** Wall clocks that jump by an hour, in one dispatcher or host, and back. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { Fault } from "../fault.ts";
import { between } from "../random.ts";
import type { NodeMember, World } from "../world.ts";
import { goesOn, struck } from "./strikes.ts";

const HOUR_MS = 3_600_000;
const SHIFTED = new URL("../shifted-clock.mjs", import.meta.url).href;

/** Sets the clock of its present life, and waits until that has seen it. */
async function shift(world: World, { name }: NodeMember, byMs: number): Promise<void> {
  const dir = join(world.dir, "clocks");
  mkdirSync(dir, { recursive: true });
  const file = join(dir, name);
  writeFileSync(file, String(byMs));
  const seen = `${file}.seen`;
  await world.until(
    `${name} to look at its clock`,
    () => existsSync(seen) && readFileSync(seen, "utf8") === String(byMs),
  );
}

function jump(name: string, byMs: number): Fault {
  return {
    name,
    worlds: ["server", "cluster"],
    reaches: [],
    environment: { NODE_OPTIONS: `--import=${SHIFTED}` },
    strike: (world, random) =>
      world.take([...world.dispatchers, ...world.hosts], random, (member) =>
        struck(world, name, member, async () => {
          await shift(world, member, byMs);
          await pause(between(random, 500, 3_000));
          await shift(world, member, 0);
          await goesOn(world, member);
        }),
      ),
  };
}

export const CLOCK_FAULTS: readonly Fault[] = [jump("clock-ahead", HOUR_MS), jump("clock-back", -HOUR_MS)];
