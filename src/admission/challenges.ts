/**
 * The challenges that wait for their answer: each is good once and for a minute.
 *
 * 1. A challenge counts for its whole minute, whatever became of it: each is one guess at a fingerprint (fingerprint.ts), and who
 *    throws one away gets no other for it.
 * 2. At most `MAX_PER_ADDRESS` of one address in a minute, and `PER_SECOND` over all after a burst of `BURST`. So at most
 *    `BURST + 60 * PER_SECOND` are kept.
 * 3. What is left of the burst when a flood has taken its part, `RESERVED`, is for addresses that have asked for none in the last
 *    minute: a flood keeps out only who floods, unless it comes from more new addresses than `PER_SECOND` in each second.
 */
import type { HelloRequest } from "../protocols/admission.ts";
import type { Clock } from "../protocols/clock.ts";
import { newNonce } from "./fingerprint.ts";

export interface Challenge {
  readonly challenge: string;
  readonly hello: HelloRequest;
  readonly address: string;
  /** By the monotonic clock. */
  readonly until: number;
}

export const MAX_PER_ADDRESS = 32;
export const CHALLENGE_MS = 60_000;
/** Challenges over all, for as long as it goes on. */
export const PER_SECOND = 20;
/** As many come at once where a whole rack is switched on. */
export const BURST = 128;
const RESERVED = 64;

export class Challenges {
  readonly #clock: Clock;
  /** In the order of their making, so the oldest come first. Answered ones stay until their minute is over. */
  readonly #issued = new Map<string, { readonly challenge: Challenge; answered: boolean }>();
  readonly #perAddress = new Map<string, number>();
  #left = BURST;
  #leftAt: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#leftAt = clock.monotonic();
  }

  /** Those that still count. */
  get size(): number {
    return this.#issued.size;
  }

  /** Undefined if the address has had as many as it may, or all together have. */
  issue(hello: HelloRequest, address: string): Challenge | undefined {
    const now = this.#clock.monotonic();
    this.#forgetOld(now);
    this.#left = Math.min(BURST, this.#left + ((now - this.#leftAt) * PER_SECOND) / 1_000);
    this.#leftAt = now;
    const before = this.#perAddress.get(address) ?? 0;
    if (before >= MAX_PER_ADDRESS || this.#left < (before === 0 ? 1 : RESERVED + 1)) return undefined;
    this.#left--;
    const challenge: Challenge = { challenge: newNonce(), hello, address, until: now + CHALLENGE_MS };
    this.#issued.set(challenge.challenge, { challenge, answered: false });
    this.#perAddress.set(address, before + 1);
    return challenge;
  }

  /** The challenge, which is used up by that; undefined if it is unknown, used or too old. */
  take(challenge: string): Challenge | undefined {
    const found = this.#issued.get(challenge);
    if (found === undefined || found.answered) return undefined;
    found.answered = true;
    return this.#clock.monotonic() < found.challenge.until ? found.challenge : undefined;
  }

  #forgetOld(now: number): void {
    for (const [key, { challenge }] of this.#issued) {
      if (now < challenge.until) return;
      this.#issued.delete(key);
      const left = (this.#perAddress.get(challenge.address) ?? 1) - 1;
      if (left > 0) this.#perAddress.set(challenge.address, left);
      else this.#perAddress.delete(challenge.address);
    }
  }
}
