/**
 * Starts a broker again that ended, until it runs or is given up.
 *
 * 1. What is its own fault is tried as often as the budget allows, each time later than the last.
 * 2. What is not is waited for: a full or unwritable store as long as it takes, a port that somebody took meanwhile for a minute.
 * 3. `stop` ends the waiting; what is being launched then is the caller's to end.
 */
import type { Clock, Timer } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import type { Logger } from "../../protocols/logger.ts";
import type { HomeLayout } from "../home/layout.ts";
import type { RestartBudget } from "./restart-budget.ts";
import { storeRoom } from "./store-room.ts";

export interface RevivalOptions {
  readonly layout: HomeLayout;
  readonly budget: RestartBudget;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Starts it; nothing is left of it if that fails. @throws VgasError CONFIG for what is not its own fault */
  readonly launch: () => Promise<void>;
  readonly giveUp: (error: VgasError) => void;
}

const PAUSE_MS = 1_000;
const PORT_MS = 60_000;

export class Revival {
  readonly #options: RevivalOptions;
  #stopped = false;
  #waiting: { readonly timer: Timer; readonly wake: () => void } | undefined;
  #trouble: string | undefined;
  #count = 0;

  constructor(options: RevivalOptions) {
    this.#options = options;
  }

  /** Why the broker does not run; undefined unless it is being started again. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /** How often it was started again. */
  get count(): number {
    return this.#count;
  }

  stop(): void {
    this.#stopped = true;
    this.#waiting?.wake();
  }

  /** True if it runs again. `renewing`: it was ended on purpose, for that reason. Rejects only with what `giveUp` throws. */
  async run(firstEnd: string, renewing: string | undefined): Promise<boolean> {
    const { budget, clock, layout, launch } = this.#options;
    this.#trouble = `the nats-server ended (${renewing ?? firstEnd}) and is started again`;
    let last = new VgasError("BROKER_FAILED", `the nats-server ended (${firstEnd}); its log is ${layout.nats.log}`);
    let isOwnFault = renewing === undefined;
    let hinderedSince: number | undefined;
    while (!this.#stopped) {
      const delayMs = isOwnFault ? budget.next(clock.monotonic()) : 0;
      if (delayMs === undefined) {
        const { limit, windowMs } = budget;
        return this.#giveUp(`the nats-server ended more than ${limit} times within ${windowMs / 1000} s`, last);
      }
      await this.#pause(delayMs);
      await this.#untilRoom();
      if (this.#stopped) return false;
      try {
        await launch();
        this.#trouble = undefined;
        this.#count++;
        return true;
      } catch (error) {
        if (this.#stopped) return false;
        last = error instanceof VgasError ? error : new VgasError("BROKER_FAILED", String(error), { cause: error });
      }
      this.#hinder(last.message);
      isOwnFault = last.code !== "CONFIG";
      if (isOwnFault) continue;
      hinderedSince ??= clock.monotonic();
      if (clock.monotonic() - hinderedSince > PORT_MS)
        return this.#giveUp(`the nats-server could not be started again for ${PORT_MS / 1_000} s`, last);
      await this.#pause(PAUSE_MS);
    }
    return false;
  }

  #giveUp(why: string, last: VgasError): false {
    this.#options.giveUp(new VgasError("BROKER_FAILED", `${why}; at last: ${last.message}`, { cause: last }));
    return false;
  }

  /** One that starts on a full disk ends, or starts without what it could not read. */
  async #untilRoom(): Promise<void> {
    while (!this.#stopped) {
      const { trouble } = await storeRoom(this.#options.layout.nats.store, { write: true });
      if (trouble === undefined) return;
      this.#hinder(trouble);
      await this.#pause(PAUSE_MS);
    }
  }

  /** Logged once for each reason. */
  #hinder(why: string): void {
    const trouble = `the nats-server does not run, and cannot be started again: ${why}`;
    if (trouble !== this.#trouble) this.#options.logger.error({ error: why }, "the nats-server could not be restarted");
    this.#trouble = trouble;
  }

  async #pause(delayMs: number): Promise<void> {
    if (delayMs === 0 || this.#stopped) return;
    const { clock } = this.#options;
    await new Promise<void>((wake) => {
      this.#waiting = { timer: clock.setTimeout(wake, delayMs), wake };
    });
    clock.clear(this.#waiting?.timer);
    this.#waiting = undefined;
  }
}
