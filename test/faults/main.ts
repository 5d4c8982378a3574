/**
 * All faults, one course each, then mixtures: `npm run test:faults`.
 *
 *   SEED=n npm run test:faults -- [--only NAME,NAME] [--world KIND] [--times N] [--jobs N] [--mix SECONDS]
 *
 * Prints the seed first, a row as each course ends, and the table of everything at the end. Exit code 1 on any violation, and on a
 * fault that did not strike or did not reach the path that it is for.
 */
import { parseArgs } from "node:util";
import { type Course, courseOf, type Row, run } from "./course.ts";
import type { Fault } from "./fault.ts";
import { FAULTS } from "./faults/index.ts";
import { GROUNDS } from "./ground.ts";
import type { LiveWorld } from "./live-world.ts";
import { mixtureOf } from "./mixture.ts";
import { isRed, rowLines, tableLines } from "./table.ts";
import type { WorldKind } from "./world.ts";

const USAGE = `usage: npm run test:faults -- [--only NAME,NAME] [--world KIND] [--times N] [--jobs N] [--mix SECONDS]
  SEED=n        the same choices again
  --only        these faults, and mixture; rounds for the tests that look for what happens rarely
  --world       only in worlds of this kind; by default each fault strikes in the first of its kinds
  --times       strikes of each fault, 1 to 1000 (default 20)
  --jobs        courses side by side, 1 to 16 (default 6)
  --mix         seconds of each mixture, 0 for none (default 60)
faults: ${FAULTS.map(({ name }) => name).join(", ")}`;

interface Settings {
  readonly seed: string;
  readonly only: ReadonlySet<string> | undefined;
  readonly world: WorldKind | undefined;
  readonly times: number;
  readonly jobs: number;
  readonly mixSeconds: number;
}

const MIXTURE = "mixture";
const worlds = new Set<LiveWorld>();
let stopping = false;

const settings = settingsOf(process.argv.slice(2));
console.log(`SEED=${settings.seed}`);
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void stop(signal));
const rows = await runAll(coursesOf(settings), settings.jobs);
for (const line of tableLines(rows)) console.log(line);
console.log(`SEED=${settings.seed}`);
process.exit(rows.some(isRed) ? 1 : 0);

async function runAll(courses: readonly Course[], jobs: number): Promise<readonly Row[]> {
  const rows: Row[] = [];
  const waiting = [...courses];
  const job = async (): Promise<void> => {
    for (let course = waiting.shift(); course !== undefined && !stopping; course = waiting.shift()) {
      const row = await run(course, worlds);
      if (stopping) return;
      rows.push(row);
      for (const line of rowLines(row)) console.log(line);
    }
  };
  await Promise.all(Array.from({ length: jobs }, job));
  return rows;
}

/** One course a fault, in the first kind of world that it is for; then a mixture in each kind. */
function coursesOf({ seed, only, world, times, mixSeconds }: Settings): readonly Course[] {
  const kinds = (fault: Fault): readonly WorldKind[] =>
    fault.worlds.filter((kind) => GROUNDS[kind] !== undefined && (world === undefined || kind === world));
  const possible = FAULTS.filter((fault) => {
    const missing = kinds(fault).length === 0 ? undefined : fault.missing?.();
    if (missing !== undefined) console.log(`--  ${fault.name}: not on this machine: ${missing}`);
    return kinds(fault).length > 0 && missing === undefined;
  });
  // What a cluster does takes longest: it begins first, so that nothing is waited for at the end.
  const courses = possible
    .filter(({ name }) => only === undefined || only.has(name))
    .map((fault) => courseOf([fault], kinds(fault)[0] as WorldKind, seed, times))
    .sort((a, b) => Number(b.world.kind === "cluster") - Number(a.world.kind === "cluster"));
  if (mixSeconds === 0 || (only !== undefined && !only.has(MIXTURE))) return courses;
  const mixed = (["server", "node", "cluster"] as const).flatMap((kind) => {
    // What needs an environment of its own from the start strikes alone.
    const faults = possible.filter((fault) => kinds(fault).includes(kind) && fault.environment === undefined);
    return faults.length === 0 ? [] : [mixtureOf(faults, kind, seed, mixSeconds)];
  });
  return [...courses, ...mixed];
}

function settingsOf(args: readonly string[]): Settings {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        only: { type: "string" },
        world: { type: "string" },
        times: { type: "string", default: "20" },
        jobs: { type: "string", default: "6" },
        mix: { type: "string", default: "60" },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    if (values.help) {
      console.log(USAGE);
      process.exit(0);
    }
    const only = values.only?.split(",").filter((name) => name !== "");
    const known: readonly string[] = [MIXTURE, ...FAULTS.map(({ name }) => name)];
    for (const name of only ?? []) if (!known.includes(name)) throw new Error(`there is no fault ${name}`);
    const { world } = values;
    if (world !== undefined && !(world in GROUNDS)) throw new Error(`there is no world of kind ${world}`);
    return {
      seed: process.env["SEED"] || String(Math.floor(Math.random() * 1e9)),
      only: only && new Set(only),
      world: world as WorldKind | undefined,
      times: integer("times", values.times, 1, 1_000),
      jobs: integer("jobs", values.jobs, 1, 16),
      mixSeconds: integer("mix", values.mix, 0, 36_000),
    };
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n${USAGE}`);
    process.exit(2);
  }
}

function integer(flag: string, text: string, from: number, to: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= from && value <= to) return value;
  throw new Error(`--${flag} must be an integer from ${from} to ${to}, got ${text}`);
}

async function stop(signal: NodeJS.Signals): Promise<void> {
  stopping = true;
  console.error(
    `${signal}: ending ${worlds.size} worlds, which are kept: ${[...worlds].map(({ dir }) => dir).join(" ")}`,
  );
  await Promise.allSettled([...worlds].map((world) => world.close({ keep: true })));
  process.exit(signal === "SIGINT" ? 130 : 143);
}
