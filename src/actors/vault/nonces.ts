import type { Clock } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import { REQUEST_WINDOW_MS } from "../../protocols/vault/messages.ts";

/** A request is refused by its age after the window; a sender's clock may be as far ahead, so it is remembered twice as long. */
const KEPT_MS = 2 * REQUEST_WINDOW_MS;

/** Requests remembered at most: 1 000 a second for a minute and more, 10 MB. */
const MAX_REMEMBERED = 100_000;

/** The nonces of the requests that were taken, so that none is taken twice. */
export class Nonces {
  readonly #clock: Clock;
  /** Oldest first. */
  readonly #seen = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Remembers a nonce of `user`.
   *
   * @throws VgasError REPLAYED if it was seen; MAILBOX_FULL when more requests came than can be remembered
   */
  take(user: string, nonce: Uint8Array): void {
    const now = this.#clock.monotonic();
    for (const [key, at] of this.#seen) {
      if (now - at <= KEPT_MS) break;
      this.#seen.delete(key);
    }
    const key = `${user} ${Buffer.from(nonce).toString("base64")}`;
    if (this.#seen.has(key)) throw new VgasError("REPLAYED", "the vault has taken this very request before");
    if (this.#seen.size >= MAX_REMEMBERED)
      throw new VgasError("MAILBOX_FULL", `the vault takes at most ${MAX_REMEMBERED} requests in ${KEPT_MS} ms`);
    this.#seen.set(key, now);
  }
}
