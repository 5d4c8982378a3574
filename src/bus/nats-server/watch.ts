/**
 * Notices that a broker that runs does not do its work, says why, and has it started anew when that can help.
 *
 * A broker that hangs answers nobody. One that could not write to its store keeps refusing, until it is started again, what it was
 * to write: a stream that met a full disk once acknowledges nothing more, also when there is room again. The log tells of it.
 *
 * Owns one timer.
 *
 * 1. Silence counts only while this process kept time itself: one that was stopped takes nobody for hung (as P7).
 * 2. One that failed to write is not started again before its store can be written.
 * 3. That its JetStream is off is believed at the third look in a row: while it reads its users again it answers so for a moment.
 */
import type { Clock, Timer } from "../../protocols/clock.ts";
import type { Logger } from "../../protocols/logger.ts";
import { isFull, type StoreRoom } from "./store-room.ts";

/** `off`: it answers, and its JetStream does not. */
export type Look = "well" | "off" | "silent";

/** How a broker and its store are found to be. None of these rejects. */
export interface BrokerSenses {
  look(): Promise<Look>;
  /** What its log has said since the last call of what it could not write; undefined if nothing. */
  complaint(): Promise<string | undefined>;
  /** `write`: whether its store can be written is tried, not only looked at. */
  room(how: { readonly write: boolean }): Promise<StoreRoom>;
}

export interface BrokerWatchOptions {
  readonly senses: BrokerSenses;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly timing: WatchTiming;
  /** Ends it, so that it is started again. Called at most once. */
  readonly renew: (why: string) => void;
}

export interface WatchTiming {
  /** From the end of a look to the next. */
  readonly periodMs: number;
  /** Of a look: what comes later is no answer. */
  readonly timeoutMs: number;
  /** Silence of this length is a hang. */
  readonly hangMs: number;
}

/** One that works answers within five seconds, however busy it is; its clients notice a hang after 10 to 15. */
export const WATCH_TIMING: WatchTiming = { periodMs: 2_000, timeoutMs: 5_000, hangMs: 15_000 };

/** Looks in a row (invariant 3). */
const LOOKS_OFF = 3;

/** A timer, or the end of a look, that is later than this was held up by this process. */
const LATE_MS = 2_000;

export class BrokerWatch {
  readonly #options: BrokerWatchOptions;
  #timer: Timer | undefined;
  #stopped = false;
  #silentSince: number | undefined;
  #off = 0;
  /** What it failed to write, or that it is off: from then on it is not trusted until it is started again. */
  #broken: string | undefined;
  #trouble: string | undefined;
  #freeBytes: number | undefined;

  constructor(options: BrokerWatchOptions) {
    this.#options = options;
    this.#wait();
  }

  /** Why it does not do its work, a sentence without its end; undefined if it does. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /** What the disk of its store had left when it was last looked at. */
  get freeBytes(): number | undefined {
    return this.#freeBytes;
  }

  /** Idempotent. */
  stop(): void {
    this.#stopped = true;
    this.#options.clock.clear(this.#timer);
  }

  #wait(): void {
    const { clock, timing } = this.#options;
    const dueAt = clock.monotonic() + timing.periodMs;
    this.#timer = clock.setTimeout(() => {
      if (clock.monotonic() - dueAt > LATE_MS) this.#silentSince = undefined;
      void this.#look().then(() => {
        if (!this.#stopped) this.#wait();
      });
    }, timing.periodMs);
  }

  async #look(): Promise<void> {
    const { senses, clock } = this.#options;
    const from = clock.monotonic();
    const [look, complaint, room] = await Promise.all([
      senses.look(),
      senses.complaint(),
      senses.room({ write: false }),
    ]);
    if (this.#stopped) return;
    this.#freeBytes = room.freeBytes;
    this.#broken ??= complaint;
    this.#off = look === "off" ? this.#off + 1 : 0;
    if (this.#off >= LOOKS_OFF) this.#broken ??= "its JetStream is off";
    // On a full disk there is no log of what could not be written.
    if (isFull(room)) this.#broken ??= "its disk was full";
    if (look === "silent") return this.#silent(from);
    this.#silentSince = undefined;
    if (this.#broken === undefined) this.#say(undefined);
    else await this.#mend(this.#broken);
  }

  #silent(from: number): void {
    const { clock, timing } = this.#options;
    const now = clock.monotonic();
    // Invariant 1.
    if (now - from > timing.timeoutMs + LATE_MS) {
      this.#silentSince = undefined;
      return;
    }
    this.#silentSince ??= from;
    const silentMs = now - this.#silentSince;
    this.#say(`the nats-server has not answered for ${Math.round(silentMs / 1_000)} s`);
    if (silentMs >= timing.hangMs) this.#renew(`it has not answered for ${Math.round(silentMs / 1_000)} s`);
  }

  async #mend(broken: string): Promise<void> {
    const { trouble: blocked } = await this.#options.senses.room({ write: true });
    if (this.#stopped) return;
    this.#say(
      `the nats-server does not store what it is sent: ${broken}${blocked === undefined ? "" : `; ${blocked}`}`,
    );
    if (blocked === undefined) this.#renew(broken);
  }

  #renew(why: string): void {
    this.stop();
    this.#options.renew(why);
  }

  /** Logged when it begins and when it is over, not in between. */
  #say(trouble: string | undefined): void {
    const before = this.#trouble;
    this.#trouble = trouble;
    if (before === undefined && trouble !== undefined) this.#options.logger.error({}, trouble);
    if (before !== undefined && trouble === undefined) this.#options.logger.warn({}, "the nats-server answers again");
  }
}
