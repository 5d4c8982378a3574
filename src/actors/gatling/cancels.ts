/**
 * Tasks that were cancelled and may still come to hand: the bucket `<prefix>_cancels`, as every dispatcher watches it.
 *
 * 1. It is loaded before any lane opens. What is in hand or comes to hand, and is in it, gets a `cancelled` result instead of an
 *    agent.
 * 2. A key is deleted when its task was reached; of an automatic id also when the message is gone and every dispatcher has had
 *    time to hear of it. So the set is empty most of the time, and costs nothing then.
 * 3. It is bounded: beyond that the oldest are forgotten here. An id of a client's own is looked up before it runs in any case,
 *    and its result is found.
 */
import type { Bus } from "../../bus/bus.ts";
import { encode } from "../../bus/codec/codec.ts";
import { readEncoding } from "../../bus/codec/task.ts";
import type { KvBucket } from "../../bus/kv.ts";
import { getBySequence } from "../../bus/stored.ts";
import type { Clock, Timer } from "../../protocols/clock.ts";
import type { Logger } from "../../protocols/logger.ts";
import type { LaneName, Names } from "../../protocols/subjects.ts";
import { sequenceOf } from "../../protocols/tokens.ts";
import type { TaskInHand } from "./task-in-hand.ts";
import type { Verdicts } from "./verdicts.ts";

/** About 20 MiB. */
const MAX_KNOWN = 100_000;
/** A key is kept at least so long after it was written here, ms: every dispatcher hears of it within moments. */
const HOLD_MS = 60_000;
/** Keys of others are cleared away if their writer did not, ms. */
const ORPHAN_MS = 3 * HOLD_MS;

export interface CancelsOptions {
  readonly bus: Bus;
  readonly bucket: KvBucket;
  readonly names: Names;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Another task is cancelled. */
  readonly onCancelled: () => void;
}

export class Cancels {
  readonly #options: CancelsOptions;
  /** By key: when its message is looked for, on the monotonic clock. */
  readonly #known = new Map<string, number>();
  #stopWatching: (() => void) | undefined;
  #sweeper: Timer | undefined;

  constructor(options: CancelsOptions) {
    this.#options = options;
  }

  /** Resolves when everything that is cancelled is known here. */
  async start(): Promise<void> {
    const { bucket, clock } = this.#options;
    let caughtUp = (): void => undefined;
    const loaded = new Promise<void>((resolve) => {
      caughtUp = resolve;
    });
    this.#stopWatching = await bucket.watch(
      ">",
      ({ key, deleted }) => {
        if (deleted) this.#known.delete(key);
        else this.#learn(key, ORPHAN_MS);
      },
      { onCaughtUp: caughtUp },
    );
    await loaded;
    this.#sweeper = clock.setInterval(() => void this.#sweep(), HOLD_MS);
  }

  stop(): void {
    this.#stopWatching?.();
    this.#options.clock.clear(this.#sweeper);
  }

  has(pool: string, id: string): boolean {
    return this.#known.size > 0 && this.#known.has(this.#options.names.taskKey(pool, id));
  }

  /** Resolves when it is durable. */
  async add(pool: string, id: string, kind: string): Promise<void> {
    const { bucket, names, clock } = this.#options;
    const key = names.taskKey(pool, id);
    await bucket.put(key, encode({ v: 1, at: clock.now(), kind }));
    this.#learn(key, HOLD_MS);
  }

  /** Nobody needs to know of it any longer. */
  reached(pool: string, id: string): void {
    void this.#delete(this.#options.names.taskKey(pool, id));
  }

  /** What stays of a lane's hand; the rest gets its `cancelled` result, if it has none yet. */
  drop({ pool, kind }: LaneName, hand: TaskInHand[], verdicts: Verdicts): TaskInHand[] {
    if (this.#known.size === 0 || !hand.some(({ id }) => this.has(pool, id))) return hand;
    return hand.filter((task) => {
      if (!this.has(pool, task.id)) return true;
      const condemned = { ...task, encoding: readEncoding(task.body), attempts: task.attempt - 1 };
      verdicts.cancel({ pool, kind }, condemned, () => this.reached(pool, task.id));
      return false;
    });
  }

  #learn(key: string, forMs: number): void {
    const lookAt = this.#options.clock.monotonic() + forMs;
    const before = this.#known.get(key);
    this.#known.set(key, before === undefined ? lookAt : Math.min(before, lookAt));
    if (this.#known.size > MAX_KNOWN) {
      const [oldest] = this.#known.keys();
      this.#known.delete(oldest as string);
    }
    this.#options.onCancelled();
  }

  /** Deletes keys whose message is gone: what nobody can reach any more. */
  async #sweep(): Promise<void> {
    const { bus, names, clock, logger } = this.#options;
    const now = clock.monotonic();
    try {
      for (const [key, lookAt] of this.#known) {
        const sequence = sequenceOf(key.slice(key.indexOf(".") + 1));
        if (sequence === undefined || lookAt > now) continue;
        const there = await getBySequence(bus, names.streams.tasks, sequence);
        if (there === undefined) await this.#delete(key);
      }
    } catch (error) {
      logger.debug({ error: String(error) }, "cancelled tasks could not be looked for");
    }
  }

  async #delete(key: string): Promise<void> {
    try {
      await this.#options.bucket.delete(key);
      this.#known.delete(key);
    } catch (error) {
      this.#options.logger.debug({ key, error: String(error) }, "the mark of a cancelled task stays for now");
    }
  }
}
