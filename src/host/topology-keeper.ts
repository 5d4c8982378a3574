/**
 * Makes streams and buckets again that somebody deleted while the swarm runs. What was in them is gone; but who reads and writes
 * them finds them again, and the swarm goes on.
 *
 * Owns one timer. It looks at the list of streams, one request, and does nothing while that is as it should be.
 *
 * 1. Only what is missing in two looks is made again: a server that stops or starts tells a part of the list for a moment.
 */
import type { Bus } from "../bus/bus.ts";
import { ensureTopology, missingStreams } from "../bus/topology.ts";
import type { Clock, Timer } from "../protocols/clock.ts";
import { VgasError } from "../protocols/errors.ts";
import type { Logger } from "../protocols/logger.ts";
import type { TopologyOptions } from "../protocols/streams.ts";
import type { Names } from "../protocols/subjects.ts";

export interface TopologyKeeperOptions {
  readonly bus: Bus;
  readonly names: Names;
  readonly topology: TopologyOptions;
  readonly clock: Clock;
  readonly logger: Logger;
}

const PERIOD_MS = 2_000;

export class TopologyKeeper {
  readonly #options: TopologyKeeperOptions;
  #timer: Timer | undefined;
  #stopped = false;
  #trouble: string | undefined;
  #before: readonly string[] = [];

  constructor(options: TopologyKeeperOptions) {
    this.#options = options;
  }

  /** What is missing, and why it could not be made; undefined if nothing is. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  start(): void {
    if (this.#stopped) return;
    this.#timer = this.#options.clock.setTimeout(() => {
      void this.#look().then(() => this.start());
    }, PERIOD_MS);
  }

  stop(): void {
    this.#stopped = true;
    this.#options.clock.clear(this.#timer);
  }

  async #look(): Promise<void> {
    const { bus, names, topology, logger } = this.#options;
    if (bus.state !== "connected") return;
    let missing: string | undefined;
    try {
      const now = await missingStreams(bus, names, topology);
      missing = now.filter((name) => this.#before.includes(name)).join(", ") || undefined;
      this.#before = now;
      if (missing === undefined || this.#stopped) {
        this.#trouble = undefined;
        return;
      }
      this.#trouble ??= `deleted from outside: ${missing}`;
      await ensureTopology(bus, names, topology);
      this.#trouble = undefined;
      logger.error(
        { streams: missing },
        "streams were deleted from outside, and are made again without what they held",
      );
    } catch (error) {
      if (missing === undefined || this.#stopped) return;
      const why = error instanceof VgasError ? error.message : String(error);
      const trouble = `deleted from outside, and cannot be made again: ${missing} (${why})`;
      if (trouble !== this.#trouble)
        logger.error({ streams: missing, error: why }, "streams are missing and cannot be made");
      this.#trouble = trouble;
    }
  }
}
