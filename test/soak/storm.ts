/**
 * Faults at random, one every few seconds, a few of them at a time.
 *
 * Each strikes before any strikes twice, so that a short run has them all. One that is due while as many are under way as may be
 * waits for one of them.
 */
import { setTimeout as pause } from "node:timers/promises";
import type { Fault } from "../faults/fault.ts";
import { between } from "../faults/random.ts";
import type { World } from "../faults/world.ts";

export interface StormOptions {
  readonly faults: readonly Fault[];
  readonly world: World;
  readonly random: () => number;
  /** Whether it goes on after so many ms. */
  readonly goesOn: (afterMs: number) => boolean;
  readonly signal: AbortSignal;
  /** Strikes under way at a time. */
  readonly atOnce: number;
  /** From one to the next, ms: at least and at most. */
  readonly pauseMs: readonly [number, number];
  readonly onStrike: (fault: string) => void;
  /** After a strike that came to nothing. */
  readonly mend: () => Promise<void>;
}

/**
 * What came of it: strikes that were made and healed, by fault, and what those said that came to nothing. Of hundreds that overlap
 * some do, such as one that waits for a leader while another strike keeps the brokers from electing one.
 */
export interface Struck {
  readonly strikes: ReadonlyMap<string, number>;
  readonly missed: readonly string[];
}

export async function storm(options: StormOptions): Promise<Struck> {
  const { faults, world, random, goesOn, signal, atOnce, pauseMs, onStrike, mend } = options;
  const strikes = new Map<string, number>(faults.map(({ name }) => [name, 0]));
  const missed: string[] = [];
  const underWay = new Set<Promise<void>>();
  const since = performance.now();
  let bag: Fault[] = [];
  while (goesOn(performance.now() - since) && !signal.aborted) {
    await pause(between(random, ...pauseMs));
    if (underWay.size >= atOnce) await Promise.race(underWay);
    if (bag.length === 0) bag = shuffled(faults, random);
    const fault = bag.pop();
    if (fault === undefined) throw new Error("there is no fault to strike with");
    onStrike(fault.name);
    const strike: Promise<void> = fault
      .strike(world, random)
      .then(
        () => void strikes.set(fault.name, (strikes.get(fault.name) ?? 0) + 1),
        async (error: unknown) => {
          missed.push(`${fault.name}: ${error instanceof Error ? error.message : String(error)}`);
          await mend();
        },
      )
      .finally(() => underWay.delete(strike));
    underWay.add(strike);
  }
  await Promise.all(underWay);
  return { strikes, missed };
}

function shuffled<T>(list: readonly T[], random: () => number): T[] {
  const rest = [...list];
  for (let last = rest.length - 1; last > 0; last--) {
    const other = between(random, 0, last);
    [rest[last], rest[other]] = [rest[other] as T, rest[last] as T];
  }
  return rest;
}
