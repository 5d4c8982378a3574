/** One course: quiet start, load, strikes, heal, drain, check. */
import { FAILPOINTS, type Failpoint } from "../../src/failpoints/failpoints.ts";
import { check } from "./check.ts";
import type { Fault } from "./fault.ts";
import { moment, type Violation } from "./history.ts";
import { LiveWorld, type WorldOptions } from "./live-world.ts";
import { between, randomOf } from "./random.ts";
import type { World, WorldKind } from "./world.ts";

export interface Course {
  readonly name: string;
  readonly world: WorldOptions;
  /** Places that must have been passed. */
  readonly reaches: readonly Failpoint[];
  /** Strikes under load, and heals. Returns how often it struck. */
  strike(world: World, random: () => number): Promise<number>;
}

/** What came of a course. */
export interface Row {
  readonly name: string;
  readonly kind: WorldKind;
  readonly seed: string;
  readonly strikes: number;
  /** Tasks that were accepted, and results stored. */
  readonly accepted: number;
  readonly results: number;
  readonly violations: readonly Violation[];
  /** Why it is red besides violations. */
  readonly errors: readonly string[];
  readonly reached: ReadonlyMap<Failpoint, number>;
  readonly seconds: number;
  /** Kept where the course is red. */
  readonly dir: string | undefined;
}

/** Each of `faults`, `times` over, in one world. */
export function courseOf(faults: readonly Fault[], kind: WorldKind, seed: string, times: number): Course {
  const name = faults.map((fault) => fault.name).join("+");
  const environment = Object.assign({}, ...faults.map((fault) => fault.environment ?? {}));
  return {
    name,
    world: { kind, seed: `${seed}/${name}/${kind}`, environment },
    reaches: [...new Set(faults.flatMap(({ reaches }) => reaches))],
    strike: async (world, random) => {
      let strikes = 0;
      for (let i = 0; i < times; i++) {
        for (const fault of faults) {
          // So that the load is somewhere else each time.
          const at = world.results + between(random, 5, 50);
          await world.until("the load to go on", () => world.results >= at);
          await fault.strike(world, random);
          strikes++;
        }
      }
      return strikes;
    },
  };
}

/** Runs it. Never rejects: what goes wrong is in the row. */
export async function run(course: Course, worlds: Set<LiveWorld> = new Set()): Promise<Row> {
  const startedAt = moment();
  const errors: string[] = [];
  let strikes = 0;
  let world: LiveWorld | undefined;
  let found: Pick<Row, "accepted" | "results" | "violations"> = { accepted: 0, results: 0, violations: [] };
  const reached = new Map<Failpoint, number>();
  try {
    world = new LiveWorld(course.world);
    worlds.add(world);
    await world.start();
    world.beginLoad();
    try {
      strikes = await course.strike(world, randomOf(course.world.seed));
    } catch (error) {
      errors.push(messageOf(error));
    }
    if (!(await world.endLoad())) errors.push("the client was not told all that it waits for");
    const left = await world.drain();
    const { history, streams, index } = await world.collect();
    for (const name of FAILPOINTS) reached.set(name, world.passed(name));
    for (const name of course.reaches) if (reached.get(name) === 0) errors.push(`${name} was not reached`);
    found = {
      accepted: history.reduce((sum, entry) => sum + (entry.type === "accepted" ? entry.ids.length : 0), 0),
      results: streams.results.length,
      violations: [
        ...(left === undefined ? [] : [{ promise: "P1", what: left } as const]),
        ...check(history, streams, index),
      ],
    };
    if (found.accepted === 0) errors.push("no task was accepted");
  } catch (error) {
    errors.push(messageOf(error));
  }
  const red = errors.length > 0 || found.violations.length > 0;
  await world?.close({ keep: red }).catch((error: unknown) => errors.push(messageOf(error)));
  if (world !== undefined) worlds.delete(world);
  const { kind, seed } = course.world;
  const seconds = (moment() - startedAt) / 1_000;
  return {
    name: course.name,
    kind,
    seed,
    strikes,
    ...found,
    errors,
    reached,
    seconds,
    dir: red ? world?.dir : undefined,
  };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
