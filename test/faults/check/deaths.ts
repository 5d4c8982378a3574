/**
 * P6: a killed host is out of the rotation within three heartbeats, and what it ran begins elsewhere at once; within ten more where
 * a dispatcher was struck too, since it can be the one that gave them.
 *
 * Time is counted in heartbeats of another host, as the observer heard them: a machine that is busy with other things is slow at both.
 * Judged are only deaths of hosts that beat regularly until then, and only by who was left alone meanwhile.
 */
import type { Index, LaneIndex } from "../history.ts";
import type { Disturbances } from "./disturbances.ts";
import { nameOf } from "./ended.ts";
import { beatAfter, beatBefore, FORGOTTEN_BEATS, REGULAR_MS } from "./evictions.ts";
import { above, type Interval, Intervals } from "./intervals.ts";
import type { Execution, Life, Record } from "./record.ts";
import type { Report } from "./report.ts";
import { slotsOf } from "./slots.ts";

/** Three, and one for phase. */
const NOTICED_BEATS = 4;
/** Three more: whoever gets a task that was given back asks the other hosts for it, and again a second later as long as one is silent. */
const RESUMED_BEATS = NOTICED_BEATS + 3;
/** `ack_wait`, 10 s. */
const REDELIVERED_BEATS = RESUMED_BEATS + 10;
/** From a task's swap to its start, ms, at most. */
const HANDED_OVER_MS = 2_000;

interface Death {
  readonly life: Life;
  readonly host: string;
  readonly at: number;
  readonly lastBeat: number;
  /** It was well since then. */
  readonly since: number;
}

export class Deaths {
  readonly #record: Record;
  readonly #disturbances: Disturbances;
  readonly #index: Index;
  readonly #report: Report;
  readonly #hosts: readonly (readonly [host: string, process: string])[];
  readonly #dispatchers: readonly Life[];
  readonly #full = new Map<string, Intervals>();

  constructor(record: Record, disturbances: Disturbances, index: Index, report: Report) {
    this.#record = record;
    this.#disturbances = disturbances;
    this.#index = index;
    this.#report = report;
    this.#hosts = [...record.processes];
    const evicting = new Set(record.evictions.map(({ process }) => process));
    // A whole node need not have a dispatcher.
    this.#dispatchers = record
      .livesOf("dispatcher", "node")
      .filter(({ role, process }) => role === "dispatcher" || evicting.has(process));
  }

  check(): void {
    for (const [host, process] of this.#hosts) {
      for (const life of this.#record.lives.get(process) ?? []) {
        const { exited } = life;
        if (exited === undefined || exited.code === 0) continue;
        const beats = this.#record.beats.get(host) ?? [];
        const since = beatBefore(beats, exited.at, FORGOTTEN_BEATS);
        if (since === undefined || since < life.from) continue;
        const last = [...beats.slice(above(beats, since) - 1, above(beats, exited.at)), exited.at];
        if (last.some((beat, i) => beat - (last[i - 1] ?? beat) > REGULAR_MS)) continue;
        const death: Death = { life, host, at: exited.at, since, lastBeat: last.at(-2) as number };
        this.#checkNoticed(death);
        this.#checkResumed(death);
      }
    }
  }

