/**
 * Shares a lane's credit among its priorities. Pure but for the times it is given.
 *
 * 1. Priorities with a known backlog share what is free by their weights, one slot at a time if only one is free (smooth
 *    weighted round robin): the first gets most, and none starves.
 * 2. What they leave goes to `normal`. Every other priority keeps one message asked for while there is credit, a probe that
 *    tells of a backlog; so at most two messages more than the credit are outstanding.
 * 3. A backlog is known by what the broker says with each message. Other dispatchers take from it too: where what was asked
 *    for does not come, it is taken for gone, and the slots go to the others.
 * 4. Where only `normal` is used nothing is shared and nothing is kept.
 */
import { PRIORITIES, type Priority } from "../../protocols/subjects.ts";

/** Position of a priority in whatever is kept per priority, the first to be served first. */
export const RANK: Readonly<Record<Priority, number>> = { high: 0, normal: 1, low: 2 };

const NORMAL = RANK.normal;
const WEIGHTS: readonly number[] = PRIORITIES.map((priority) => ({ high: 16, normal: 4, low: 1 })[priority]);

/** The broker answers a pull of what waits within milliseconds, even under load. */
export const STALE_MS = 100;

/** `want`: messages to have outstanding. `restart`: more is outstanding than that, and is to be given up first. */
export interface Share {
  readonly want: number;
  readonly restart: boolean;
}

export class Levels {
  /** Messages known to wait behind the last one that came, per priority. */
  readonly #backlog: number[] = PRIORITIES.map(() => 0);
  /** When each priority was last heard of or began to be asked, ms. */
  readonly #heardAt: number[] = PRIORITIES.map(() => 0);
  /** State of the round robin. */
  readonly #due: number[] = PRIORITIES.map(() => 0);
  /** Some priority besides `normal` has a known backlog. */
  #mixed = false;

  get mixed(): boolean {
    return this.#mixed;
  }

  /** A message came, and `pending` more wait behind it. */
  delivered(rank: number, pending: number, now: number): void {
    this.#backlog[rank] = pending;
    if (rank === NORMAL && !this.#mixed) return;
    this.#heardAt[rank] = now;
    this.#mixed = this.#hasMixed();
  }

  /**
   * What to have outstanding of each priority where `credit` messages may be, given what is; undefined if nothing is to change.
   * Until half of the credit is free nothing is asked for: a pull for each slot would cost the broker a message per task.
   */
  share(credit: number, outstanding: readonly number[], now: number): readonly Share[] | undefined {
    if (credit <= 0) return undefined;
    if (this.#mixed) this.#forgetStale(outstanding, now);
    return this.#mixed ? this.#shareMixed(credit, outstanding, now) : shareNormal(credit, outstanding);
  }

  #shareMixed(credit: number, outstanding: readonly number[], now: number): readonly Share[] | undefined {
    const known = PRIORITIES.map((_, rank) => (this.#backlog[rank] as number) > 0);
    let asked = 0;
    for (const [rank, is] of known.entries()) if (is) asked += outstanding[rank] as number;
    const want = PRIORITIES.map((_, rank) => (known[rank] ? (outstanding[rank] as number) : 1));
    if (credit > 2 * asked) {
      for (let rest = credit - asked; rest > 0; rest--) {
        const rank = this.#next(want, known);
        if (rank < 0) {
          want[NORMAL] = (known[NORMAL] ? (want[NORMAL] as number) : 0) + rest;
          break;
        }
        if (outstanding[rank] === 0) this.#heardAt[rank] = now;
        want[rank] = (want[rank] as number) + 1;
      }
    } else if (!known[NORMAL]) {
      want[NORMAL] = Math.max(1, Math.min(outstanding[NORMAL] as number, credit - asked));
    }
    return want.map((wanted, rank) => {
      const excess = !known[rank] && (outstanding[rank] as number) > 2 * wanted;
      return { want: wanted, restart: excess };
    });
  }

  /** Whose turn the next slot is; -1 if all that is known to wait was asked for. */
  #next(want: readonly number[], known: readonly boolean[]): number {
    let best = -1;
    let total = 0;
    for (const [rank, weight] of WEIGHTS.entries()) {
      if (!known[rank] || (want[rank] as number) >= (this.#backlog[rank] as number)) continue;
      total += weight;
      this.#due[rank] = (this.#due[rank] as number) + weight;
      if (best < 0 || (this.#due[rank] as number) > (this.#due[best] as number)) best = rank;
    }
    if (best >= 0) this.#due[best] = (this.#due[best] as number) - total;
    return best;
  }

  #forgetStale(outstanding: readonly number[], now: number): void {
    for (const rank of WEIGHTS.keys()) {
      const silent = (outstanding[rank] as number) > 0 && now - (this.#heardAt[rank] as number) >= STALE_MS;
      if (silent) this.#backlog[rank] = 0;
    }
    this.#mixed = this.#hasMixed();
  }

  #hasMixed(): boolean {
    return this.#backlog.some((backlog, rank) => rank !== NORMAL && backlog > 0);
  }
}

function shareNormal(credit: number, outstanding: readonly number[]): readonly Share[] | undefined {
  const more = credit > 2 * (outstanding[NORMAL] as number);
  let probes = true;
  for (const [rank, asked] of outstanding.entries()) if (rank !== NORMAL && asked !== 1) probes = false;
  if (!more && probes) return undefined;
  return outstanding.map((asked, rank) => {
    if (rank === NORMAL) return { want: more ? credit : asked, restart: false };
    return { want: 1, restart: asked > 1 };
  });
}
