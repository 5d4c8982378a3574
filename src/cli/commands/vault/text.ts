/** How keys, amounts and times of the vault look to people. */
import type { KeyView, Usage } from "../../../protocols/vault/keys.ts";
import { count } from "../../table.ts";

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

/** `12 calls, 3 leases, …` of what was used. */
export function usageText(usage: Usage): string {
  const parts = [
    amount(usage.calls, "call"),
    amount(usage.leases, "lease"),
    amount(usage.errors, "error"),
    `${count(usage.inputTokens)} tokens in (${count(usage.cachedTokens)} cached)`,
    `${count(usage.outputTokens)} out`,
    dollars(usage.costNanoUsd),
  ];
  return parts.join(", ");
}

type BudgetView = KeyView["budgets"][number];

/** `12 of 1 000 calls per day, 3 reserved, anew at …`. */
export function budgetText({ unit, per, limit, used, reserved, resetsAt }: BudgetView): string {
  const show = (value: number): string => (unit === "cost" ? dollars(value) : count(value));
  const noun = unit === "cost" ? "" : ` ${unit}`;
  const held = reserved === 0 ? "" : `, ${show(reserved)} reserved`;
  return `${show(used)} of ${show(limit)}${noun} per ${per}${held}, anew at ${time(resetsAt)}`;
}

function amount(value: number, noun: string): string {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}
