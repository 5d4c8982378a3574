/**
 * Takes acknowledged tasks out of the stream that the broker left in it.
 *
 * A nats-server whose disk is full counts an acknowledgement and cannot take the message away; started anew it never delivers that
 * again, and never removes it. It would wait in all displays for ever, and count against `--max-waiting`.
 *
 * 1. Only what lies at or below the acknowledgement floor of its lane's consumer is taken away, and only when all its tasks have
 *    results: a broker whose machine lost power can know of acknowledgements and not of the messages, and number others like them.
 * 2. It is looked for when a dispatcher starts and when the broker was started anew, which is what ends such a state; and again, less
 *    and less often, while there is more in the stream than the consumers account for.
 */
import type { Bus } from "../../bus/bus.ts";
import type { ResultStore } from "../../bus/results.ts";
import type { StoredMessage } from "../../bus/stored.ts";
import { subjectCounts } from "../../bus/subject-counts.ts";
import { listConsumers } from "../../bus/topology.ts";
import { removeWaiting, waitingMessages } from "../../bus/waiting.ts";
import type { Clock, Timer } from "../../protocols/clock.ts";
import type { Logger } from "../../protocols/logger.ts";
import type { Names } from "../../protocols/subjects.ts";
import { idsOf } from "./task-finder.ts";

/** A consumer that the broker has just restored has to be asked by somebody first, ms; acknowledgements under way settle. */
const SETTLE_MS = 2_000;
/** Before the second look, ms: what still runs holds the floor down. Each pause after it is twice as long, up to the last. */
const AGAIN_MS = 10_000;
const MAX_AGAIN_MS = 600_000;
/** Messages whose results are asked for at once. */
const BATCH = 64;

export interface LeftoversOptions {
  readonly bus: Bus;
  readonly names: Names;
  readonly results: Pick<ResultStore, "findMany">;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class Leftovers {
  readonly #options: LeftoversOptions;
  #timer: Timer | undefined;
  #againMs = AGAIN_MS;
  #stopped = false;

  constructor(options: LeftoversOptions) {
    this.#options = options;
  }

  /** Looks in a moment, and again as long as there is something to wait for. */
  look(): void {
    this.#againMs = AGAIN_MS;
    this.#lookIn(SETTLE_MS);
  }

  stop(): void {
    this.#stopped = true;
    this.#options.clock.clear(this.#timer);
  }

  #lookIn(delayMs: number): void {
    const { clock, logger } = this.#options;
    if (this.#stopped) return;
    clock.clear(this.#timer);
    this.#timer = clock.setTimeout(() => {
      this.#sweep().then(
        (more) => {
          if (more) this.#lookAgain();
        },
        (error: unknown) => {
          logger.debug({ error: String(error) }, "it could not be seen what the broker left in the task stream");
          this.#lookAgain();
        },
      );
    }, delayMs);
  }

  #lookAgain(): void {
    this.#lookIn(this.#againMs);
    this.#againMs = Math.min(MAX_AGAIN_MS, this.#againMs * 2);
  }

  /** True if there is more in the stream than the consumers account for. */
  async #sweep(): Promise<boolean> {
    const { bus, names, logger } = this.#options;
    const { tasks } = names.streams;
    // In this order: what is submitted meanwhile is waited for by a consumer, and not counted.
    const counts = await subjectCounts(bus, tasks, ">");
    let more = false;
    for (const { filter, waiting, ackPending, ackFloor } of await listConsumers(bus, tasks)) {
      if ((counts.get(filter) ?? 0) <= waiting + ackPending) continue;
      more = true;
      let removed = 0;
      let batch: StoredMessage[] = [];
      for await (const message of waitingMessages(bus, tasks, { filter })) {
        if (message.sequence > ackFloor) break;
        batch.push(message);
        if (batch.length < BATCH) continue;
        removed += await this.#remove(batch);
        batch = [];
      }
      removed += await this.#remove(batch);
      if (removed > 0)
        logger.warn({ subject: filter, removed }, "acknowledged tasks that the broker left in the stream were removed");
    }
    return more;
  }

  /** Takes away those of `messages`, all of one pool, whose tasks have results. Returns how many. */
  async #remove(messages: readonly StoredMessage[]): Promise<number> {
    const { bus, names, results } = this.#options;
    const named = messages.flatMap((message) => {
      const at = names.parseTask(message.subject);
      return at === undefined ? [] : [{ message, pool: at.pool, ids: idsOf(message, at) }];
    });
    const [first] = named;
    if (first === undefined) return 0;
    const stored = await results.findMany(first.pool, [...new Set(named.flatMap(({ ids }) => ids))]);
    const done = named.filter(({ ids }) => ids.every((id) => stored.has(id)));
    for (const { message } of done) await removeWaiting(bus, names.streams.tasks, message.sequence);
    return done.length;
  }
}
