import { VgasError } from "../../protocols/errors.ts";
import { REQUEST_WINDOW_MS } from "../../protocols/vault/messages.ts";

/**
 * Requests of one user remembered at most: 3 000 a second for the 30 s that an honest one is remembered, 10 MB. How many all
 * users can have remembered is bounded by the signatures that the vault can check meanwhile, about a million.
 */
const MAX_OF_USER = 100_000;

/** Nonces are forgotten by the second in which their requests grow too old, so that a user has no more groups of them than this. */
const GROUP_MS = 1_000;

interface OfUser {
  readonly seen: Set<string>;
  /** By the number of the second that begins when they are needed no longer. */
  readonly groups: Map<number, string[]>;
}

/**
 * The nonces of the requests that were taken, so that none is taken twice. Each user has room of his own: nobody can use up that of
 * another. A nonce is remembered until its request is refused by its age, and no longer.
 */
export class Nonces {
  readonly #users = new Map<string, OfUser>();
  #sweptAt = 0;

  /**
   * Remembers the nonce of a request that `user` signed for the time `at`, and that was found to be within the window at `now`. That
   * very reading of a clock that never goes back must be given: by a later one the nonce could be forgotten already.
   *
   * @throws VgasError REPLAYED if it was seen; MAILBOX_FULL when that user sent more requests than can be remembered
   */
  take(user: string, nonce: Uint8Array, { at, now }: { readonly at: number; readonly now: number }): void {
    this.#sweep(now);
    let own = this.#users.get(user);
    if (own === undefined) {
      own = { seen: new Set(), groups: new Map() };
      this.#users.set(user, own);
    }
    forget(own, now);
    const text = Buffer.from(nonce).toString("latin1");
    if (own.seen.has(text)) throw new VgasError("REPLAYED", "the vault has taken this very request before");
    if (own.seen.size >= MAX_OF_USER)
      throw new VgasError(
        "MAILBOX_FULL",
        `the vault takes at most ${MAX_OF_USER} requests of one user in ${REQUEST_WINDOW_MS} ms`,
      );
    own.seen.add(text);
    const second = Math.floor((at + REQUEST_WINDOW_MS) / GROUP_MS) + 1;
    const group = own.groups.get(second);
    if (group === undefined) own.groups.set(second, [text]);
    else group.push(text);
  }

  /** Once per window: a user that sends nothing any more, or is one no longer, costs nothing. */
  #sweep(now: number): void {
    if (now - this.#sweptAt < REQUEST_WINDOW_MS) return;
    this.#sweptAt = now;
    for (const [user, own] of this.#users) {
      forget(own, now);
      if (own.seen.size === 0) this.#users.delete(user);
    }
  }
}

function forget({ seen, groups }: OfUser, now: number): void {
  for (const [second, group] of groups) {
    if (second * GROUP_MS > now) continue;
    for (const text of group) seen.delete(text);
    groups.delete(second);
  }
}
