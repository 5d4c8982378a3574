/** Answers `usage`: folds the whole trail into sums, by what the asker wants them grouped. */
import { USAGE_GROUPS, type Usage, type UsageGroup } from "../../../protocols/vault/keys.ts";
import type { UsageRow } from "../../../protocols/vault/operations.ts";
import type { TrailRecord } from "../trail/entry.ts";
import { addInto, emptyUsage, plus } from "./sums.ts";

export interface UsageQuery {
  readonly by: readonly UsageGroup[];
  readonly provider?: string | undefined;
  /** Id of a task. */
  readonly task?: string | undefined;
  /** Milliseconds since the epoch. */
  readonly since?: number | undefined;
}

export interface UsageAnswer {
  readonly rows: UsageRow[];
  readonly total: Usage;
}

/** Groups that are told apart while folding: some 5 MiB. What comes in further groups is added to OTHERS. */
const MAX_GROUPS = 10_000;
/** Rows of an answer: one takes at most 700 bytes with all six names of 64 characters, and they must fit into one message. */
const MAX_USAGE_ROWS = 1_000;
/** What stands for every field of the row that holds what has no row of its own. No token has brackets. */
export const OTHERS = "(others)";

/**
 * The dearest rows first, then the most used. What exceeds `maxRows` is summed in one last row of OTHERS, so that the rows always
 * add up to `total`. A group that a record does not tell (a call without a task) is left out of its row.
 */
export async function queryUsage(
  records: AsyncIterable<TrailRecord>,
  query: UsageQuery,
  maxRows = MAX_USAGE_ROWS,
): Promise<UsageAnswer> {
  const by = USAGE_GROUPS.filter((group) => query.by.includes(group));
  const groups = new Map<string, UsageRow>();
  const others: UsageRow = {
    ...Object.fromEntries(by.map((group) => [group, OTHERS])),
    lastUsedAt: 0,
    usage: emptyUsage(),
  };
  let anyOther = false;
  const total = emptyUsage();

  for await (const record of records) {
    if (record.usage === undefined || !matches(record, query)) continue;
    addInto(total, record.usage);
    const values = by.map((group) => groupOf(record, group));
    const id = JSON.stringify(values);
    let row = groups.get(id);
    if (row === undefined && groups.size < MAX_GROUPS) {
      const named = by.flatMap((group, i) => (values[i] === undefined ? [] : [[group, values[i]]]));
      row = { ...Object.fromEntries(named), lastUsedAt: 0, usage: emptyUsage() } as UsageRow;
      groups.set(id, row);
    }
    anyOther ||= row === undefined;
    merge(row ?? others, record.usage, record.at);
  }

  const rows = [...groups.values()].sort(byWeight);
  const kept = rows.length > maxRows || anyOther ? rows.slice(0, Math.max(0, maxRows - 1)) : rows;
  for (const row of rows.slice(kept.length)) merge(others, row.usage, row.lastUsedAt);
  return { rows: kept.length < rows.length || anyOther ? [...kept, others] : kept, total };
}

function merge(row: UsageRow, use: Partial<Usage>, at: number): void {
  addInto(row.usage, use);
  row.lastUsedAt = Math.max(row.lastUsedAt, at);
}

function matches(record: TrailRecord, { provider, task, since }: UsageQuery): boolean {
  return (
    (provider === undefined || record.provider === provider) &&
    (task === undefined || record.task?.id === task) &&
    (since === undefined || record.at >= since)
  );
}

function groupOf(record: TrailRecord, group: UsageGroup): string | undefined {
  switch (group) {
    case "provider":
      return record.provider;
    case "key":
      return record.key;
    case "node":
      return record.who?.host;
    case "agent":
      return record.task?.agent;
    case "kind":
      return record.task?.kind;
    case "task":
      return record.task?.id;
  }
}

function byWeight(a: UsageRow, b: UsageRow): number {
  const uses = ({ usage }: UsageRow) => plus(usage.calls, usage.leases);
  return (
    b.usage.costNanoUsd - a.usage.costNanoUsd ||
    uses(b) - uses(a) ||
    (nameOf(a) < nameOf(b) ? -1 : nameOf(a) > nameOf(b) ? 1 : 0)
  );
}

function nameOf(row: UsageRow): string {
  return USAGE_GROUPS.map((group) => row[group] ?? "").join("/");
}
