/** P5: an agent never runs more than its slots at once. */
import type { Index } from "../history.ts";
import { type Execution, push, type Record } from "./record.ts";
import type { Report } from "./report.ts";

/** Slots of each agent: the most that any roster names. A lane with a limit of tasks at once names fewer. */
export function slotsOf(index: Index): ReadonlyMap<string, number> {
  const slots = new Map<string, number>();
  for (const { rosters } of index) {
    for (const { ranges } of rosters) {
      for (const range of ranges) {
        for (let agent = range.first; agent < range.first + range.count; agent++) {
          const id = `${range.host}-${agent}`;
          slots.set(id, Math.max(slots.get(id) ?? 0, range.slots));
        }
      }
    }
  }
  return slots;
}

export function checkSlots(record: Record, index: Index, report: Report): void {
  const slots = slotsOf(index);
  const byAgent = new Map<string, Execution[]>();
  for (const execution of record.executions)
    push(byAgent, `${execution.began.pid} ${execution.began.agent}`, execution);
  for (const executions of byAgent.values()) {
    const { agent, pid } = (executions[0] as Execution).began;
    const most = slots.get(agent);
    // It was in no roster that was seen: that its tickets are somebody else's is the business of P4.
    if (most === undefined) continue;
    const begins = executions.map(({ began }) => began.at).sort((a, b) => a - b);
    const ends = executions.flatMap(({ ended }) => (ended ? [ended.at] : [])).sort((a, b) => a - b);
    let ended = 0;
    for (const [i, at] of begins.entries()) {
      while (ended < ends.length && (ends[ended] as number) <= at) ended++;
      const running = i + 1 - ended;
      if (running > most) {
        report.add(
          "P5",
          "no more at once than the slots",
          `${agent} (${pid}) ran ${running} with ${most} slots at ${at}`,
        );
      }
    }
  }
}
