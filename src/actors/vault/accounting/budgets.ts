/**
 * Holds a key's use within its budgets, also when many calls begin at once.
 *
 * Owns the open reservations.
 *
 * 1. What a call may use is reserved before it begins and released when its actual use stands in the ledger, in the same tick:
 *    it is counted once at every moment, never not at all.
 * 2. A reservation belongs to no day or month: as long as it is open it counts in whichever is asked for. A call is booked in
 *    the period in which it ends, which nobody knows before; so the new day begins with what is still open of the old one
 *    reserved, and neither can be overrun.
 * 3. The limit holds as far as the estimate does (estimate.ts). A call that used more is booked with what it used, and
 *    the next is refused.
 */
import type { Budget, KeyView } from "../../../protocols/vault/keys.ts";
import { type KeyId, keyIdText } from "./key-id.ts";
import type { Ledger } from "./ledger.ts";
import { periodEnd } from "./periods.ts";
import { plus, type Spent } from "./sums.ts";

/** Room that is kept in a key's budgets. Only `Budgets` changes what is left of it. */
export class Reservation {
  readonly id: KeyId;
  readonly #left: Spent;

  constructor(id: KeyId, { calls, tokens, costNanoUsd }: Readonly<Spent>) {
    this.id = id;
    this.#left = { calls, tokens, costNanoUsd };
  }

  /** What is still reserved. */
  get left(): Readonly<Spent> {
    return this.#left;
  }

  reduce(part: Partial<Spent>): void {
    for (const field of Object.values(FIELD)) this.#left[field] = Math.max(0, this.#left[field] - (part[field] ?? 0));
  }
}

/** The budget without room; of several the one that begins anew last, so that waiting for it helps. */
export interface Refusal {
  readonly unit: Budget["unit"];
  readonly per: Budget["per"];
  readonly limit: number;
  readonly used: number;
  readonly reserved: number;
  /** Milliseconds since the epoch. */
  readonly resetsAt: number;
}

const FIELD = { calls: "calls", tokens: "tokens", cost: "costNanoUsd" } as const satisfies Record<
  Budget["unit"],
  keyof Spent
>;

export class Budgets {
  readonly #ledger: Pick<Ledger, "spent">;
  readonly #open = new Map<string, Set<Reservation>>();

  constructor(ledger: Pick<Ledger, "spent">) {
    this.#ledger = ledger;
  }

  reserve(
    id: KeyId,
    budgets: readonly Budget[],
    estimate: Readonly<Spent>,
    now: number,
  ): Reservation | { readonly refused: Refusal } {
    let refusal: Refusal | undefined;
    for (const { used, reserved, resetsAt, unit, per, limit } of this.view(id, budgets, now)) {
      if (plus(used + reserved, estimate[FIELD[unit]]) <= limit) continue;
      if (refusal === undefined || resetsAt > refusal.resetsAt)
        refusal = { unit, per, limit, used, reserved, resetsAt };
    }
    if (refusal !== undefined) return { refused: refusal };
    const reservation = new Reservation({ provider: id.provider, key: id.key }, estimate);
    const text = keyIdText(id);
    const open = this.#open.get(text);
    if (open === undefined) this.#open.set(text, new Set([reservation]));
    else open.add(reservation);
    return reservation;
  }

  /** `part` of what was reserved stands in the ledger already (the call, by its first record), so it is reserved no more. */
  booked(reservation: Reservation, part: Partial<Spent>): void {
    reservation.reduce(part);
  }

  /** Releases what is left of it; a second time does nothing. */
  settle(reservation: Reservation): void {
    const text = keyIdText(reservation.id);
    const open = this.#open.get(text);
    open?.delete(reservation);
    if (open?.size === 0) this.#open.delete(text);
  }

  view(id: KeyId, budgets: readonly Budget[], now: number): KeyView["budgets"] {
    if (budgets.length === 0) return [];
    const reserved: Spent = { calls: 0, tokens: 0, costNanoUsd: 0 };
    for (const { left } of this.#open.get(keyIdText(id)) ?? [])
      for (const field of Object.values(FIELD)) reserved[field] = plus(reserved[field], left[field]);
    return budgets.map((budget) => ({
      ...budget,
      used: this.#ledger.spent(id.provider, id.key, budget.per, now)[FIELD[budget.unit]],
      reserved: reserved[FIELD[budget.unit]],
      resetsAt: periodEnd(budget.per, now),
    }));
  }
}

/**
 * Whether an agent may have a key with these budgets. What it does with a leased key is not seen, so neither tokens nor costs
 * could be counted.
 */
export function leasable(budgets: readonly Budget[]): boolean {
  return budgets.every(({ unit }) => unit === "calls");
}
