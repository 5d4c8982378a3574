/** P2: at most one result is stored under an id, and it never changes. */
import { nameOf } from "./ended.ts";
import type { Record } from "./record.ts";
import type { Report } from "./report.ts";

export function checkKept(record: Record, report: Report): void {
  for (const task of record.everyTask()) {
    const { stored, seen, told } = task;
    if (stored.length > 1) {
      const sequences = stored.map(({ sequence }) => sequence).join(", ");
      report.add("P2", "one result is stored", `${nameOf(task)} has ${stored.length}, at ${sequences}`);
      continue;
    }
    const last = stored[0];
    for (const { status, attempt, finishedAt } of told) {
      const kept = last?.result;
      if (kept?.status === status && kept.attempt === attempt && kept.finishedAt === finishedAt) continue;
      const is = kept === undefined ? "nothing" : `${kept.status} of attempt ${kept.attempt}`;
      report.add(
        "P2",
        "a client is told what is stored",
        `${nameOf(task)}: ${status} of attempt ${attempt}, stored is ${is}`,
      );
    }
    const first = seen[0];
    const other = seen.find(({ sequence, digest }) => sequence !== first?.sequence || digest !== first.digest);
    if (first && other) {
      report.add(
        "P2",
        "a stored result never changes",
        `${nameOf(task)} was seen at ${first.sequence} and ${other.sequence}, ${first.digest} and ${other.digest}`,
      );
      continue;
    }
    if (first && (first.sequence !== last?.sequence || first.digest !== last.digest)) {
      const now = last === undefined ? "it is gone" : `now it is at ${last.sequence}, ${last.digest}`;
      report.add(
        "P2",
        "a stored result is kept",
        `${nameOf(task)} was seen at ${first.sequence}, ${first.digest}; ${now}`,
      );
    }
  }
}
