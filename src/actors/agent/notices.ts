/**
 * Tells dispatchers what ended and which slots are free, in batches.
 *
 * 1. A dispatcher hears of what it gave at the end of the same turn of the loop.
 * 2. Every dispatcher that gave this host something lately hears of freed slots too, a little later: several dispatchers
 *    share the agents.
 * 3. Free slots are absolute, read when the notice is written, so that a lost notice harms nothing that the next one
 *    does not mend.
 */
import type { Bus } from "../../bus/bus.ts";
import { encode } from "../../bus/codec/codec.ts";
import type { Clock, Timer } from "../../protocols/clock.ts";
import type { Settled } from "../../protocols/host-messages.ts";
import type { Logger } from "../../protocols/logger.ts";
import type { Names } from "../../protocols/subjects.ts";

/** Delay of notices to dispatchers that did not give what ended, ms. */
const OTHERS_MS = 5;
/** A dispatcher that gave nothing for this long is forgotten, ms; heartbeats still tell it. */
const FORGET_MS = 60_000;

interface Correspondent {
  readonly id: string;
  done: number[];
  again: number[];
  /** Agents whose free slots changed since its last notice. */
  readonly changed: Set<number>;
  /** It gave something that has ended in this turn. */
  urgent: boolean;
  heardAt: number;
}

export interface NoticesOptions {
  readonly bus: Bus;
  readonly names: Names;
  readonly hostId: string;
  readonly run: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly freeSlots: (agent: number) => number;
  /** The dispatcher of this process gets its notices without the bus. */
  readonly local?: { readonly dispatcherId: string; readonly deliver: (notice: Settled) => void } | undefined;
}

export class Notices {
  readonly #options: NoticesOptions;
  readonly #correspondents = new Map<string, Correspondent>();
  #immediate: NodeJS.Immediate | undefined;
  #later: Timer | undefined;

  constructor(options: NoticesOptions) {
    this.#options = options;
  }

  /** `dispatcher` gave something: it hears of freed slots from now on. */
  heard(dispatcher: string): void {
    this.#of(dispatcher).heardAt = this.#options.clock.monotonic();
  }

  /** Assignment `n` of `dispatcher` needs nothing more from it. */
  done(dispatcher: string, n: number): void {
    const correspondent = this.#of(dispatcher);
    correspondent.done.push(n);
    this.#urge(correspondent);
  }

  /** Array element `n` of `dispatcher` is to be published again. */
  again(dispatcher: string, n: number): void {
    const correspondent = this.#of(dispatcher);
    correspondent.again.push(n);
    this.#urge(correspondent);
  }

  /** A slot of `agent` that held a task of `dispatcher` is free. */
  freed(agent: number, dispatcher: string): void {
    const giver = this.#of(dispatcher);
    for (const correspondent of this.#correspondents.values()) correspondent.changed.add(agent);
    this.#urge(giver);
    if (this.#correspondents.size > 1)
      this.#later ??= this.#options.clock.setTimeout(() => this.#flushAll(), OTHERS_MS);
  }

  /** Sends everything now. */
  flush(): void {
    for (const correspondent of this.#correspondents.values()) this.#send(correspondent);
  }

  stop(): void {
    this.flush();
    this.#options.clock.clear(this.#later);
    clearImmediate(this.#immediate);
  }

  /** Also one that was forgotten: what it gave long ago may end only now. */
  #of(dispatcher: string): Correspondent {
    let known = this.#correspondents.get(dispatcher);
    if (!known) {
      const heardAt = this.#options.clock.monotonic();
      known = { id: dispatcher, done: [], again: [], changed: new Set(), urgent: false, heardAt };
      this.#correspondents.set(dispatcher, known);
    }
    return known;
  }

  #urge(correspondent: Correspondent): void {
    correspondent.urgent = true;
    this.#immediate ??= setImmediate(() => this.#flushUrgent());
  }

  #flushUrgent(): void {
    this.#immediate = undefined;
    for (const correspondent of this.#correspondents.values()) if (correspondent.urgent) this.#send(correspondent);
  }

  #flushAll(): void {
    this.#later = undefined;
    const { clock } = this.#options;
    for (const correspondent of this.#correspondents.values()) {
      this.#send(correspondent);
      if (clock.monotonic() - correspondent.heardAt > FORGET_MS) this.#correspondents.delete(correspondent.id);
    }
  }

  #send(to: Correspondent): void {
    to.urgent = false;
    if (to.changed.size === 0 && to.done.length === 0 && to.again.length === 0) return;
    const { bus, names, hostId, run, freeSlots, local, logger } = this.#options;
    const free: number[] = [];
    for (const agent of to.changed) free.push(agent, freeSlots(agent));
    const notice: Settled = { v: 1, host: hostId, run, free, done: to.done, again: to.again };
    to.changed.clear();
    to.done = [];
    to.again = [];
    if (local?.dispatcherId === to.id) {
      local.deliver(notice);
      return;
    }
    try {
      bus.publish(names.settled(to.id), encode(notice));
    } catch (error) {
      logger.debug({ dispatcher: to.id, error: String(error) }, "a notice could not be sent; the dispatcher will ask");
    }
  }
}
