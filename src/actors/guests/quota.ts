/**
 * What of each guest's tasks is stored and not finished, so that no guest fills the queue. Pure accounting: whoever has it says
 * what was stored and what has ended.
 *
 * Invariants
 * 1. A submission counts from before it is sent until it is certain that it was not stored, or all its tasks have ended.
 * 2. Its bytes count until the last of its tasks has ended: so long the stream keeps an array.
 * 3. A task counts once for each submission that holds it, and its end is the end of all of them.
 * 4. What was not heard to end is looked up before it is believed (`oldest`, `unfinished`), each in its turn, and forgotten after
 *    `forgetAfterMs`: nothing counts for ever.
 */
import { VgasError } from "../../protocols/errors.ts";

export interface QuotaLimits {
  readonly tasks: number;
  readonly bytes: number;
  readonly forgetAfterMs: number;
}

/** A submission that counts. */
export interface Reservation {
  readonly bytes: number;
  readonly since: number;
  /** How often each of its tasks that have not ended stands in it, by key. */
  readonly open: Map<string, number>;
}

/** There is no room for this submission. The message names the bound. */
export class QuotaExceeded extends VgasError {
  constructor(what: string) {
    super("RESOURCE_LIMIT", `${what}; wait until some have ended, and try again`);
  }
}

interface Account {
  /** By key of the task, in the order in which they are looked up. */
  readonly tasks: Map<string, Set<Reservation>>;
  count: number;
  bytes: number;
  /** The last list of guests did not name it. */
  absent: boolean;
}

export class Quota {
  readonly #limits: QuotaLimits;
  readonly #accounts = new Map<string, Account>();

  constructor(limits: QuotaLimits) {
    this.#limits = limits;
  }

  /** What counts for `guest` now. */
  of(guest: string): { readonly tasks: number; readonly bytes: number } {
    const account = this.#accounts.get(guest);
    return { tasks: account?.count ?? 0, bytes: account?.bytes ?? 0 };
  }

  /** Counts a submission about to be sent. `keys` name its tasks. @throws QuotaExceeded */
  reserve(guest: string, keys: readonly string[], bytes: number, now: number): Reservation {
    const { tasks: maxTasks, bytes: maxBytes } = this.#limits;
    const used = this.of(guest);
    if (used.tasks + keys.length > maxTasks)
      throw new QuotaExceeded(`a guest may have ${maxTasks} tasks stored and not finished, and has ${used.tasks}`);
    if (used.bytes + bytes > maxBytes)
      throw new QuotaExceeded(
        `a guest may have ${maxBytes} bytes of tasks stored and not finished, and has ${used.bytes}`,
      );
    const account = this.#accounts.get(guest) ?? { tasks: new Map(), count: 0, bytes: 0, absent: false };
    this.#accounts.set(guest, account);
    const reservation: Reservation = { bytes, since: now, open: new Map() };
    for (const key of keys) {
      reservation.open.set(key, (reservation.open.get(key) ?? 0) + 1);
      const holders = account.tasks.get(key) ?? new Set();
      account.tasks.set(key, holders.add(reservation));
    }
    account.count += keys.length;
    account.bytes += bytes;
    return reservation;
  }

  /** The submission was not stored, or what was stored is another that counts already. */
  cancel(guest: string, reservation: Reservation): void {
    const account = this.#accounts.get(guest);
    if (account === undefined) return;
    for (const key of reservation.open.keys()) this.#release(account, key, reservation);
    this.#tidy(guest, account);
  }

  /** That task has ended. */
  finished(guest: string, key: string): void {
    const account = this.#accounts.get(guest);
    const holders = account?.tasks.get(key);
    if (account === undefined || holders === undefined) return;
    for (const reservation of holders) this.#release(account, key, reservation);
    this.#tidy(guest, account);
  }

  /** Up to `most` tasks whose turn it is to be looked up; what has counted for too long is forgotten first. */
  oldest(guest: string, most: number, now: number): readonly string[] {
    const account = this.#accounts.get(guest);
    if (account === undefined) return [];
    for (const reservation of new Set([...account.tasks.values()].flatMap((holders) => [...holders]))) {
      if (now - reservation.since >= this.#limits.forgetAfterMs) this.cancel(guest, reservation);
    }
    return [...account.tasks.keys()].slice(0, most);
  }

  /** That task was looked up and has not ended: the others have their turn first. */
  unfinished(guest: string, key: string): void {
    const tasks = this.#accounts.get(guest)?.tasks;
    const holders = tasks?.get(key);
    if (tasks === undefined || holders === undefined) return;
    tasks.delete(key);
    tasks.set(key, holders);
  }

  /**
   * These are the guests that there are. Who is missing twice in a row is gone, and its entries with it: a list can be older than
   * a guest that has just come.
   */
  present(guests: ReadonlySet<string>): void {
    for (const [guest, account] of this.#accounts) {
      if (guests.has(guest)) account.absent = false;
      else if (account.absent) this.#accounts.delete(guest);
      else account.absent = true;
    }
  }

  #release(account: Account, key: string, reservation: Reservation): void {
    const holders = account.tasks.get(key);
    if (holders?.delete(reservation) !== true) return;
    if (holders.size === 0) account.tasks.delete(key);
    account.count -= reservation.open.get(key) ?? 0;
    reservation.open.delete(key);
    if (reservation.open.size === 0) account.bytes -= reservation.bytes;
  }

  #tidy(guest: string, account: Account): void {
    if (account.count === 0) this.#accounts.delete(guest);
  }
}
