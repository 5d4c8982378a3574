/**
 * A file system of a few megabytes, which can be full. Needs Linux, util-linux, and root or unprivileged user namespaces.
 *
 * It is mounted in a mount namespace that lives as long as its holder, a process that waits for the end of its standard input. So
 * nothing stays mounted, however the test dies; what is to write to it is started by `enter`.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, rmSync, statfsSync, writeSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

const CHUNK_BYTES = 64 * 1_024;

export class PrivateDisk {
  /** Where it is for what was started by `enter`. */
  readonly dir: string;
  readonly #holder: ChildProcess;
  readonly #pid: number;

  private constructor(dir: string, holder: ChildProcess, pid: number) {
    this.dir = dir;
    this.#holder = holder;
    this.#pid = pid;
  }

  /** Why there can be none here; undefined if there can. */
  static missing(): string | undefined {
    if (process.platform !== "linux") return "mount namespaces are Linux's";
    const tried = spawnSync("unshare", [...flags(), "mount", "-t", "tmpfs", "tmpfs", "/mnt"], { encoding: "utf8" });
    if (tried.status === 0) return undefined;
    return `nothing can be mounted here (root or unprivileged user namespaces are needed): ${tried.error?.message ?? tried.stderr.trim()}`;
  }

  /** Over `dir`, which exists. */
  static async mount(dir: string, megabytes: number): Promise<PrivateDisk> {
    const script = 'mount -t tmpfs -o "size=$2m" tmpfs "$1" && echo $$ && cat >/dev/null';
    // Detached: an interrupt at the terminal goes to the test, and the test's end to the holder.
    const holder = spawn("unshare", [...flags(), "sh", "-c", script, "sh", dir, String(megabytes)], {
      stdio: ["pipe", "pipe", "inherit"],
      detached: true,
    });
    if (holder.stdout === null) throw new Error("the holder of a private disk has no output");
    const [pid] = await Promise.race([
      once(createInterface(holder.stdout), "line"),
      once(holder, "exit").then(() => {
        throw new Error("the disk could not be mounted");
      }),
    ]);
    holder.unref();
    return new PrivateDisk(dir, holder, Number(pid));
  }

  /** The command line that runs `argv` where the disk is. */
  enter(argv: readonly string[]): string[] {
    const user = isRoot() ? [] : ["--user", "--preserve-credentials"];
    return ["nsenter", "--target", String(this.#pid), ...user, "--mount", `--wd=${process.cwd()}`, "--", ...argv];
  }

  /** Bytes that are free. */
  get free(): number {
    const { bavail, bsize } = statfsSync(this.#here());
    return bavail * bsize;
  }

  /** Fills it to the last byte, until `empty`. */
  fill(): void {
    const file = openSync(this.#here("filler"), "a");
    const chunk = Buffer.alloc(CHUNK_BYTES);
    try {
      for (let size = CHUNK_BYTES; size >= 1; ) {
        try {
          if (writeSync(file, chunk, 0, size) < size) size >>= 1;
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
          size >>= 1;
        }
      }
    } finally {
      closeSync(file);
    }
  }

  empty(): void {
    rmSync(this.#here("filler"), { force: true });
  }

  /** What still runs there keeps it until it ends. */
  async close(): Promise<void> {
    this.#holder.ref();
    this.#holder.stdin?.end();
    if (this.#holder.exitCode === null && this.#holder.signalCode === null) await once(this.#holder, "exit");
  }

  /** A path of the disk for this process. */
  #here(name = ""): string {
    return join(`/proc/${this.#pid}/root`, this.dir, name);
  }
}

function isRoot(): boolean {
  return process.getuid?.() === 0;
}

function flags(): readonly string[] {
  return isRoot() ? ["--mount"] : ["--user", "--map-root-user", "--mount"];
}
