/** How keys, amounts and times of the vault look to people. */
import type { KeyView, Usage } from "../../../protocols/vault/keys.ts";
import { count, plural } from "../../table.ts";

const NANO_PER_USD = 1e9;
/** Prices are per million tokens, so single calls cost millionths of a dollar. */
const USD_DIGITS = 6;
const NEVER = "never";

export function keyName({ provider, name }: Pick<KeyView, "provider" | "name">): string {
  return `${provider}/${name}`;
}

/** `$0.012345` of billionths of a dollar. */
export function dollars(nanoUsd: number): string {
  return `$${(nanoUsd / NANO_PER_USD).toFixed(USD_DIGITS)}`;
}

/** `2026-11-22 21:05:06Z` of milliseconds since the epoch. */
export function time(ms: number | undefined): string {
  if (ms === undefined || ms === 0) return NEVER;
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? "?" : `${date.toISOString().slice(0, 19).replace("T", " ")}Z`;
}

/** `2026-11-22 21:05Z`, where a column has no room for more. */
export function minute(ms: number | undefined): string {
  return time(ms).replace(/:\d\dZ$/, "Z");
}

/** `12 calls, 3 leases, 1 error` of what was used. */
export function usesText({ calls, leases, errors }: Usage): string {
  return [plural(calls, "call"), plural(leases, "lease"), plural(errors, "error")].join(", ");
}

/** `1 200 in (20 cached), 30 out`. */
export function tokensText({ inputTokens, cachedTokens, outputTokens }: Usage): string {
  return `${count(inputTokens)} in (${count(cachedTokens)} cached), ${count(outputTokens)} out`;
}

type BudgetView = KeyView["budgets"][number];

/** `12 of 1 000 calls per day, 3 reserved, anew at …`. */
export function budgetText({ unit, per, limit, used, reserved, resetsAt }: BudgetView): string {
  const show = (value: number): string => (unit === "cost" ? dollars(value) : count(value));
  const noun = unit === "cost" ? "" : ` ${unit}`;
  const held = reserved === 0 ? "" : `, ${show(reserved)} reserved`;
  return `${show(used)} of ${show(limit)}${noun} per ${per}${held}, anew at ${time(resetsAt)}`;
}
