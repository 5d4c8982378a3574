/**
 * What disturbed whom, and when: the only things that excuse anything.
 *
 * 1. A strike lasts from `struck` to its `healed`. A process that ended otherwise than by a graceful stop is disturbed until it
 *    starts again.
 * 2. What names no process, or a broker, lies between all of them: everybody is disturbed.
 * 3. A graceful stop excuses nothing but that its host is put out of the rotation.
 */
import { type Interval, Intervals } from "./intervals.ts";
import type { Life, Record } from "./record.ts";

export interface Disturbance extends Interval {
  /** Undefined: whatever lies between. */
  readonly process: string | undefined;
  /** A stop that was asked for, and went well. */
  readonly gentle: boolean;
  /** It only keeps its host busy until this moment. */
  readonly busyUntil: number | undefined;
}

/**
 * How long what a fault left behind may take to come to light, ms: connections that are found dead (10 s of pings), and what comes
 * back by `ack_wait` (10 s). It excuses; nothing is expected to be as slow.
 */
const AFTERMATH_MS = 20_000;

/** A delivery that nobody answers for counts as an execution once in `ack_wait`, ms. */
const ACK_WAIT_MS = 10_000;

const BETWEEN: readonly Life["role"][] = ["broker", "node"];

export class Disturbances {
  readonly all: readonly Disturbance[];
  readonly #between: readonly Disturbance[];
  readonly #byProcess = new Map<string, Disturbance[]>();
  /** Executions that can have become uncertain. */
  readonly #uncertain: Intervals;
  /** Acknowledgements that can have been lost. */
  readonly #brokers: Intervals;

  constructor(record: Record) {
    this.all = [...strikesOf(record), ...deathsOf(record)].sort((a, b) => a.from - b.from);
    const roles = new Map([...record.lives].map(([process, lives]) => [process, lives[0]?.role]));
    const lies = ({ process }: Disturbance): boolean => {
      const role = process === undefined ? undefined : roles.get(process);
      return role === undefined || BETWEEN.includes(role);
    };
    this.#between = this.all.filter(lies);
    for (const each of this.all) {
      if (each.process === undefined) continue;
      const ofProcess = this.#byProcess.get(each.process);
      if (ofProcess) ofProcess.push(each);
      else this.#byProcess.set(each.process, [each]);
    }
    const harsh = this.all.filter(({ gentle, process }) => !gentle && roles.get(process ?? "") !== "client");
    this.#uncertain = new Intervals(
      harsh.map(({ from, to }) => ({ from, to: to + AFTERMATH_MS })),
      ({ from, to }) => 1 + Math.floor((Math.min(to, record.end) - from) / ACK_WAIT_MS),
    );
    this.#brokers = new Intervals(
      this.all.filter(({ process, gentle }) => !gentle && roles.get(process ?? "") !== "host").map(aftermath),
    );
  }

  /** How many executions of what was under way from `from` to `to` can have become uncertain. */
  uncertain(from: number, to: number): number {
    return this.#uncertain.overlapping(from, to);
  }

  /** How often an acknowledgement can have been lost between the two moments. */
  lostAnswers(from: number, to: number): number {
    return this.#brokers.overlapping(from, to);
  }

  /** Those of `process` that overlap. */
  of(process: string, from: number, to: number): readonly Disturbance[] {
    return (this.#byProcess.get(process) ?? []).filter((each) => each.from <= to && each.to >= from);
  }

  /** Something between all processes was disturbed, or was until lately. */
  between(from: number, to: number): boolean {
    return this.#between.some((each) => each.from <= to && each.to + AFTERMATH_MS >= from);
  }
}

function aftermath({ from, to }: Interval): Interval {
  return { from, to: to + AFTERMATH_MS };
}

function strikesOf(record: Record): readonly Disturbance[] {
  const found: Disturbance[] = [];
  const open = new Map<string, { readonly from: number; readonly busyUntil: number | undefined }[]>();
  const add = (process: string | undefined, from: number, to: number, busyUntil: number | undefined): void => {
    const lives = process === undefined ? [] : (record.lives.get(process) ?? []);
    const ends = lives.filter(({ exited }) => exited !== undefined && exited.at >= from && exited.at <= to);
    const gentle = ends.length > 0 && ends.every(isGraceful);
    found.push({ process, from, to, gentle, busyUntil });
  };
  for (const strike of record.strikes) {
    const key = `${strike.fault} ${strike.process ?? ""}`;
    if (strike.type === "struck") {
      const waiting = open.get(key) ?? [];
      waiting.push({ from: strike.at, busyUntil: strike.busyUntil });
      open.set(key, waiting);
      continue;
    }
    const began = open.get(key)?.shift();
    if (began) add(strike.process, began.from, strike.at, began.busyUntil);
  }
  for (const [key, waiting] of open) {
    const process = key.slice(key.indexOf(" ") + 1);
    for (const { from, busyUntil } of waiting) {
      add(process === "" ? undefined : process, from, Number.POSITIVE_INFINITY, busyUntil);
    }
  }
  return found;
}

function deathsOf(record: Record): readonly Disturbance[] {
  return [...record.lives.values()].flatMap((lives) =>
    lives.flatMap((life, i) => {
      const to = lives[i + 1]?.from ?? Number.POSITIVE_INFINITY;
      const { process, exited } = life;
      return exited === undefined
        ? []
        : [{ process, from: exited.at, to, gentle: isGraceful(life), busyUntil: undefined }];
    }),
  );
}

/** Of a host or a dispatcher. Whoever stops a broker, or a node that has one, strikes everybody. */
function isGraceful({ exited, role }: Life): boolean {
  return exited?.stoppedAt !== undefined && exited.code === 0 && (role === "host" || role === "dispatcher");
}
