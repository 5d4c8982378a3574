import type { Clock, Timer } from "../../protocols/clock.ts";
import type { VgasError } from "../../protocols/errors.ts";

/** How often the count is written down while there is something to count, ms. */
const REPORT_MS = 1_000;

/** Counts refusals of senders that nobody knows: the first is reported at once, what follows once a second. */
export class StrangerTally {
  readonly #clock: Clock;
  readonly #report: (detail: { readonly count: number; readonly last: string }) => void;
  #count = 0;
  #last = "";
  #timer: Timer | undefined;

  constructor(clock: Clock, report: (detail: { readonly count: number; readonly last: string }) => void) {
    this.#clock = clock;
    this.#report = report;
  }

  count(error: VgasError): void {
    this.#count++;
    this.#last = `${error.code}: ${error.message}`;
    if (this.#timer === undefined) this.#tell();
  }

  stop(): void {
    this.#clock.clear(this.#timer);
    this.#timer = undefined;
  }

  #tell(): void {
    this.#report({ count: this.#count, last: this.#last });
    this.#count = 0;
    this.#timer = this.#clock.setTimeout(() => {
      this.#timer = undefined;
      if (this.#count > 0) this.#tell();
    }, REPORT_MS);
  }
}
