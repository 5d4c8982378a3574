/**
 * P3: a ticket is drawn once, and the index counts those that were drawn. P4: each falls to the agent that the rotation names.
 *
 * Not every record need have been seen. What was drawn between two records, and over which roster, is judged only where they leave
 * no doubt; that the index never goes back holds between any two.
 */
import type { TaskResult } from "../../../src/protocols/result.ts";
import type { Began, Index, LaneIndex } from "../history.ts";
import { Eras, inOrder } from "./eras.ts";
import type { Record } from "./record.ts";
import type { Report } from "./report.ts";

/** A ticket in the hands of a task. */
interface Use {
  readonly id: string;
  readonly attempt: number;
  readonly ticket: number;
  readonly agent: string;
  readonly host: string;
}

export function checkTickets(record: Record, index: Index, report: Report): void {
  const lanes = new Map<string, { readonly began: Began[]; readonly results: TaskResult[] }>();
  const of = (pool: string, kind: string): { readonly began: Began[]; readonly results: TaskResult[] } => {
    const lane = `${pool}.${kind}`;
    const known = lanes.get(lane) ?? { began: [], results: [] };
    lanes.set(lane, known);
    return known;
  };
  for (const { began } of record.executions) of(began.pool, began.kind).began.push(began);
  for (const task of record.everyTask()) {
    for (const { result } of task.stored) of(result.pool, result.kind).results.push(result);
  }
  for (const lane of index) {
    checkRecords(lane, report);
    const { began, results } = of(lane.pool, lane.kind);
    checkUses(lane, began, results, report);
  }
}

function checkRecords(lane: LaneIndex, report: Report): void {
  const records = inOrder(lane);
  for (const [i, { revision, record }] of records.entries()) {
    const name = `${lane.pool}.${lane.kind}, revision ${revision}`;
    const before = records[i - 1]?.record;
    if (record.base > record.index) {
      report.add("P3", "no roster begins above the index", `${name}: base ${record.base}, index ${record.index}`);
    }
    if (before === undefined) continue;
    if (record.index < before.index) {
      report.add("P3", "the index never goes back", `${name}: ${before.index}, then ${record.index}`);
    } else if (record.nonce !== "" && record.nonce === before.nonce) {
      report.add("P3", "a swap is stored once", `${name}: its nonce ${record.nonce} was written before`);
    } else if (record.roster < before.roster) {
      report.add("P4", "an older roster never comes back", `${name}: ${before.roster}, then ${record.roster}`);
    } else if (record.roster === before.roster && record.base !== before.base) {
      report.add("P4", "a roster begins once", `${name}: at ${before.base}, then at ${record.base}`);
    } else if (record.roster !== before.roster && record.base < before.index) {
      report.add(
        "P4",
        "a roster is for tickets to come",
        `${name}: from ${record.base}, and ${before.index} were drawn`,
      );
    }
  }
}

function checkUses(lane: LaneIndex, began: readonly Began[], results: readonly TaskResult[], report: Report): void {
  const name = `${lane.pool}.${lane.kind}`;
  const drawn = lane.records.reduce((most, { record }) => Math.max(most, record.index), 0);
  const eras = new Eras(lane);
  const users = new Map<number, Use>();
  const judge = (use: Use): void => {
    if (use.ticket >= drawn) {
      report.add("P3", "the index counts every ticket", `${name}: ${describe(use)}, and ${drawn} were drawn`);
      return;
    }
    const turn = eras.turn(use.ticket);
    if (turn && (turn.agent !== use.agent || turn.host !== use.host)) {
      report.add("P4", "a ticket falls to the agent at its place", `${name}: ${describe(use)}, and not ${turn.agent}`);
    }
  };
  for (const use of began) {
    const other = users.get(use.ticket);
    if (other) report.add("P3", "a ticket is used once", `${name}: ${describe(other)}, and ${describe(use)}`);
    else users.set(use.ticket, use);
    judge(use);
  }
  for (const { ticket, agent, host, id, attempt } of results) {
    // A task that was ended before it came to an agent has none.
    if (ticket === undefined || agent === undefined || host === undefined) continue;
    const use = { ticket, agent, host, id, attempt };
    const other = users.get(ticket);
    if (other === undefined) {
      users.set(ticket, use);
      judge(use);
    } else if (other.id !== id || other.agent !== agent) {
      report.add("P3", "a ticket is used once", `${name}: ${describe(other)}, and the result of ${describe(use)}`);
    }
  }
}

function describe({ ticket, id, attempt, agent }: Use): string {
  return `ticket ${ticket} carried attempt ${attempt} of ${id} at ${agent}`;
}
