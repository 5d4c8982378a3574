import type { Clock, Timer } from "../protocols/clock.ts";
import type { VgasError } from "../protocols/errors.ts";
import type { Logger } from "../protocols/logger.ts";

/** Lines in a period; more of them would let whoever knocks fill the disk. */
const MAX_LINES = 120;
const PERIOD_MS = 60_000;

/** Says at the master why somebody was not let in: each time, unless it happens more than twice a second; then how often. */
export class RefusalLog {
  readonly #clock: Clock;
  readonly #logger: Logger;
  #lines = 0;
  #untold = 0;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
  }

  /** `who`: address, and node and token id where they are known; nothing secret. */
  note(who: object, { code, message }: VgasError): void {
    if (!this.#stopped) this.#timer ??= this.#clock.setTimeout(() => this.#next(), PERIOD_MS);
    if (this.#lines >= MAX_LINES) {
      this.#untold++;
      return;
    }
    this.#lines++;
    this.#logger.warn({ ...who, code }, `did not let a machine in: ${message}`);
  }

  /** Tells what is untold. Idempotent. */
  stop(): void {
    this.#stopped = true;
    this.#clock.clear(this.#timer);
    this.#next();
  }

  #next(): void {
    this.#timer = undefined;
    this.#lines = 0;
    const untold = this.#untold;
    this.#untold = 0;
    if (untold > 0) this.#logger.warn({ refusals: untold }, "did not let machines in, too often to say each");
  }
}
