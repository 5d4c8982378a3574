/**
 * Keeps each guest's share of the queue, by what is seen of its tasks.
 *
 * Owns the quota, and one look-up at a time for each guest that has none left.
 *
 * Invariants
 * 1. What is heard to end frees its place at once. What is not (its result was stored before, or was missed) is found by a look at
 *    the stored results, which a guest without a place sets off, once a second at most.
 * 2. A submission whose outcome is unknown counts as stored.
 * 3. The node counts from its start: what was stored before is not known.
 */
import type { Bus } from "../../bus/bus.ts";
import { type PubAck, PublishRefused } from "../../bus/publisher.ts";
import { lastBySubjects } from "../../bus/stored.ts";
import type { Clock } from "../../protocols/clock.ts";
import type { VgasError } from "../../protocols/errors.ts";
import { MAX_TIMEOUT_MS } from "../../protocols/limits.ts";
import type { Logger } from "../../protocols/logger.ts";
import type { Names } from "../../protocols/subjects.ts";
import { Quota, QuotaExceeded, type QuotaLimits } from "./quota.ts";

export interface QueuedOptions {
  readonly bus: Bus;
  readonly names: Names;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** As many tasks as an array may have. 256 guests that use all of it fill the stream. */
const LIMITS: QuotaLimits = { tasks: 10_000, bytes: 64 * 2 ** 20, forgetAfterMs: MAX_TIMEOUT_MS };
const LOOK_PAUSE_MS = 1_000;
/** Tasks in one look. */
const LOOK_TASKS = 256;
/** Results can have a MiB each, and all of a request's are in memory at once. */
const LOOK_BATCH = 32;
/** Errors after which nothing was stored, and nothing will be, besides refusals of the stream. */
const NOT_STORED: ReadonlySet<string> = new Set(["TOO_LARGE", "INVALID", "PERMISSION_DENIED", "UNDELIVERABLE"]);

/** To be called when the outcome of the submission is known. */
export interface Counted {
  /** Ends the count if nothing was stored by this submission. */
  settle(error: VgasError | undefined, ack: PubAck | undefined): void;
  /** It was not sent. */
  cancel(): void;
}

export class Queued {
  readonly #options: QueuedOptions;
  readonly #quota = new Quota(LIMITS);
  /** When each guest that had no room was looked up last, on the monotonic clock; infinite while that goes on. */
  readonly #looks = new Map<string, number>();

  constructor(options: QueuedOptions) {
    this.#options = options;
  }

  /** What counts for `guest` now. */
  of(guest: string): { readonly tasks: number; readonly bytes: number } {
    return this.#quota.of(guest);
  }

  /** Counts a submission about to be sent. @throws QuotaExceeded */
  add(guest: string, pool: string, ids: readonly string[], bytes: number): Counted {
    const keys = ids.map((id) => this.#key(pool, id));
    try {
      const reservation = this.#quota.reserve(guest, keys, bytes, this.#options.clock.monotonic());
      const cancel = (): void => this.#quota.cancel(guest, reservation);
      return {
        cancel,
        settle: (error, ack) => {
          const refused = error instanceof PublishRefused || (error !== undefined && NOT_STORED.has(error.code));
          if (refused || ack?.duplicate === true) cancel();
        },
      };
    } catch (error) {
      if (error instanceof QuotaExceeded) void this.#look(guest);
      throw error;
    }
  }

  /** A result of that task was heard. */
  finished(guest: string, { pool, id }: { readonly pool: string; readonly id: string }): void {
    this.#quota.finished(guest, this.#key(pool, id));
  }

  /** The guests that there are, as a list says that was just read. */
  present(guests: ReadonlySet<string>): void {
    this.#quota.present(guests);
    for (const guest of this.#looks.keys()) if (!guests.has(guest)) this.#looks.delete(guest);
  }

  /** The subject of its result: what is heard and looked up. */
  #key(pool: string, id: string): string {
    return this.#options.names.result(pool, id);
  }

  /** Never rejects. */
  async #look(guest: string): Promise<void> {
    const { bus, names, clock, logger } = this.#options;
    const now = clock.monotonic();
    const last = this.#looks.get(guest);
    if (last !== undefined && now - last < LOOK_PAUSE_MS) return;
    this.#looks.set(guest, Number.POSITIVE_INFINITY);
    const keys = this.#quota.oldest(guest, LOOK_TASKS, now);
    try {
      for (let from = 0; from < keys.length; from += LOOK_BATCH) {
        const asked = keys.slice(from, from + LOOK_BATCH);
        const found = await lastBySubjects(bus, names.streams.results, asked);
        for (const key of asked) {
          if (found.has(key)) this.#quota.finished(guest, key);
          else this.#quota.unfinished(guest, key);
        }
      }
    } catch (error) {
      logger.debug({ guest, error: String(error) }, "a guest's tasks could not be looked up");
    }
    this.#looks.set(guest, clock.monotonic());
  }
}
