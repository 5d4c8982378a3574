/**
 * The counters, as the sums of what stands in the trail: the trail is the ledger, this is its running total.
 *
 * 1. Every counter is a sum of `usage` of records; nothing else changes one. Applying the same records, from a snapshot or from
 *    the beginning, gives the same counters.
 * 2. A key's counters end with the key: an `ok` record of `delete` forgets them, so that a replay does too. `total` keeps them.
 * 3. What was spent in a day or month is what records of that day or month say by their own time, wherever the clock stands now.
 */
import { z } from "zod";
import { VgasError } from "../../../protocols/errors.ts";
import { token, type Usage, usage } from "../../../protocols/vault/keys.ts";
import type { TrailRecord } from "../trail/entry.ts";
import { keyIdText } from "./key-id.ts";
import { type Per, periodStart } from "./periods.ts";
import { addInto, emptyUsage, plus, type Spent, spentOf } from "./sums.ts";

/**
 * Days and months kept of a key. One of each is the present; the others are for a clock that steps back over midnight and
 * forward again, which must not begin a day anew.
 */
const PERIODS_KEPT = 4;

interface Period extends Spent {
  readonly per: Per;
  readonly start: number;
}

interface Counters {
  readonly provider: string;
  readonly key: string;
  readonly usage: Usage;
  lastUsedAt: number;
  /** Oldest first, by when they were begun. */
  readonly periods: Period[];
}

const count = z.number().int().min(0);
const period = z.strictObject({
  per: z.enum(["day", "month"]),
  start: z.number(),
  calls: count,
  tokens: count,
  costNanoUsd: count,
});
const counters = z.strictObject({
  provider: token,
  key: token,
  usage,
  lastUsedAt: z.number(),
  periods: z.array(period).max(2 * PERIODS_KEPT),
});
const openCall = z.looseObject({
  seq: count,
  at: z.number(),
  op: z.literal("call"),
  outcome: z.literal("ok"),
  detail: z.looseObject({ call: z.string() }),
});
const snapshot = z.strictObject({
  v: z.literal(1),
  keys: z.array(counters),
  total: usage,
  openCalls: z.array(openCall),
});

export class Ledger {
  readonly #keys = new Map<string, Counters>();
  readonly #openCalls = new Map<string, TrailRecord>();
  #total = emptyUsage();

  apply(record: TrailRecord): void {
    const { op, outcome, provider, key, detail } = record;
    const call = detail?.["call"];
    if (typeof call === "string") {
      if (op === "call" && outcome === "ok") this.#openCalls.set(call, record);
      else if (op === "call-end") this.#openCalls.delete(call);
    }
    if (record.usage !== undefined) this.#count(record, record.usage);
    if (op === "delete" && outcome === "ok" && provider !== undefined && key !== undefined) this.forget(provider, key);
  }

  /** Sum of all records since the trail began, those of deleted keys too. */
  total(): Usage {
    return { ...this.#total };
  }

  usageOf(provider: string, key: string): Usage {
    return { ...(this.#keys.get(keyIdText({ provider, key }))?.usage ?? emptyUsage()) };
  }

  /** Milliseconds since the epoch. */
  lastUsedAt(provider: string, key: string): number | undefined {
    return this.#keys.get(keyIdText({ provider, key }))?.lastUsedAt;
  }

  /** What was spent in the UTC day or month that holds `now`. */
  spent(provider: string, key: string, per: Per, now: number): Spent {
    const found = this.#keys.get(keyIdText({ provider, key }))?.periods;
    const period = found && findPeriod(found, per, periodStart(per, now));
    return {
      calls: period?.calls ?? 0,
      tokens: period?.tokens ?? 0,
      costNanoUsd: period?.costNanoUsd ?? 0,
    };
  }

  /** Calls that were begun and have no end in the trail, oldest first. At start: those that the end of the process cut off. */
  openCalls(): readonly TrailRecord[] {
    return [...this.#openCalls.values()];
  }

  /** Drops a key's counters; `total` keeps what they added. */
  forget(provider: string, key: string): void {
    this.#keys.delete(keyIdText({ provider, key }));
  }

  /** All of it as plain JSON, for the head of a segment of the trail. Not changed by what is applied later. */
  snapshot(): object {
    return structuredClone({
      v: 1,
      keys: [...this.#keys.values()],
      total: this.#total,
      openCalls: this.openCalls(),
    });
  }

  /** Puts back what `snapshot` gave, in the place of all that is here. @throws INVALID, and then changes nothing */
  restore(value: unknown): void {
    const parsed = snapshot.safeParse(value);
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      const where = issue?.path.join(".") || "the whole";
      throw new VgasError("INVALID", `the counters in the trail are not what was written: ${where}: ${issue?.message}`);
    }
    this.#keys.clear();
    this.#openCalls.clear();
    for (const entry of parsed.data.keys) this.#keys.set(keyIdText(entry), entry);
    // The rest of an open call's record is as the trail's MAC vouches for it.
    for (const record of parsed.data.openCalls)
      this.#openCalls.set(record.detail.call, record as unknown as TrailRecord);
    this.#total = parsed.data.total;
  }

  #count({ provider, key, at }: TrailRecord, use: Partial<Usage>): void {
    addInto(this.#total, use);
    if (provider === undefined || key === undefined) return;
    const id = keyIdText({ provider, key });
    const entry = this.#keys.get(id) ?? { provider, key, usage: emptyUsage(), lastUsedAt: at, periods: [] };
    this.#keys.set(id, entry);
    addInto(entry.usage, use);
    entry.lastUsedAt = Math.max(entry.lastUsedAt, at);
    const spent = spentOf(use);
    for (const per of ["day", "month"] as const) {
      const period = periodOf(entry.periods, per, periodStart(per, at));
      period.calls = plus(period.calls, spent.calls);
      period.tokens = plus(period.tokens, spent.tokens);
      period.costNanoUsd = plus(period.costNanoUsd, spent.costNanoUsd);
    }
  }
}

function findPeriod(periods: readonly Period[], per: Per, start: number): Period | undefined {
  return periods.find((period) => period.per === per && period.start === start);
}

function periodOf(periods: Period[], per: Per, start: number): Period {
  const found = findPeriod(periods, per, start);
  if (found !== undefined) return found;
  if (periods.filter((period) => period.per === per).length >= PERIODS_KEPT)
    periods.splice(
      periods.findIndex((period) => period.per === per),
      1,
    );
  const begun: Period = { per, start, calls: 0, tokens: 0, costNanoUsd: 0 };
  periods.push(begun);
  return begun;
}
