/** P9: no bytes end a process, and what is no task ends in a failed result and a dead letter. */
import type { Streams } from "../history.ts";
import { nameOf } from "./ended.ts";
import type { Record } from "./record.ts";
import type { Report } from "./report.ts";

export function checkProcesses(record: Record, streams: Streams, report: Report): void {
  for (const { process, pid, code, expected } of record.exits) {
    if (!expected) report.add("P9", "no process ends by itself", `${process} (${pid}) ended with ${code}`);
  }
  const buried = new Map(streams.dead.map(({ pool, id, reason }) => [`${pool} ${id} ${reason}`, true]));
  for (const task of record.everyTask()) {
    const hostile = task.submissions.find(({ submit }) => submit.hostile !== undefined)?.submit.hostile;
    const result = task.stored[0]?.result;
    // One that never ended is the business of P1.
    if (hostile === undefined || result === undefined) continue;
    if (result.status !== "failed") {
      report.add("P9", "what is no task fails", `${nameOf(task)} is ${hostile} and ended ${result.status}`);
    } else if (!buried.has(`${task.pool} ${task.id} ${hostile}`)) {
      report.add("P9", "what is no task has a dead letter", `${nameOf(task)} has none that says ${hostile}`);
    }
  }
}
