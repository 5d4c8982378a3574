/** P2: at most one result is stored under an id, and it never changes. */
import { nameOf } from "./ended.ts";
import type { Record } from "./record.ts";
import type { Report } from "./report.ts";

export function checkKept(record: Record, report: Report): void {
  for (const task of record.everyTask()) {
    const { stored, seen } = task;
    if (stored.length > 1) {
      const sequences = stored.map(({ sequence }) => sequence).join(", ");
      report.add("P2", "one result is stored", `${nameOf(task)} has ${stored.length}, at ${sequences}`);
      continue;
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
    const last = stored[0];
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
