/**
 * Additions that cannot leave what JSON and the protocol hold exactly: a sum stays at Number.MAX_SAFE_INTEGER (nine million dollars
 * in nano-dollars) instead of losing its last digits.
 */
import { NO_USAGE, USAGE_FIELDS, type Usage } from "../../../protocols/vault/keys.ts";

/** What a budget counts. Leases count as calls, input and output as tokens. */
export interface Spent {
  calls: number;
  tokens: number;
  costNanoUsd: number;
}

export function emptyUsage(): Usage {
  return { ...NO_USAGE };
}

/** Adds `part` to `sum` in place. What is no count in a record is no use of anything, and left out. */
export function addInto(sum: Usage, part: Partial<Usage>): void {
  for (const field of USAGE_FIELDS) sum[field] = plus(sum[field], part[field] ?? 0);
}

/** The units of a budget in a record's use. */
export function spentOf(use: Partial<Usage>): Spent {
  const of = (field: keyof Usage) => plus(0, use[field] ?? 0);
  return {
    calls: plus(of("calls"), of("leases")),
    tokens: plus(of("inputTokens"), of("outputTokens")),
    costNanoUsd: of("costNanoUsd"),
  };
}

export function plus(a: number, b: number): number {
  return Number.isInteger(b) && b > 0 ? Math.min(a + b, Number.MAX_SAFE_INTEGER) : a;
}
