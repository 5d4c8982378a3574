/**
 * Nothing outlives a run of benchmarks: whatever they start and write lies below one temporary folder, which the processes
 * inherit as TMPDIR, and both go when this process does, however it ends (except by a SIGKILL).
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { reasonOf } from "../scripts/lib/log.mjs";

/** What to do where there is none. */
export const ROOM = "Set TMPDIR to a folder on a disk with about 3 GiB of free space and run it again.";

/**
 * Call before anything is started. Ends the process with 130 and 143 on signals, and with 0 when what reads its output goes away: nobody
 * would see the rest.
 */
export function cleanUpAtTheEnd(): void {
  const scratch = temporaryFolder();
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
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    const gone = error.code === "EPIPE";
    console.error(gone ? "ended: nobody reads the output any more" : `ended: the output is lost: ${error.message}`);
    process.exit(gone ? 0 : 1);
  });
  process.stderr.on("error", () => undefined);
}

function temporaryFolder(): string {
  try {
    return mkdtempSync(join(tmpdir(), "vgas-bench-"));
  } catch (error) {
    console.error(`no temporary folder can be made in ${tmpdir()}: ${reasonOf(error)}\n${ROOM}`);
    return process.exit(1);
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