  #checkNoticed(death: Death): void {
    const deadline = this.#deadline(death, NOTICED_BEATS);
    if (deadline === undefined) return;
    const evictions = this.#record.evictions.filter(
      ({ host, at }) => host === death.host && at > death.lastBeat && at <= deadline,
    );
    for (const { process } of this.#undisturbed(death.since, deadline)) {
      if (evictions.some((each) => each.process === process)) continue;
      const what = `${process} still had ${death.host}, killed at ${death.at}, at ${deadline}`;
      this.#report.add("P6", "a killed host is noticed within three heartbeats", what);
    }
  }

  #checkResumed(death: Death): void {
    const soon = this.#deadline(death, RESUMED_BEATS);
    const later = this.#deadline(death, REDELIVERED_BEATS);
    for (const execution of this.#record.byPid.get(death.life.pid) ?? []) {
      const { began, ended } = execution;
      if (ended !== undefined || soon === undefined) continue;
      // Any dispatcher can be the one that gave it.
      const deadline = this.#struckDispatcher(began.at - HANDED_OVER_MS, soon) ? later : soon;
      if (deadline === undefined || !this.#canResume(death, execution, deadline)) continue;
      const task = this.#record.task(began.pool, began.id);
      const next = task.executions.reduce(
        (least, each) => (each.began.at > began.at ? Math.min(least, each.began.at) : least),
        task.seenAt,
      );
      // One that never came to an end is the business of P1, and of a result that nobody saw come it cannot be told when it came.
      if (next <= deadline || next === Number.POSITIVE_INFINITY) continue;
      if (this.#wasFull(began.pool, began.kind, death.at, deadline)) continue;
      const what = `${nameOf(task)} ran on ${death.host}, killed at ${death.at}, and began nowhere by ${deadline}`;
      this.#report.add("P6", "what a killed host ran begins elsewhere", what);
    }
  }

  #struckDispatcher(from: number, to: number): boolean {
    return this.#record
      .livesOf("dispatcher", "node")
      .some(({ process }) => this.#disturbances.of(process, from, to).length > 0);
  }

  /** Some dispatcher and every other host was left alone, and one of them offers the lane. */
  #canResume(death: Death, { began }: Execution, deadline: number): boolean {
    const others = this.#hosts.filter(([host]) => host !== death.host);
    const lane = this.#index.find(({ pool, kind }) => pool === began.pool && kind === began.kind);
    return (
      this.#undisturbed(death.since, deadline).length > 0 &&
      others.every(([, process]) => this.#disturbances.of(process, death.since, deadline).length === 0) &&
      others.some(([host]) => lane?.rosters.some(({ ranges }) => ranges.some((range) => range.host === host)))
    );
  }

  /** When the slowest of the hosts that were left alone had beaten so often after the death. Undefined if that cannot be told. */
  #deadline({ host, at, since }: Death, beats: number): number | undefined {
    let deadline: number | undefined;
    for (const [other, process] of this.#hosts) {
      if (other === host) continue;
      const end = beatAfter(this.#record.beats.get(other) ?? [], at, beats + 1);
      if (end === undefined || this.#disturbances.of(process, since, end).length > 0) continue;
      deadline = Math.max(deadline ?? 0, end);
    }
    return deadline === undefined || this.#disturbances.between(since, deadline) ? undefined : deadline;
  }

  /** Dispatchers that ran all the time, and that nothing struck. */
  #undisturbed(from: number, to: number): readonly Life[] {
    return this.#dispatchers.filter(
      (life) => life.from <= from && life.to > to && this.#disturbances.of(life.process, from, to).length === 0,
    );
  }

  /** There was a moment when no agent of the lane had a free slot. */
  #wasFull(pool: string, kind: string, from: number, to: number): boolean {
    const key = `${pool}.${kind}`;
    let full = this.#full.get(key);
    if (full === undefined) {
      const lane = this.#index.find((each) => each.pool === pool && each.kind === kind);
      full = new Intervals(lane === undefined ? [] : fullTimes(this.#record, lane, slotsOf(this.#index)));
      this.#full.set(key, full);
    }
    return full.overlapping(from, to) > 0;
  }
}

/** When no agent of a lane had a free slot. */
function fullTimes(record: Record, lane: LaneIndex, slots: ReadonlyMap<string, number>): readonly Interval[] {
  const agents = new Set(
    lane.rosters.flatMap(({ ranges }) =>
      ranges.flatMap(({ host, first, count }) => Array.from({ length: count }, (_, i) => `${host}-${first + i}`)),
    ),
  );
  interface Change {
    readonly at: number;
    readonly does: () => void;
  }
  const changes: Change[] = [];
  let free = 0;
  const running = new Map<string, number>();
  const room = (pid: number, agent: string): number => (slots.get(agent) ?? 0) - (running.get(`${pid} ${agent}`) ?? 0);
  const step = (pid: number, agent: string, by: number): void => {
    running.set(`${pid} ${agent}`, (running.get(`${pid} ${agent}`) ?? 0) + by);
    if (alive.has(pid)) free -= by;
  };
  const alive = new Set<number>();
  for (const [host, process] of record.processes) {
    const own = [...agents].filter((agent) => agent.startsWith(`${host}-`));
    for (const { pid, from, to } of record.lives.get(process) ?? []) {
      const toggle = (on: boolean): void => {
        for (const agent of own) free += on ? room(pid, agent) : -room(pid, agent);
        if (on) alive.add(pid);
        else alive.delete(pid);
      };
      changes.push({ at: from, does: () => toggle(true) });
      if (to !== Number.POSITIVE_INFINITY) changes.push({ at: to, does: () => toggle(false) });
    }
  }
  for (const { began, ended } of record.executions) {
    if (!agents.has(began.agent)) continue;
    changes.push({ at: began.at, does: () => step(began.pid, began.agent, 1) });
    if (ended) changes.push({ at: ended.at, does: () => step(began.pid, began.agent, -1) });
  }
  const full: Interval[] = [];
  changes.sort((a, b) => a.at - b.at);
  for (const [i, { at, does }] of changes.entries()) {
    does();
    if (free <= 0) full.push({ from: at, to: changes[i + 1]?.at ?? Number.POSITIVE_INFINITY });
  }
  return full;
}
