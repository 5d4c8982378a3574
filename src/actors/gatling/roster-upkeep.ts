/**
 * Keeps the roster of one lane as this dispatcher knows that it should be.
 *
 * 1. It is compared when something has changed, and again for as long as another dispatcher writes at the same time.
 * 2. A dispatcher that ends takes the host of its process out: nobody else may be there to do it, and whoever came next would find
 *    agents in the roster that nobody ever hears again. It adds nobody then: it may not have heard who leaves as well.
 */
import { VgasError } from "../../protocols/errors.ts";
import type { Logger } from "../../protocols/logger.ts";
import type { RosterRange } from "../../protocols/rotation.ts";
import type { LaneName } from "../../protocols/subjects.ts";
import { sameRoster } from "./rosters.ts";
import type { Rotation } from "./rotation.ts";

export interface RosterUpkeepOptions {
  readonly lane: LaneName;
  readonly rotation: Rotation;
  readonly logger: Logger;
  /** The roster that should be in force, given the one that is. */
  readonly wantedRoster: (current: readonly RosterRange[]) => readonly RosterRange[];
}

export class RosterUpkeep {
  readonly #options: RosterUpkeepOptions;
  #due = true;

  constructor(options: RosterUpkeepOptions) {
    this.#options = options;
  }

  /** The roster in force is to be compared with the wanted one. */
  get due(): boolean {
    return this.#due;
  }

  look(): void {
    this.#due = true;
  }

  /** Puts the wanted roster in force if it is another. Still due afterwards if another dispatcher wrote first. */
  async maintain(): Promise<void> {
    const { rotation, wantedRoster } = this.#options;
    this.#due = false;
    const wanted = wantedRoster(rotation.ranges);
    if (sameRoster(wanted, rotation.ranges)) return;
    try {
      await rotation.replaceRoster(wanted);
    } catch (error) {
      this.#due = true;
      if (!isConflict(error)) throw error;
      // Another dispatcher wrote a roster first; ours is compared with it in the next round.
      await rotation.load();
    }
  }

  /** Takes `leaving` out, unless another dispatcher has. What fails is left: whoever deals next calls the roll (roll-call.ts). */
  async takeOut(leaving: string): Promise<void> {
    const { lane, rotation, logger } = this.#options;
    let again = true;
    while (again) {
      try {
        again = false;
        await rotation.load();
        const others = rotation.ranges.filter(({ host }) => host !== leaving);
        if (others.length < rotation.ranges.length) await rotation.replaceRoster(others);
      } catch (error) {
        again = isConflict(error);
        if (!again) logger.debug({ ...lane, error: String(error) }, "the host could not be taken out of the roster");
      }
    }
  }
}

function isConflict(error: unknown): boolean {
  return error instanceof VgasError && error.code === "CONFLICT";
}
