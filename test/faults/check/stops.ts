/** P8: a graceful stop loses nothing, and runs nothing twice that ended within its grace. */
import type { Disturbances } from "./disturbances.ts";
import { nameOf } from "./ended.ts";
import type { Record } from "./record.ts";
import type { Report } from "./report.ts";

export function checkStops(record: Record, disturbances: Disturbances, report: Report): void {
  for (const { process, pid, exited } of record.livesOf("dispatcher", "host", "node")) {
    if (exited?.stoppedAt === undefined) continue;
    const { code, stoppedAt, at } = exited;
    if (code !== 0) {
      report.add("P8", "a stop ends with 0", `${process} (${pid}) ended with ${code}`);
      continue;
    }
    for (const execution of record.byPid.get(pid) ?? []) {
      const { began, ended } = execution;
      // What threw may be tried again, and what did not end is given back.
      if (ended === undefined || ended.threw || ended.at < stoppedAt || ended.at > at) continue;
      const task = record.task(began.pool, began.id);
      const again = task.executions.find((each) => each !== execution && each.began.at > began.at);
      const code = task.stored[0]?.result.error?.code ?? "";
      const lost = code === "INTERRUPTED" || code === "CRASHED_REPEATEDLY";
      if (again === undefined && !lost) continue;
      const until = again?.began.at ?? task.seenAt;
      if (disturbances.uncertain(began.at, until) > 0) continue;
      const what = again ? `began again at ${again.began.agent}` : `ended with ${code}`;
      report.add("P8", "what ends within the grace is done", `${nameOf(task)} ended at ${began.agent} and ${what}`);
    }
  }
}
