/**
 * One soak, from the start of its processes to what came of it.
 *
 * 1. One host and one dispatcher are struck by nothing that ends them: they live through all of it, so that what leaks is seen.
 * 2. What is held is measured when nothing waits, runs or strikes: once warm, and once at the end.
 * 3. It is red if a promise is broken, if a fault did not strike, or if anything is held at the end that was not when warm.
 */
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { Fault } from "../faults/fault.ts";
import { FAULTS } from "../faults/faults/index.ts";
import { type LiveWorld, startWorld } from "../faults/live-world.ts";
import { randomOf } from "../faults/random.ts";
import { mebibytes } from "./criteria.ts";
import { judge } from "./judge.ts";
import { LoadClient } from "./load-client.ts";
import { Probes } from "./probes.ts";
import type { Outcome } from "./report.ts";
import { type Struck, storm } from "./storm.ts";
import { mend, sparing } from "./survivors.ts";
import { Watch } from "./watch.ts";

export interface Settings {
  readonly tasks: number;
  readonly minutes: number;
  readonly seed: string;
}

/** Before anything strikes: a tenth of the tasks and of the time, and at most so much. */
const WARM = { part: 0.1, tasks: 20_000, ms: 20_000 } as const;
/** For what is done in the background to come to rest: the last acknowledgements, reconnects, pulls that end. */
const QUIET_MS = 10_000;
/** Without a result, after the last fault. What is redone waits for `ack_wait`, 10 s, more than once, and for pauses between attempts. */
const STUCK_MS = 120_000;
const PROGRESS_MS = 10_000;
/** So much longer than it is asked for may the storm last, where the load is held up. */
const LONGEST = 1.5;
/** One of the faults of dispatchers and hosts every few seconds, three at a time. */
const NODES = { atOnce: 3, pauseMs: [1_000, 4_000] } as const;
/** One of the brokers at a time, and a while in between: a cluster that has lost a leader stands still for 4 to 9 s, and tasks are to run too. */
const BROKERS = { atOnce: 1, pauseMs: [10_000, 30_000] } as const;

export async function soak(settings: Settings): Promise<Outcome> {
  const { seed } = settings;
  const probes = new Probes(join(process.cwd(), ".cache", `soak-${process.pid}`));
  const { environment } = probes;
  const world = await startWorld({ kind: "cluster", seed, hosts: 4, environment });
  let load: LoadClient | undefined;
  let keep = true;
  try {
    const url = world.brokers.map((broker) => broker.url).join(",");
    load = await LoadClient.start({ url, file: join(world.dir, "history", "load.jsonl"), seed, environment });
    const outcome = await course(world, load, probes, settings);
    keep = outcome.violations.length + outcome.errors.length > 0;
    return outcome;
  } finally {
    load?.kill();
    if (keep) console.error(`kept in ${world.dir}`);
    await world.close({ keep });
    probes.close();
  }
}

async function course(
  world: LiveWorld,
  load: LoadClient,
  probes: Probes,
  { tasks, minutes, seed }: Settings,
): Promise<Outcome> {
  const watch = new Watch(world, load, probes);
  const warming = Math.min(WARM.tasks, Math.ceil(tasks * WARM.part));
  const ms = minutes * 60_000;
  await load.run({ tasks: warming, ms: Math.min(WARM.ms, ms * WARM.part) });
  await pause(QUIET_MS);
  const warm = await watch.hold();
  console.error(`warm after ${warming} tasks; now ${tasks - warming} more in ${minutes} minutes, under faults`);

  const errors: string[] = [];
  const over = new AbortController();
  const stopTelling = tellProgress(load, watch);
  const loaded = load.run({ tasks: tasks - warming, ms }).catch((error: unknown) => {
    errors.push(String(error));
    over.abort();
  });
  const faults = sparing(world, FAULTS.filter(fits));
  const shared = {
    world,
    signal: over.signal,
    // A load that is held up is struck until all of it is stored, but not for ever.
    goesOn: (afterMs: number) => afterMs < ms || (afterMs < LONGEST * ms && load.counts.accepted < tasks),
    onStrike: (fault: string) => console.error(`  ${fault}`),
    mend: () => mend(world),
  };
  const ofBrokers = faults.filter(({ worlds }) => worlds.every((kind) => kind === "cluster"));
  const ofNodes = faults.filter((fault) => !ofBrokers.includes(fault));
  const since = performance.now();
  const storms = await Promise.all([
    storm({ ...shared, ...NODES, faults: ofNodes, random: randomOf(`${seed}/nodes`) }),
    storm({ ...shared, ...BROKERS, faults: ofBrokers, random: randomOf(`${seed}/brokers`) }),
  ]);
  const struckFor = (performance.now() - since) / 60_000;
  const missed = storms.flatMap((struck) => struck.missed);
  const strikes = new Map(storms.flatMap((struck) => [...struck.strikes]));
  for (const each of storms) errors.push(...neverStruck(each));
  if (!(await comesToAnEnd(loaded, load)))
    errors.push(`no task got a result for ${STUCK_MS / 1_000} s after the last fault`);
  stopTelling();
  return await judge({
    world,
    load,
    watch,
    warm,
    errors,
    seed,
    minutes: struckFor,
    strikes,
    missed,
    quietMs: QUIET_MS,
  });
}

/** Whether all of the load has its results. False: there were none for a while. */
async function comesToAnEnd(loaded: Promise<void>, load: LoadClient): Promise<boolean> {
  for (;;) {
    const before = load.counts.results;
    const ended = await Promise.race([loaded.then(() => true), pause(STUCK_MS, false, { ref: false })]);
    if (ended || load.counts.results === before) return ended;
  }
}

/** Faults that had their turn twice, and came to nothing both times. A short run has not a turn for each. */
function neverStruck({ strikes, missed }: Struck): readonly string[] {
  const turns = missed.length + [...strikes.values()].reduce((sum, times) => sum + times, 0);
  if (turns < 2 * strikes.size) return [];
  return [...strikes].filter(([, times]) => times === 0).map(([name]) => `${name} never struck`);
}

/** Those of this world that need nothing at the start of its nodes: such would strike by themselves, again and again. */
function fits({ worlds, environment, missing }: Fault): boolean {
  return worlds.includes("cluster") && environment === undefined && missing?.() === undefined;
}

function tellProgress(load: LoadClient, watch: Watch): () => void {
  const since = performance.now();
  const timer = setInterval(() => {
    const { accepted, results } = load.counts;
    const seconds = Math.round((performance.now() - since) / 1_000);
    console.error(`${seconds} s: ${accepted} accepted, ${results} results, ${mebibytes(watch.look())} in all`);
  }, PROGRESS_MS);
  return () => clearInterval(timer);
}
