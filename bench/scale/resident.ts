import { readFileSync } from "node:fs";

/** Resident bytes of a process; NaN where that cannot be read. */
export function residentBytes(pid: number | undefined): number {
  try {
    return Number(/^VmRSS:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1]) * 1_024;
  } catch {
    return Number.NaN;
  }
}
