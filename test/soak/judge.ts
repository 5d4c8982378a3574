/** What came of a soak: waits until it is quiet, measures, reads what is stored and written, and checks. */
import { setTimeout as pause } from "node:timers/promises";
import { FAILPOINTS } from "../../src/failpoints/failpoints.ts";
import { check } from "../faults/check.ts";
import type { History, Index, Streams } from "../faults/history.ts";
import type { LiveWorld } from "../faults/live-world.ts";
import { leaks } from "./criteria.ts";
import { isOfLoad, type LoadClient } from "./load-client.ts";
import type { Sample } from "./probes.ts";
import type { Outcome } from "./report.ts";
import { mend } from "./survivors.ts";
import type { Watch } from "./watch.ts";

const MOST_READS = 3;

export interface Case {
  readonly world: LiveWorld;
  readonly load: LoadClient;
  readonly watch: Watch;
  readonly warm: ReadonlyMap<string, Sample>;
  /** What was wrong so far. */
  readonly errors: readonly string[];
  readonly seed: string;
  readonly minutes: number;
  readonly strikes: ReadonlyMap<string, number>;
  readonly missed: readonly string[];
  /** How long nothing happened before `warm` was measured. */
  readonly quietMs: number;
}

export async function judge({
  world,
  load,
  watch,
  warm,
  seed,
  minutes,
  strikes,
  missed,
  ...rest
}: Case): Promise<Outcome> {
  const errors = [...rest.errors];
  await mend(world);
  await world
    .until(
      "everybody to be there, and in the rotation",
      () =>
        [...world.dispatchers, ...world.hosts, ...world.brokers].every(({ alive }) => alive) &&
        world.hosts.every(({ hostId }) => world.inRotation(hostId)),
    )
    .catch((error: unknown) => errors.push(String(error)));
  await pause(rest.quietMs);
  const end = await watch.hold().catch((error: unknown) => {
    errors.push(String(error));
    return new Map<string, Sample>();
  });
  console.error("reading what is stored");
  const { history, streams, index } = await collected(world);
  const { lives, began, accepted, loaded, ids } = tally(history);
  console.error(`checking ${history.length} entries`);
  const violations = check(history, streams, index);
  const watched = watch.compare(warm, end, (name) => lives.get(name) ?? 1);
  errors.push(...leaks(watched));
  const told = load.counts.results;
  const { results, waiting } = streams;
  const copies = results.filter(({ result }) => !ids.has(result.id)).length;
  if (results.length - copies !== accepted)
    errors.push(`${accepted} tasks were accepted, ${results.length - copies} results of them are stored`);
  if (told !== loaded) errors.push(`${loaded} tasks of the load were accepted, it got ${told} results`);
  if (waiting !== 0) errors.push(`${waiting} messages are left in the queue`);
  const strays = straysAmong(streams);
  if (strays > 0) errors.push(`${strays} dead letters are of tasks that did not fail`);
  return {
    ...{ seed, minutes, accepted, told, results: results.length, copies, statuses: statusesOf(streams) },
    ...{ dead: streams.dead.length, strays, waiting, began, ...drawn(index) },
    ...{ strikes, missed, reached: FAILPOINTS.map((name) => [name, world.passed(name)] as const) },
    ...{ watched, peak: (name) => watch.peak(name), violations, errors },
  };
}

/** What half an hour has made is not given up because one of thousands of reads found no answer in time. */
async function collected(world: LiveWorld): ReturnType<LiveWorld["collect"]> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await world.collect();
    } catch (error) {
      if (attempt === MOST_READS) throw error;
      console.error(`reading again: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

interface Tally {
  /** Starts of each process. */
  readonly lives: ReadonlyMap<string, number>;
  /** Attempts. */
  readonly began: number;
  /** Tasks: of all clients, and of the load among them; the world has a client of its own. */
  readonly accepted: number;
  readonly loaded: number;
  /** Of the accepted ones. */
  readonly ids: ReadonlySet<string>;
}

function tally(history: History): Tally {
  const lives = new Map<string, number>();
  const ids = new Set<string>();
  let [began, accepted, loaded] = [0, 0, 0];
  for (const entry of history) {
    if (entry.type === "began") began++;
    else if (entry.type === "started") lives.set(entry.process, (lives.get(entry.process) ?? 0) + 1);
    else if (entry.type === "accepted") {
      accepted += entry.ids.length;
      for (const id of entry.ids) ids.add(id);
      if (isOfLoad(entry.call)) loaded += entry.ids.length;
    }
  }
  return { lives, began, accepted, loaded, ids };
}

function statusesOf({ results }: Streams): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { result } of results) counts[result.status] = (counts[result.status] ?? 0) + 1;
  return counts;
}

/** Dead letters are a subset of the failed tasks. */
function straysAmong({ results, dead }: Streams): number {
  const failed = new Set(results.flatMap(({ result }) => (result.status === "failed" ? [result.id] : [])));
  return dead.filter(({ id }) => !failed.has(id)).length;
}

function drawn(index: Index): { readonly tickets: number; readonly swaps: number } {
  const ofLanes = index.map(({ records }) => records.at(-1)?.record.index ?? 0);
  return {
    tickets: ofLanes.reduce((sum, each) => sum + each, 0),
    swaps: index.reduce((sum, { records }) => sum + records.length, 0),
  };
}
