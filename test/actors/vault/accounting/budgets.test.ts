import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Budgets, leasable, Reservation } from "../../../../src/actors/vault/accounting/budgets.ts";
import { Ledger } from "../../../../src/actors/vault/accounting/ledger.ts";
import type { Budget } from "../../../../src/protocols/vault/keys.ts";
import { record } from "./records.ts";

const ID = { provider: "openai", key: "main" };
const NOW = Date.UTC(2026, 10, 22, 12);
const MIDNIGHT = Date.UTC(2026, 10, 23);
const ONE = { calls: 1, tokens: 0, costNanoUsd: 0 };
const day = (unit: Budget["unit"], limit: number): Budget => ({ unit, per: "day", limit });

function setup() {
  const ledger = new Ledger();
  const budgets = new Budgets(ledger);
  const reserve = (all: readonly Budget[], estimate = ONE, now = NOW): Reservation => {
    const made = budgets.reserve(ID, all, estimate, now);
    expect(made).toBeInstanceOf(Reservation);
    return made as Reservation;
  };
  return { ledger, budgets, reserve };
}

describe("Budgets", () => {
  it("takes as many calls at once as the limit, refuses the next, and says what is used, reserved and when it begins anew", () => {
    const { ledger, budgets, reserve } = setup();
    ledger.apply(record({ at: NOW, usage: { calls: 2 } }));
    const open = [reserve([day("calls", 4)]), reserve([day("calls", 4)])];
    expect(budgets.reserve(ID, [day("calls", 4)], ONE, NOW)).toEqual({
      refused: { unit: "calls", per: "day", limit: 4, used: 2, reserved: 2, resetsAt: MIDNIGHT },
    });
    expect(budgets.reserve({ ...ID, key: "spare" }, [day("calls", 4)], ONE, NOW)).toBeInstanceOf(Reservation);
    for (const one of open) budgets.settle(one);
    expect(budgets.view(ID, [day("calls", 4)], NOW)).toEqual([
      { unit: "calls", per: "day", limit: 4, used: 2, reserved: 0, resetsAt: MIDNIGHT },
    ]);
  });

  it("counts a call once: reserved, then booked by its first record, then ended", () => {
    const { ledger, budgets, reserve } = setup();
    const limits = [day("calls", 10), day("tokens", 1_000)];
    const one = reserve(limits, { calls: 1, tokens: 300, costNanoUsd: 0 });
    const seen = () => budgets.view(ID, limits, NOW).map(({ used, reserved }) => [used, reserved]);
    expect(seen()).toEqual([
      [0, 1],
      [0, 300],
    ]);
    ledger.apply(record({ op: "call", at: NOW, usage: { calls: 1 } }));
    budgets.booked(one, { calls: 1 });
    expect(seen()).toEqual([
      [1, 0],
      [0, 300],
    ]);
    ledger.apply(record({ at: NOW, usage: { inputTokens: 40, outputTokens: 2 } }));
    budgets.settle(one);
    budgets.settle(one);
    expect(seen()).toEqual([
      [1, 0],
      [42, 0],
    ]);
  });

  it("holds every unit, and names the budget without room that begins anew last", () => {
    const { budgets } = setup();
    const estimate = { calls: 1, tokens: 100, costNanoUsd: 5_000 };
    const limits: Budget[] = [day("calls", 5), day("tokens", 99), { unit: "cost", per: "month", limit: 4_999 }];
    expect(budgets.reserve(ID, limits, estimate, NOW)).toEqual({
      refused: { unit: "cost", per: "month", limit: 4_999, used: 0, reserved: 0, resetsAt: Date.UTC(2026, 11, 1) },
    });
    expect(budgets.reserve(ID, limits.slice(0, 2), estimate, NOW)).toMatchObject({ refused: { unit: "tokens" } });
    expect(budgets.reserve(ID, [day("tokens", 100)], estimate, NOW)).toBeInstanceOf(Reservation);
    expect(budgets.reserve(ID, [day("calls", 0)], ONE, NOW)).toMatchObject({ refused: { limit: 0 } });
  });

  it("counts what is open from yesterday in the new day, where it will be booked", () => {
    const { ledger, budgets, reserve } = setup();
    const limits = [day("calls", 2)];
    const late = reserve(limits, ONE, MIDNIGHT - 1);
    reserve(limits, ONE, MIDNIGHT - 1);
    expect(budgets.reserve(ID, limits, ONE, MIDNIGHT)).toMatchObject({ refused: { used: 0, reserved: 2 } });
    ledger.apply(record({ at: MIDNIGHT + 5, usage: { calls: 1 } }));
    budgets.settle(late);
    expect(budgets.view(ID, limits, MIDNIGHT + 5)).toMatchObject([
      { used: 1, reserved: 1, resetsAt: MIDNIGHT + 86_400_000 },
    ]);
  });

  it("has room for anything without a budget", () => {
    const { budgets, reserve } = setup();
    for (let i = 0; i < 1_000; i++) reserve([]);
    expect(budgets.view(ID, [], NOW)).toEqual([]);
  });

  it("never lets a limit be passed by calls that use at most what they reserved, in whatever order they begin and end", () => {
    const step = fc.record({
      begin: fc.boolean(),
      which: fc.nat(20),
      tokens: fc.nat(60),
      used: fc.double({ min: 0, max: 1, noNaN: true }),
      waitMs: fc.constantFrom(0, 1_000, 3_600_000, 30_000_000),
      booked: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), fc.nat(6), fc.nat(200), (steps, calls, tokens) => {
        const { ledger, budgets } = setup();
        const limits: Budget[] = [
          day("calls", calls),
          day("tokens", tokens),
          { unit: "tokens", per: "month", limit: 2 * tokens },
        ];
        const open: { made: Reservation; tokens: number; booked: boolean }[] = [];
        let now = NOW;
        for (const { begin, which, tokens: wanted, used, waitMs, booked } of steps) {
          now += waitMs;
          if (begin) {
            const made = budgets.reserve(ID, limits, { calls: 1, tokens: wanted, costNanoUsd: 0 }, now);
            if (made instanceof Reservation) {
              if (booked) {
                ledger.apply(record({ op: "call", at: now, usage: { calls: 1 } }));
                budgets.booked(made, { calls: 1 });
              }
              open.push({ made, tokens: wanted, booked });
            }
          } else {
            const [ended] = open.splice(which % Math.max(1, open.length), 1);
            if (ended === undefined) continue;
            const usage = { inputTokens: Math.floor(ended.tokens * used), ...(!ended.booked && { calls: 1 }) };
            ledger.apply(record({ at: now, usage }));
            budgets.settle(ended.made);
          }
          for (const { limit, used: spent, reserved } of budgets.view(ID, limits, now))
            expect(spent + reserved).toBeLessThanOrEqual(limit);
        }
      }),
    );
  });

  it("lets a key be leased only if nothing is budgeted that a lease hides", () => {
    expect(leasable([])).toBe(true);
    expect(leasable([day("calls", 1)])).toBe(true);
    expect(leasable([day("calls", 1), day("tokens", 1)])).toBe(false);
    expect(leasable([day("cost", 1)])).toBe(false);
  });
});
