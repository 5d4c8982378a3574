/**
 * Publishes tasks again that a cluster has lost.
 *
 * A nats-server 2.15 that takes the lead of a consumer can have missed what was delivered and is not acknowledged: it removes that from
 * the work queue, or keeps it and gives it to nobody (docs/reliability.md, "A cluster that loses tasks"). So what this dispatcher has in
 * hand, or has given to hosts, is remembered when leaders may have changed, and looked at until its result is stored.
 *
 * 1. A single server loses nothing of this kind: nothing is remembered of one.
 * 2. A task is taken for lost when, in two looks one after the other, its message is gone, by word of the stream's leader, or lies where
 *    its consumer counts everything as acknowledged; and nobody has it: it is neither in our hand nor with a host, and, asked last,
 *    there is no result. A result is stored before its message is acknowledged.
 * 3. What is published again keeps its id, its submission time and its count, is looked up like every later delivery, and carries the
 *    same message id whichever dispatcher publishes it.
 */
import type { Bus } from "../../bus/bus.ts";
import type { ResultStore } from "../../bus/results.ts";
import { isStored } from "../../bus/stored.ts";
import { listConsumers } from "../../bus/topology.ts";
import { failpoint } from "../../failpoints/failpoints.ts";
import type { Clock, Timer } from "../../protocols/clock.ts";
import type { Logger } from "../../protocols/logger.ts";
import { LANE_CONSUMER } from "../../protocols/streams.ts";
import type { LaneName, Names } from "../../protocols/subjects.ts";
import type { Requeue } from "./requeue.ts";
import type { TaskInHand } from "./task-in-hand.ts";

/** By then what the consumer remembers was delivered again. */
const LOOK_MS = LANE_CONSUMER.ackWaitMs * 1.5;
/** Remembered at most: some hundred bytes each and the task itself. Beyond it nothing is added. */
const MOST = 100_000;
/** Messages that are asked for at once. */
const AT_ONCE = 32;
/** Looks in a row that must say the same. */
const LOOKS = 2;

/** A task as it was when it was remembered; `attempts` count already. */
export interface Known {
  readonly lane: LaneName;
  readonly task: TaskInHand;
  readonly attempts: number;
}

interface Stray extends Known {
  /** Looks in a row that did not find its message where it would be delivered. */
  misses: number;
}

export interface StraysOptions {
  readonly bus: Bus;
  readonly names: Names;
  readonly results: Pick<ResultStore, "findMany" | "findAtLeader">;
  readonly requeue: Pick<Requeue, "again">;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The broker is a cluster. */
  readonly mayForget: () => boolean;
  /** Ids of the tasks that are in our hand, or that we gave to a host and have not heard the end of. */
  readonly held: () => ReadonlySet<string>;
  /** Those of `ids` that some host still runs; undefined if a host did not answer. */
  readonly stillRunning: (lane: LaneName, ids: readonly string[]) => Promise<ReadonlySet<string> | undefined>;
}

export class Strays {
  readonly #options: StraysOptions;
  /** By pool and id. */
  readonly #strays = new Map<string, Stray>();
  #timer: Timer | undefined;
  #stopped = false;

  constructor(options: StraysOptions) {
    this.#options = options;
  }

  /** Tasks that are looked after. */
  get size(): number {
    return this.#strays.size;
  }

  /** Looks after `known` until their results are stored. */
  remember(known: Iterable<Known>): void {
    if (!this.#options.mayForget()) return;
    for (const each of known) {
      if (this.#strays.size >= MOST) break;
      this.#strays.set(`${each.lane.pool}.${each.task.id}`, { ...each, misses: 0 });
    }
    this.#lookLater();
  }

  stop(): void {
    this.#stopped = true;
    this.#options.clock.clear(this.#timer);
    this.#strays.clear();
  }

  #lookLater(): void {
    if (this.#stopped || this.#timer !== undefined || this.#strays.size === 0) return;
    this.#timer = this.#options.clock.setTimeout(() => {
      this.#look()
        // While nobody leads: at the next look.
        .catch((error: unknown) =>
          this.#options.logger.debug({ error: String(error) }, "tasks in doubt could not be looked at"),
        )
        .finally(() => {
          this.#timer = undefined;
          this.#lookLater();
        });
    }, LOOK_MS);
  }

  async #look(): Promise<void> {
    await this.#forgetDone();
    const missed = await this.#missed();
    const held = this.#options.held();
    let published = 0;
    for (const [key, stray] of missed) {
      stray.misses++;
      if (stray.misses < LOOKS || held.has(stray.task.id) || this.#stopped) continue;
      try {
        if (await this.#isSomewhere(stray)) continue;
        if (await this.#options.requeue.again(stray.lane, stray.task, stray.attempts)) {
          failpoint("task.lost");
          published++;
        }
        this.#strays.delete(key);
      } catch (error) {
        // Nobody leads, or the lane is full: at the next look.
        this.#options.logger.debug(
          { task: stray.task.id, error: String(error) },
          "a lost task could not be published again",
        );
      }
    }
    if (published > 0)
      this.#options.logger.warn(
        { tasks: published },
        "the broker lost tasks that were delivered; they were published again",
      );
  }

  /** Forgets those that have results. */
  async #forgetDone(): Promise<void> {
    const byPool = new Map<string, string[]>();
    for (const { lane, task } of this.#strays.values()) {
      const ids = byPool.get(lane.pool);
      if (ids === undefined) byPool.set(lane.pool, [task.id]);
      else ids.push(task.id);
    }
    for (const [pool, ids] of byPool)
      for (const id of (await this.#options.results.findMany(pool, ids)).keys()) this.#strays.delete(`${pool}.${id}`);
  }

  /** Those whose messages nobody will be given. */
  async #missed(): Promise<readonly (readonly [string, Stray])[]> {
    const { bus, names } = this.#options;
    const { tasks } = names.streams;
    const floors = new Map((await listConsumers(bus, tasks)).map(({ filter, ackFloor }) => [filter, ackFloor]));
    const missed: (readonly [string, Stray])[] = [];
    const waiting = [...this.#strays];
    const ask = async (): Promise<void> => {
      for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
        const [, stray] = next;
        const { lane, task } = stray;
        const floor = floors.get(names.task(lane.pool, lane.kind, task.priority)) ?? 0;
        if (task.sequence <= floor || !(await isStored(bus, tasks, task.sequence))) missed.push(next);
        else stray.misses = 0;
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, ask));
    return missed;
  }

  /** A host runs it, or did not say, or it has a result. */
  async #isSomewhere({ lane, task }: Stray): Promise<boolean> {
    const { results, stillRunning } = this.#options;
    const running = await stillRunning(lane, [task.id]);
    if (running === undefined || running.has(task.id)) return true;
    return (await results.findAtLeader(lane.pool, task.id)) !== undefined;
  }
}
