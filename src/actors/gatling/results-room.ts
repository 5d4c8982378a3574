/** Stops the dispatcher while the stream of results has no room: what runs still finds some. What it is told shows the broker's time, too. */
import type { Bus } from "../../bus/bus.ts";
import type { ResultStore } from "../../bus/results.ts";
import { streamInfo } from "../../bus/topology.ts";
import type { Timer } from "../../protocols/clock.ts";
import type { Logger } from "../../protocols/logger.ts";
import type { Names } from "../../protocols/subjects.ts";
import type { LocalActor } from "../runtime/refs.ts";
import type { BrokerClock } from "./broker-clock.ts";
import type { dispatcherMachine } from "./machine.ts";

/** How often the room left in the results stream is looked at, ms. */
const ROOM_CHECK_MS = 2_000;

/** Share of the results stream's size cap from which nothing more is pulled. */
const FULL_FROM = 0.95;

export interface ResultsRoomOptions {
  readonly bus: Bus;
  readonly names: Names;
  readonly results: ResultStore;
  readonly clock: BrokerClock;
  readonly logger: Logger;
  /** The dispatcher's chart, which is told. */
  readonly actor: () => LocalActor<typeof dispatcherMachine> | undefined;
}

export class ResultsRoom {
  readonly #options: ResultsRoomOptions;
  #timer: Timer | undefined;
  #full = false;

  constructor(options: ResultsRoomOptions) {
    this.#options = options;
  }

  /** Resolves when the stream was looked at, or does not answer. */
  async start(): Promise<void> {
    const { clock } = this.#options;
    this.#timer = clock.setInterval(() => void this.#check(), ROOM_CHECK_MS);
    let late: Timer | undefined;
    const silent = new Promise<void>((resolve) => {
      late = clock.setTimeout(resolve, ROOM_CHECK_MS);
    });
    await Promise.race([this.#check(), silent]);
    clock.clear(late);
  }

  stop(): void {
    this.#options.clock.clear(this.#timer);
    this.#timer = undefined;
  }

  async #check(): Promise<void> {
    const { bus, results, logger } = this.#options;
    const actor = this.#options.actor();
    if (bus.state !== "connected" || !actor) return;
    try {
      const full = (await this.#nearlyFull()) || results.refused > 0;
      const degraded = actor.snapshot()?.matches("degraded") === true;
      if (full !== this.#full) {
        this.#full = full;
        if (full) logger.warn({}, "the results stream is full: nothing more is begun until it has room");
        else logger.info({}, "the results stream has room again");
      }
      if (full && !degraded) actor.send({ type: "TROUBLE", why: "the results stream is full" });
      if (!full && degraded) actor.send({ type: "HEALTHY" });
    } catch (error) {
      logger.debug({ error: String(error) }, "the results stream could not be looked at");
    }
  }

  async #nearlyFull(): Promise<boolean> {
    const { bus, names, clock } = this.#options;
    const askedAt = clock.monotonic();
    const state = await streamInfo(bus, names.streams.results);
    if (state !== undefined && Number.isFinite(state.at)) clock.learn(state.at, askedAt);
    return state !== undefined && state.maxBytes > 0 && state.bytes > state.maxBytes * FULL_FROM;
  }
}
