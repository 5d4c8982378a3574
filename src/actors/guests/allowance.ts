/** What may be under way at once: for each guest, so that none takes all, and for all of them, so that many do not. */

export interface Limits {
  readonly perGuest: { readonly messages: number; readonly bytes: number };
  readonly all: { readonly messages: number; readonly bytes: number };
}

interface Use {
  messages: number;
  bytes: number;
}

export class Allowance {
  readonly #limits: Limits;
  readonly #all: Use = { messages: 0, bytes: 0 };
  /** Only of guests that have something under way. */
  readonly #uses = new Map<string, Use>();

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** Messages under way, of all guests. */
  get messages(): number {
    return this.#all.messages;
  }

  /** Returns what gives the place back, to be called once; undefined if there is none. */
  take(guest: string, bytes: number): (() => void) | undefined {
    const { perGuest, all } = this.#limits;
    const use = this.#uses.get(guest) ?? { messages: 0, bytes: 0 };
    if (!fits(use, bytes, perGuest) || !fits(this.#all, bytes, all)) return undefined;
    this.#uses.set(guest, use);
    for (const each of [use, this.#all]) {
      each.messages++;
      each.bytes += bytes;
    }
    return () => {
      for (const each of [use, this.#all]) {
        each.messages--;
        each.bytes -= bytes;
      }
      if (use.messages === 0) this.#uses.delete(guest);
    };
  }
}

function fits(use: Use, bytes: number, limit: Limits["all"]): boolean {
  return use.messages < limit.messages && use.bytes + bytes <= limit.bytes;
}
