/**
 * Says at the master why somebody was not let in.
 *
 * 1. In each period an address has `MAX_OF_ADDRESS` lines, and all together have `MAX_LINES`; the first line of an address may go
 *    beyond that, up to `MAX_WITH_NEW`. So who knocks all the time neither fills the disk nor hides the others.
 * 2. What was not said is counted, by address, and told at the end of the period.
 */
import type { Clock, Timer } from "../protocols/clock.ts";
import { VgasError } from "../protocols/errors.ts";
import type { Logger } from "../protocols/logger.ts";

const MAX_OF_ADDRESS = 20;
const MAX_LINES = 120;
const MAX_WITH_NEW = 240;
const PERIOD_MS = 60_000;

export class RefusalLog {
  readonly #clock: Clock;
  readonly #logger: Logger;
  #lines = 0;
  /** Of the addresses that had a line in this period. */
  readonly #said = new Map<string, { lines: number; untold: number }>();
  /** Refusals of addresses that had none. */
  #others = 0;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
  }

  /** `who`: address, and node and token id where they are known; nothing secret. What the cause says is for this log alone. */
  note(who: { readonly address: string }, { code, message, cause }: VgasError): void {
    if (!this.#stopped) this.#timer ??= this.#clock.setTimeout(() => this.#next(), PERIOD_MS);
    const said = this.#said.get(who.address);
    if (said === undefined && this.#lines >= MAX_WITH_NEW) {
      this.#others++;
      return;
    }
    if (said !== undefined && (said.lines >= MAX_OF_ADDRESS || this.#lines >= MAX_LINES)) {
      said.untold++;
      return;
    }
    this.#lines++;
    if (said === undefined) this.#said.set(who.address, { lines: 1, untold: 0 });
    else said.lines++;
    const why = cause instanceof VgasError ? cause.message : message;
    this.#logger.warn({ ...who, code }, `did not let a machine in: ${why}`);
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
    for (const [address, { untold }] of this.#said) {
      if (untold > 0) this.#tell({ address, refusals: untold });
    }
    if (this.#others > 0) this.#tell({ refusals: this.#others });
    this.#said.clear();
    this.#others = 0;
  }

  #tell(fields: object): void {
    this.#logger.warn(fields, "did not let machines in, too often to say each");
  }
}
