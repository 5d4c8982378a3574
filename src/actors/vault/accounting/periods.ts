/** The UTC days and months that budgets are counted in. Times are milliseconds since the epoch. */
import type { Budget } from "../../../protocols/vault/keys.ts";

export type Per = Budget["per"];

export function periodStart(per: Per, at: number): number {
  const date = new Date(at);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), per === "day" ? date.getUTCDate() : 1);
}

/** First moment of the period after the one that holds `at`. */
export function periodEnd(per: Per, at: number): number {
  const date = new Date(at);
  return per === "day"
    ? Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate() + 1)
    : Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1);
}
