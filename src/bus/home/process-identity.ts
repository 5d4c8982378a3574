/**
 * Names one process for good: process ids are used again, so a pid counts only together with the time its process started
 * and the boot of the machine it runs on.
 */
import { execFile } from "node:child_process";
import { readFileSync, readlinkSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { promisify } from "node:util";
import { z } from "zod";

const run = promisify(execFile);

/** `started` is opaque and only compared; "" where the platform does not tell, and then the pid alone decides. */
export const processIdentity = z.object({
  pid: z.number().int().min(1),
  started: z.string(),
  machine: z.string(),
  boot: z.string(),
  /** PID namespace: two containers on one machine cannot see each other's processes. "" where there is no such thing. */
  namespace: z.string(),
});
export type ProcessIdentity = z.infer<typeof processIdentity>;

/** `unknown`: it runs, if it does, where this process cannot see it. */
export type Liveness = "alive" | "dead" | "unknown";

/** The identity of a running process of this machine, or undefined if there is no such process. */
export async function identify(pid: number): Promise<ProcessIdentity | undefined> {
  const started = await startTime(pid);
  return started === undefined ? undefined : { pid, started, ...HERE };
}

/** Whether the process that `identity` names still runs. A zombie is dead: it holds no file and no port. */
export async function liveness(identity: ProcessIdentity): Promise<Liveness> {
  const sameBoot = identity.boot === HERE.boot && HERE.boot !== "";
  if (identity.machine !== HERE.machine && !sameBoot) return "unknown";
  if (identity.boot !== HERE.boot) return "dead";
  if (identity.namespace !== HERE.namespace) return "unknown";
  const started = await startTime(identity.pid);
  if (started === undefined) return "dead";
  return started === identity.started || started === "" || identity.started === "" ? "alive" : "dead";
}

/**
 * Pids of all processes, visible to this user, that were started with exactly these arguments behind the program. Exactly:
 * an editor that has one of them open is none.
 */
export async function processesWithArguments(args: readonly string[]): Promise<readonly number[]> {
  if (process.platform !== "linux") return await listedByPs(args.join(" "));
  const found: number[] = [];
  for (const entry of await readdir("/proc")) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const command = await readFile(`/proc/${entry}/cmdline`, "utf8").catch(() => "");
    const [, ...own] = command.split("\0").slice(0, -1);
    if (own.length === args.length && own.every((argument, place) => argument === args[place])) found.push(pid);
  }
  return found;
}

/** Field 22 of /proc/<pid>/stat, clock ticks since boot; elsewhere what `ps` prints. Undefined: no such process. */
async function startTime(pid: number): Promise<string | undefined> {
  if (process.platform === "linux") {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
    // The command's name, field 2, is in parentheses and may hold anything, parentheses and spaces too.
    const fields = stat?.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields === undefined || fields[0] === "Z" || fields[0] === "X" ? undefined : (fields[19] ?? "");
  }
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ESRCH") return undefined;
  }
  const { stdout } = await run("ps", ["-o", "stat=,lstart=", "-p", String(pid)]).catch(() => ({ stdout: "" }));
  const [state = "", ...started] = stdout.trim().split(/\s+/);
  return state.startsWith("Z") ? undefined : started.join(" ");
}

/** `ps` joins arguments with spaces, so this compares what it prints. */
async function listedByPs(args: string): Promise<readonly number[]> {
  const none = { stdout: "" };
  const { stdout } = await run("ps", ["-axww", "-o", "pid=,command="], { maxBuffer: 2 ** 26 }).catch(() => none);
  return stdout
    .split("\n")
    .filter((line) => line.trimEnd().endsWith(` ${args}`))
    .map((line) => Number.parseInt(line, 10))
    .filter((pid) => pid > 0 && pid !== process.pid);
}

const HERE = {
  machine: hostname(),
  boot: firstOf(() => readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()),
  namespace: firstOf(() => readlinkSync("/proc/self/ns/pid")),
} as const;

function firstOf(read: () => string): string {
  try {
    return read();
  } catch {
    return "";
  }
}
