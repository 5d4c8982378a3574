import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Ledger } from "../../../../src/actors/vault/accounting/ledger.ts";
import { addInto, emptyUsage, spentOf } from "../../../../src/actors/vault/accounting/sums.ts";
import { queryUsage } from "../../../../src/actors/vault/accounting/usage-query.ts";
import { NO_USAGE, type Usage } from "../../../../src/protocols/vault/keys.ts";
import { feed, record, records } from "./records.ts";

const NOON = Date.UTC(2026, 10, 22, 12);
const DAY_MS = 86_400_000;

describe("Ledger", () => {
  it("sums what the records of a key say, and only of that key", () => {
    const ledger = new Ledger();
    ledger.apply(record({ op: "call", usage: { calls: 1 } }));
    ledger.apply(record({ usage: { inputTokens: 100, outputTokens: 20, costNanoUsd: 325_000, bytesSent: 7 } }));
    ledger.apply(record({ op: "lease", at: NOON + 5, usage: { leases: 1 } }));
    ledger.apply(record({ key: "spare", usage: { calls: 3 } }));
    ledger.apply(record({ op: "list", outcome: "refused" }));
    expect(ledger.usageOf("openai", "main")).toEqual({
      ...NO_USAGE,
      ...{ leases: 1, calls: 1, bytesSent: 7, inputTokens: 100, outputTokens: 20, costNanoUsd: 325_000 },
    });
    expect(ledger.usageOf("openai", "spare").calls).toBe(3);
    expect(ledger.usageOf("openai", "none")).toEqual(NO_USAGE);
    expect(ledger.lastUsedAt("openai", "main")).toBe(NOON + 5);
    expect(ledger.lastUsedAt("openai", "none")).toBeUndefined();
    expect(ledger.total().calls).toBe(4);
  });

  it("counts leases as calls, and input and output as tokens, in the UTC day and month of the record", () => {
    const ledger = new Ledger();
    const lastMoment = Date.UTC(2026, 10, 30, 23, 59, 59, 999);
    ledger.apply(
      record({ at: NOON, usage: { calls: 2, leases: 1, inputTokens: 10, outputTokens: 5, costNanoUsd: 9 } }),
    );
    ledger.apply(record({ at: lastMoment, usage: { calls: 1 } }));
    ledger.apply(record({ at: lastMoment + 1, usage: { calls: 7 } }));
    expect(ledger.spent("openai", "main", "day", NOON)).toEqual({ calls: 3, tokens: 15, costNanoUsd: 9 });
    expect(ledger.spent("openai", "main", "day", NOON + DAY_MS)).toEqual({ calls: 0, tokens: 0, costNanoUsd: 0 });
    expect(ledger.spent("openai", "main", "month", lastMoment)).toEqual({ calls: 4, tokens: 15, costNanoUsd: 9 });
    expect(ledger.spent("openai", "main", "month", lastMoment + 1).calls).toBe(7);
    expect(ledger.spent("openai", "other", "month", NOON).calls).toBe(0);
  });

  it("does not begin a day anew when the clock steps back over midnight and forward again", () => {
    const ledger = new Ledger();
    const midnight = Date.UTC(2026, 10, 23);
    for (const at of [midnight - 1, midnight, midnight - 1, midnight])
      ledger.apply(record({ at, usage: { calls: 1 } }));
    expect(ledger.spent("openai", "main", "day", midnight).calls).toBe(2);
    expect(ledger.spent("openai", "main", "day", midnight - 1).calls).toBe(2);
  });

  it("goes on counting the day after a clock that stood in the far future was put right", () => {
    const ledger = new Ledger();
    ledger.apply(record({ at: Date.UTC(2100, 0, 1), usage: { calls: 5 } }));
    ledger.apply(record({ at: NOON, usage: { calls: 1 } }));
    expect(ledger.spent("openai", "main", "day", NOON).calls).toBe(1);
  });

  it("keeps a bounded number of days and months", () => {
    const ledger = new Ledger();
    for (let day = 0; day < 400; day++) ledger.apply(record({ at: NOON + day * DAY_MS, usage: { calls: 1 } }));
    const { keys } = ledger.snapshot() as { keys: { periods: unknown[] }[] };
    expect(keys[0]?.periods).toHaveLength(8);
    expect(ledger.spent("openai", "main", "day", NOON + 399 * DAY_MS).calls).toBe(1);
  });

  it("tells the calls that have begun and not ended, also after a restart", () => {
    const ledger = new Ledger();
    const open = record({
      op: "call",
      detail: { call: "two", origin: "https://api.openai.com" },
      who: { user: "w", role: "worker", host: "h" },
      task: { pool: "p", kind: "k", id: "t", attempt: 1, agent: "a" },
    });
    ledger.apply(record({ op: "call", detail: { call: "one" } }));
    ledger.apply(open);
    ledger.apply(record({ op: "call", outcome: "refused", detail: { call: "three" } }));
    ledger.apply(record({ op: "call-end", outcome: "failed", detail: { call: "one" } }));
    expect(ledger.openCalls()).toEqual([open]);
    const again = new Ledger();
    again.restore(JSON.parse(JSON.stringify(ledger.snapshot())));
    expect(again.openCalls()).toEqual([open]);
    again.apply(record({ op: "call-end", detail: { call: "two" } }));
    expect(again.openCalls()).toEqual([]);
    expect(ledger.openCalls()).toHaveLength(1);
  });

  it("forgets a key that was deleted, and not one whose deletion was refused; the total stays", () => {
    const ledger = new Ledger();
    ledger.apply(record({ usage: { calls: 2 } }));
    ledger.apply(record({ op: "delete", outcome: "refused" }));
    expect(ledger.usageOf("openai", "main").calls).toBe(2);
    ledger.apply(record({ op: "delete" }));
    expect(ledger.usageOf("openai", "main")).toEqual(NO_USAGE);
    expect(ledger.spent("openai", "main", "day", NOON).calls).toBe(0);
    expect(ledger.lastUsedAt("openai", "main")).toBeUndefined();
    expect(ledger.total().calls).toBe(2);
  });

  it("stays at the largest exact number instead of leaving it", () => {
    const ledger = new Ledger();
    for (let i = 0; i < 3; i++) ledger.apply(record({ usage: { costNanoUsd: Number.MAX_SAFE_INTEGER - 1 } }));
    expect(ledger.usageOf("openai", "main").costNanoUsd).toBe(Number.MAX_SAFE_INTEGER);
    new Ledger().restore(JSON.parse(JSON.stringify(ledger.snapshot())));
  });

  it.each([
    ["", null],
    ["v", { v: 2, keys: [], total: NO_USAGE, openCalls: [] }],
    ["total.calls", { v: 1, keys: [], total: { ...NO_USAGE, calls: -1 }, openCalls: [] }],
    ["keys", { v: 1, total: NO_USAGE, openCalls: [] }],
    [
      "openCalls.0.detail",
      { v: 1, keys: [], total: NO_USAGE, openCalls: [{ seq: 1, at: 1, op: "call", outcome: "ok" }] },
    ],
  ])("refuses a snapshot whose %j is wrong, names it and changes nothing", (where, value) => {
    const ledger = new Ledger();
    ledger.apply(record({ usage: { calls: 1 } }));
    expect(() => ledger.restore(value)).toThrow(where || "the whole");
    expect(() => ledger.restore(value)).toThrow(expect.objectContaining({ code: "INVALID" }));
    expect(ledger.usageOf("openai", "main").calls).toBe(1);
  });

  it("has the same counters from a snapshot at any record as from the beginning, and the ledger's rows add up to them", async () => {
    await fc.assert(
      fc.asyncProperty(records, fc.nat(60), fc.boolean(), async (all, at, byTask) => {
        const whole = new Ledger();
        let resumed = new Ledger();
        const expected = emptyUsage();
        for (const [i, one] of all.entries()) {
          if (i === at) {
            const kept: unknown = JSON.parse(JSON.stringify(resumed.snapshot()));
            resumed = new Ledger();
            resumed.restore(kept);
          }
          whole.apply(one);
          resumed.apply(one);
          addInto(expected, one.usage ?? {});
        }
        expect(resumed.snapshot()).toEqual(whole.snapshot());
        expect(resumed.total()).toEqual(expected);

        const { rows, total } = await queryUsage(feed(all), { by: byTask ? ["task", "node"] : ["provider", "key"] }, 4);
        const sum = emptyUsage();
        for (const row of rows) addInto(sum, row.usage);
        expect(total).toEqual(expected);
        expect(sum).toEqual(expected);
        expect(rows.length).toBeLessThanOrEqual(4);
      }),
    );
  });

  it("has the counters, of each key that was not deleted and of each day, that a fold over all records has", async () => {
    await fc.assert(
      fc.asyncProperty(records, async (all) => {
        const ledger = new Ledger();
        for (const one of all) ledger.apply(one);
        for (const provider of ["a", "b", "c"]) {
          const rows = await queryUsage(feed(all), { by: ["key"], provider });
          for (const key of ["a", "b", "c"]) {
            const last = all.findLastIndex(
              (one) => one.op === "delete" && one.outcome === "ok" && one.provider === provider && one.key === key,
            );
            const mine = all.slice(last + 1).filter((one) => one.provider === provider && one.key === key && one.usage);
            const sum = emptyUsage();
            for (const { usage = {} } of mine) addInto(sum, usage);
            expect(ledger.usageOf(provider, key)).toEqual(sum);
            if (last === -1) expect(rows.rows.find((row) => row.key === key)?.usage ?? NO_USAGE).toEqual(sum);
            for (const day of [29, 30, 31, 32].map((date) => Date.UTC(2026, 10, date))) {
              const calls = mine
                .filter(({ at }) => at >= day && at < day + DAY_MS)
                .reduce((n, { usage }) => n + spentOf(usage as Partial<Usage>).calls, 0);
              expect(ledger.spent(provider, key, "day", day).calls).toBe(calls);
            }
          }
        }
      }),
    );
  });
});
