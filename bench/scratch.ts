/**
 * Nothing outlives a run of benchmarks: whatever they start and write lies below one temporary folder, which the processes
 * inherit as TMPDIR, and both go when this process does, however it ends (except by a SIGKILL).
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Call before anything is started. Ends the process with 130 and 143 on signals. */
export function cleanUpAtTheEnd(): void {
  const scratch = mkdtempSync(join(tmpdir(), "vgas-bench-"));
  process.env["TMPDIR"] = scratch;
  process.on("exit", () => {
    for (const pid of startedBelow(scratch)) kill(pid);
    rmSync(scratch, { recursive: true, force: true, maxRetries: 5 });
  });
  for (const [signal, code] of [
    ["SIGHUP", 129],
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const) {
    process.on(signal, () => process.exit(code));
  }
}

/** Whose environment or command line names the folder. Elsewhere than on Linux a Ctrl-C reaches them by the terminal. */
function startedBelow(scratch: string): readonly number[] {
  if (process.platform !== "linux") return [];
  return readdirSync("/proc")
    .map(Number)
    .filter((pid) => pid > 0 && pid !== process.pid && mentions(pid, scratch));
}

function mentions(pid: number, text: string): boolean {
  return ["environ", "cmdline"].some((file) => {
    try {
      return readFileSync(`/proc/${pid}/${file}`, "latin1").includes(text);
    } catch {
      return false; // Gone meanwhile, or somebody else's.
    }
  });
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It ended by itself meanwhile.
  }
}
