/** `usage`: what was used, by whom, and what it cost. */
import { type Command, InvalidArgumentError } from "commander";
import { USAGE_GROUPS, type Usage, type UsageGroup } from "../../../protocols/vault/keys.ts";
import type { OperationReply, UsageRow } from "../../../protocols/vault/operations.ts";
import type { Cli } from "../../cli.ts";
import { duration } from "../../options.ts";
import type { Style } from "../../style.ts";
import { bytes, renderTable } from "../../table.ts";
import { addVaultCommand, tokenArgument, type VaultFlags, withVault } from "./session.ts";
import { dollars, minute } from "./text.ts";

interface Flags extends VaultFlags {
  readonly by?: readonly UsageGroup[];
  readonly provider?: string;
  readonly task?: string;
  readonly since?: number;
}

const DEFAULT_GROUPS: readonly UsageGroup[] = ["provider", "key"];

/** Sums of everything that was ever used take their time, ms. */
const TIMEOUT_MS = 120_000;

export function addUsage(vault: Command, cli: Cli): void {
  addVaultCommand(vault, "usage")
    .summary("what was used, and what it cost")
    .description(
      "Shows calls, bytes, tokens and cost, summed up from the ledger; the last row is the total. A narrow terminal shows less " +
        "of it. With --json one object: {rows, total}, costs in billionths of a US dollar.",
    )
    .option(
      "--by <list>",
      `a row for each of ${USAGE_GROUPS.join(", ")} (default: ${DEFAULT_GROUPS.join(",")})`,
      groups,
    )
    .option("--provider <provider>", "only of this provider", tokenArgument)
    .option("--task <id>", "only of this task", tokenArgument)
    .option("--since <time>", "only since then: 24h, 2026-11-22, 2026-11-22T18:00:00Z", since)
    .action(async (flags: Flags) => {
      const by = flags.by ?? DEFAULT_GROUPS;
      await withVault(cli, flags, async ({ call }) => {
        const asked = {
          by: [...by],
          ...(flags.provider !== undefined && { provider: flags.provider }),
          ...(flags.task !== undefined && { task: flags.task }),
          ...(flags.since !== undefined && { since: flags.since }),
        };
        const reply = await call("usage", asked, { timeoutMs: TIMEOUT_MS });
        const { terminal } = cli;
        terminal.data(
          flags.json ? JSON.stringify(reply) : usageTable(reply, by, terminal.outStyle, terminal.outColumns),
        );
      });
    });
}

/** A row for each group, and the total. */
function usageTable(
  { rows, total }: OperationReply<"usage">,
  by: readonly UsageGroup[],
  style: Style,
  width: number | undefined,
): string {
  const groupsOf = (row: UsageRow): readonly string[] => by.map((group) => row[group] ?? "");
  const totals = by.length === 0 ? ["total"] : by.map((_, i) => (i === 0 ? "total" : ""));
  const last = rows.reduce((latest, row) => Math.max(latest, row.lastUsedAt), 0);
  return renderTable(
    [
      ...(by.length === 0 ? [{ title: "" }] : by.map((group) => ({ title: group.toUpperCase(), shorten: true }))),
      ...AMOUNTS.map((column) => ({ ...column, align: "right" as const })),
      { title: "LAST USED", leaveOut: 4 },
    ],
    [
      ...(by.length === 0 ? [] : rows.map((row) => [...groupsOf(row), ...amounts(row.usage), minute(row.lastUsedAt)])),
      [...totals, ...amounts(total), minute(last)],
    ],
    { style, width },
  );
}

const AMOUNTS = [
  { title: "LEASES", leaveOut: 2 },
  { title: "CALLS", leaveOut: 1 },
  { title: "ERRORS", leaveOut: 3 },
  { title: "SENT", leaveOut: 7 },
  { title: "RECEIVED", leaveOut: 6 },
  { title: "TOKENS IN" },
  { title: "CACHED", leaveOut: 5 },
  { title: "TOKENS OUT" },
  { title: "COST" },
] as const;

/** In the order of `AMOUNTS`. */
function amounts(usage: Usage): readonly (number | string)[] {
  return [
    usage.leases,
    usage.calls,
    usage.errors,
    bytes(usage.bytesSent),
    bytes(usage.bytesReceived),
    usage.inputTokens,
    usage.cachedTokens,
    usage.outputTokens,
    dollars(usage.costNanoUsd),
  ];
}

function groups(text: string): readonly UsageGroup[] {
  const parts = text === "" ? [] : text.split(",").map((part) => part.trim());
  const known = (part: string): part is UsageGroup => (USAGE_GROUPS as readonly string[]).includes(part);
  if (parts.every(known)) return [...new Set(parts)];
  throw new InvalidArgumentError(`It must be of ${USAGE_GROUPS.join(", ")}, separated by commas.`);
}

/** Milliseconds since the epoch of a time, or of so long ago. */
export function since(text: string, nowMs = Date.now()): number {
  if (/^\d+(?:\.\d+)?(?:ms|s|m|h|d)$/.test(text)) return nowMs - duration(text);
  const at = /^\d{12,15}$/.test(text) ? Number(text) : /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(at)) return at;
  throw new InvalidArgumentError(
    "It must be a time such as 2026-11-22 or 2026-11-22T18:00:00Z, or 24h for so long ago.",
  );
}
