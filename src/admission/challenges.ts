/**
 * The challenges that wait for their answer: each is good once and for a minute.
 *
 * 1. At most `MAX_CHALLENGES` in all and `MAX_PER_ADDRESS` of one address. Where all are taken, the address that has most loses its
 *    oldest one: a flood from many addresses does not keep an honest machine out.
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

export const MAX_CHALLENGES = 1_024;
export const MAX_PER_ADDRESS = 16;
export const CHALLENGE_MS = 60_000;

export class Challenges {
  readonly #clock: Clock;
  /** In the order of their making, so the oldest come first. */
  readonly #open = new Map<string, Challenge>();
  readonly #perAddress = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#open.size;
  }

  /** Undefined if the address has as many as it may. */
  issue(hello: HelloRequest, address: string): Challenge | undefined {
    this.#forgetOld();
    if ((this.#perAddress.get(address) ?? 0) >= MAX_PER_ADDRESS) return undefined;
    if (this.#open.size >= MAX_CHALLENGES) this.#makeRoom();
    const issued: Challenge = { challenge: newNonce(), hello, address, until: this.#clock.monotonic() + CHALLENGE_MS };
    this.#open.set(issued.challenge, issued);
    this.#perAddress.set(address, (this.#perAddress.get(address) ?? 0) + 1);
    return issued;
  }

  /** The challenge, which is used up by that; undefined if it is unknown, used or too old. */
  take(challenge: string): Challenge | undefined {
    const found = this.#open.get(challenge);
    if (found === undefined) return undefined;
    this.#remove(found);
    return this.#clock.monotonic() < found.until ? found : undefined;
  }

  #forgetOld(): void {
    const now = this.#clock.monotonic();
    for (const each of this.#open.values()) {
      if (now < each.until) return;
      this.#remove(each);
    }
  }

  #makeRoom(): void {
    let most = "";
    for (const [address, open] of this.#perAddress) if (open > (this.#perAddress.get(most) ?? 0)) most = address;
    for (const each of this.#open.values()) {
      if (each.address === most) {
        this.#remove(each);
        return;
      }
    }
  }

  #remove({ challenge, address }: Challenge): void {
    this.#open.delete(challenge);
    const left = (this.#perAddress.get(address) ?? 1) - 1;
    if (left > 0) this.#perAddress.set(address, left);
    else this.#perAddress.delete(address);
  }
}
