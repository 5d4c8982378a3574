/**
 * Runs the rounds of a lane, one after the other.
 *
 * 1. At most one round is under way. Whatever wakes the pump meanwhile is seen by the next one.
 * 2. Everything that wakes it in one turn of the event loop is seen by one round.
 * 3. A round that failed is made again after a pause, for as long as there is anything to do.
 */
import type { Clock } from "../../protocols/clock.ts";

/** Pause after the bus or the record failed, ms. */
const TROUBLE_PAUSE_MS = 500;

export interface PumpOptions {
  readonly clock: Clock;
  /** There is anything to do. */
  readonly wanted: () => boolean;
  readonly round: () => Promise<void>;
  /** A round failed; told when that begins and where the reason changes, not at each try. */
  readonly onFailure: (why: string) => void;
  /** No round is under way any more. */
  readonly onRest: () => void;
}

export class Pump {
  readonly #options: PumpOptions;
  #running = false;
  #again = false;
  /** Why the last round failed. */
  #failing: string | undefined;

  constructor(options: PumpOptions) {
    this.#options = options;
  }

  /** A round is under way, or about to begin. */
  get running(): boolean {
    return this.#running;
  }

  /** Something changed: there will be a round that begins after this. */
  wake(): void {
    if (this.#running) this.#again = true;
    else void this.#run();
  }

  async #run(): Promise<void> {
    const { wanted, onRest } = this.#options;
    this.#running = true;
    // Everything that arrives in this turn of the loop joins the first batch.
    await undefined;
    do {
      this.#again = false;
      if (wanted()) await this.#round();
    } while (this.#again && wanted());
    this.#running = false;
    onRest();
  }

  async #round(): Promise<void> {
    const { clock, round, onFailure } = this.#options;
    try {
      await round();
      this.#failing = undefined;
    } catch (error) {
      const why = String(error);
      if (why !== this.#failing) onFailure(why);
      this.#failing = why;
      this.#again = true;
      await new Promise<void>((resolve) => clock.setTimeout(resolve, TROUBLE_PAUSE_MS));
    }
  }
}
