/**
 * The runs of a host that are not settled, and what others ask about them.
 *
 * 1. A run is here from the receipt until it is settled: acknowledged, given back, or reported to its dispatcher.
 * 2. A task that was cancelled while it was not here does not begin here later: a dispatcher may have had it in its hands when
 *    its result was stored. Remembered for longer than that takes, and bounded.
 */
import type { Clock } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import type { RunningTask } from "../../protocols/host-messages.ts";
import { agentId } from "../../protocols/rotation.ts";
import type { Run } from "./run.ts";

/** Dispatchers hear of a cancelled task within moments; one that is cut off has lost what it had in hand by then. */
const REMEMBER_MS = 600_000;
/** 8 MiB of ids at most. */
const MAX_REMEMBERED = 65_536;
/** Of `slowest`. */
const MAX_SLOWEST = 10;

export class RunRegistry {
  readonly #hostId: string;
  readonly #clock: Clock;
  /** Per dispatcher, by the number of the assignment. */
  readonly #runs = new Map<string, Map<number, Run>>();
  /** Cancelled tasks, and until when they are remembered on the monotonic clock; the oldest come first. */
  readonly #cancelled = new Map<string, number>();

  constructor(hostId: string, clock: Clock) {
    this.#hostId = hostId;
    this.#clock = clock;
  }

  add(run: Run): void {
    let ofDispatcher = this.#runs.get(run.dispatcher);
    if (!ofDispatcher) {
      ofDispatcher = new Map();
      this.#runs.set(run.dispatcher, ofDispatcher);
    }
    ofDispatcher.set(run.n, run);
  }

  remove(run: Run): void {
    const ofDispatcher = this.#runs.get(run.dispatcher);
    ofDispatcher?.delete(run.n);
    if (ofDispatcher?.size === 0) this.#runs.delete(run.dispatcher);
  }

  has(run: Run): boolean {
    return this.#runs.get(run.dispatcher)?.get(run.n) === run;
  }

  all(): readonly Run[] {
    return [...this.#runs.values()].flatMap((runs) => [...runs.values()]);
  }

  get empty(): boolean {
    return this.#runs.size === 0;
  }

  /** Those of `ns` that are here. */
  owned(dispatcher: string, ns: readonly number[]): readonly number[] {
    const runs = this.#runs.get(dispatcher);
    return ns.filter((n) => runs?.has(n));
  }

  /** Those of `ids` that are here. */
  running(pool: string, ids: readonly string[]): string[] {
    const here = new Set(this.all().flatMap((run) => (run.lane.pool === pool ? [run.id] : [])));
    return ids.filter((id) => here.has(id));
  }

  where(pool: string, ids: readonly string[]): RunningTask[] {
    const asked = new Set(ids);
    return this.all()
      .filter((run) => run.lane.pool === pool && asked.has(run.id))
      .map((run) => this.#describe(run));
  }

  /** Those of `runs` that have run longest, the oldest first. */
  slowest(runs: Iterable<Run>): RunningTask[] {
    return [...runs]
      .filter(({ startedAt }) => startedAt > 0)
      .sort((one, other) => one.startedAt - other.startedAt)
      .slice(0, MAX_SLOWEST)
      .map((run) => this.#describe(run));
  }

  /**
   * Ends those of `ids` that run, and lets none of them begin later. Returns those that were told. An attempt that has ended
   * is not told: its result, or its return to the stream, is under way.
   */
  cancel(pool: string, ids: readonly string[]): string[] {
    const asked = new Set(ids);
    const told = new Set<string>();
    for (const run of this.all()) {
      if (run.ended || run.lane.pool !== pool || !asked.has(run.id)) continue;
      told.add(run.id);
      run.cancel(cancelled());
    }
    const now = this.#clock.monotonic();
    for (const id of asked) {
      const key = keyOf(pool, id);
      this.#cancelled.delete(key);
      this.#cancelled.set(key, now + REMEMBER_MS);
    }
    for (const [key, until] of this.#cancelled) {
      if (until > now && this.#cancelled.size <= MAX_REMEMBERED) break;
      this.#cancelled.delete(key);
    }
    return [...told];
  }

  /** Ends `run` before it starts if its task was cancelled. */
  forestall(run: Run): void {
    if (this.#cancelled.size === 0) return;
    const until = this.#cancelled.get(keyOf(run.lane.pool, run.id));
    if (until !== undefined && until > this.#clock.monotonic()) run.cancel(cancelled());
  }

  #describe({ id, lane, agent, attempt, startedAt }: Run): RunningTask {
    return { id, pool: lane.pool, kind: lane.kind, agent: agentId(this.#hostId, agent), attempt, startedAt };
  }
}

function cancelled(): VgasError {
  return new VgasError("CANCELLED", "the task was cancelled");
}

function keyOf(pool: string, id: string): string {
  return `${pool}.${id}`;
}
