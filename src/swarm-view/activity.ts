/**
 * How fast tasks end, by lane and by node, from the results and heartbeats that go by.
 *
 * 1. Bounded work: of each interval at most `MAX_DECODED` results are decoded; the others are counted, and shared out as those
 *    were. So a swarm of fifty thousand tasks a second is shown as well as one of five.
 * 2. Bounded memory: at most `MAX_LANES` lanes and `MAX_FAILURES` kinds of failure are remembered, those heard of last.
 */
import { decodeResult } from "../client/waiting-results.ts";
import type { Heartbeat } from "../protocols/host-messages.ts";

export interface LaneRate {
  /** Tasks that ended a second, however they ended. */
  readonly done: number;
  readonly failed: number;
}

/** A kind that fails. */
export interface Failing {
  /** `pool.kind` */
  readonly lane: string;
  readonly code: string;
  readonly message: string;
  /** Since the watch began; where results were not all decoded, of those that were. */
  readonly count: number;
  /** Ms since the epoch. */
  readonly lastAt: number;
}

export interface Activity {
  readonly tasksPerSecond: number;
  /** By `pool.kind`. */
  readonly lanes: ReadonlyMap<string, LaneRate>;
  /** Attempts that ended a second, by host id. */
  readonly nodes: ReadonlyMap<string, number>;
  /** The latest first. */
  readonly failing: readonly Failing[];
}

const MAX_DECODED = 2_000;
const MAX_LANES = 1_000;
const MAX_FAILURES = 100;
/** Rates are of the last intervals, up to this long, so that they do not jump. */
const WINDOW_MS = 5_000;

interface Interval {
  readonly ms: number;
  readonly seen: number;
  readonly decoded: number;
  readonly lanes: ReadonlyMap<string, { done: number; failed: number }>;
}

export class ActivityWatch {
  #seen = 0;
  #decoded = 0;
  #lanes = new Map<string, { done: number; failed: number }>();
  #since: number;
  #intervals: Interval[] = [];
  readonly #failing = new Map<string, Failing>();
  readonly #ended = new Map<string, { run: string; readonly at: number; readonly ended: number; rate: number }>();
  readonly #now: () => number;

  /** `now` is a monotonic clock, ms. */
  constructor(now: () => number) {
    this.#now = now;
    this.#since = now();
  }

  /** A result as it was published. */
  result(data: Uint8Array): void {
    this.#seen++;
    if (this.#decoded >= MAX_DECODED) return;
    const result = decodeResult(data);
    if (result === undefined) return;
    this.#decoded++;
    const lane = `${result.pool}.${result.kind}`;
    const known = this.#lanes.get(lane);
    const failed = result.status === "failed" ? 1 : 0;
    if (known) {
      known.done++;
      known.failed += failed;
    } else if (this.#lanes.size < MAX_LANES) this.#lanes.set(lane, { done: 1, failed });
    if (failed > 0) this.#fail(lane, result.error?.code ?? "?", result.error?.message ?? "", result.finishedAt);
  }

  heartbeat({ host, run, finished, failed }: Heartbeat): void {
    const before = this.#ended.get(host);
    const ended = finished + failed;
    const at = this.#now();
    if (before === undefined || before.run !== run) this.#ended.set(host, { run, at, ended, rate: 0 });
    else if (at > before.at) {
      const rate = Math.max(0, (1_000 * (ended - before.ended)) / (at - before.at));
      this.#ended.set(host, { run, at, ended, rate });
    }
  }

  /** Ends an interval, and says how fast it went. */
  tick(): Activity {
    const now = this.#now();
    const interval = { ms: now - this.#since, seen: this.#seen, decoded: this.#decoded, lanes: this.#lanes };
    this.#since = now;
    [this.#seen, this.#decoded, this.#lanes] = [0, 0, new Map()];
    this.#intervals.push(interval);
    let ms = this.#intervals.reduce((sum, each) => sum + each.ms, 0);
    while (this.#intervals.length > 1 && ms > WINDOW_MS) ms -= this.#intervals.shift()?.ms ?? 0;
    return {
      tasksPerSecond: perSecond(
        this.#intervals.reduce((sum, { seen }) => sum + seen, 0),
        ms,
      ),
      lanes: this.#laneRates(ms),
      nodes: new Map([...this.#ended].map(([host, { rate }]) => [host, rate])),
      failing: [...this.#failing.values()].sort((a, b) => b.lastAt - a.lastAt),
    };
  }

  #laneRates(ms: number): ReadonlyMap<string, LaneRate> {
    const sums = new Map<string, { done: number; failed: number }>();
    for (const { seen, decoded, lanes } of this.#intervals) {
      const each = decoded === 0 ? 0 : seen / decoded;
      for (const [lane, { done, failed }] of lanes) {
        const sum = sums.get(lane) ?? { done: 0, failed: 0 };
        sum.done += done * each;
        sum.failed += failed * each;
        sums.set(lane, sum);
      }
    }
    return new Map(
      [...sums].map(([lane, { done, failed }]) => [lane, { done: perSecond(done, ms), failed: perSecond(failed, ms) }]),
    );
  }

  #fail(lane: string, code: string, message: string, lastAt: number): void {
    const key = `${lane} ${code}`;
    const count = (this.#failing.get(key)?.count ?? 0) + 1;
    this.#failing.delete(key);
    this.#failing.set(key, { lane, code, message, count, lastAt });
    const [oldest] = this.#failing.keys();
    if (oldest !== undefined && this.#failing.size > MAX_FAILURES) this.#failing.delete(oldest);
  }
}

function perSecond(count: number, ms: number): number {
  return ms > 0 ? (1_000 * count) / ms : 0;
}
