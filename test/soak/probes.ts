/** What the processes of the soak hold: their own account after a garbage collection (probe.mjs), and what /proc says of any process. */
import { mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";

/** What one process says of itself after a garbage collection; bytes. */
interface Held {
  readonly round: number;
  readonly heapUsed: number;
  readonly external: number;
  /** Of its worker threads. */
  readonly threads: readonly { readonly heapUsed: number; readonly external: number }[];
  /** What keeps its event loop busy, by type: timers, sockets and so on. */
  readonly resources: Readonly<Record<string, number>>;
}

/** One process at one moment; bytes. `heap`, `external`, `timers` only of processes with the probe. */
export interface Sample {
  readonly pid: number;
  readonly rss: number;
  readonly threads: number;
  readonly files: number;
  readonly sockets: number;
  readonly heap?: number;
  readonly external?: number;
  readonly timers?: number;
}

/** How long a process may take to answer; one that is stopped never does. */
const ANSWER_MS = 30_000;
const LOOK_MS = 100;

export class Probes {
  readonly dir: string;

  constructor(dir: string) {
    this.dir = dir;
    mkdirSync(dir, { recursive: true });
  }

  /** What a process needs in its environment so that it can be asked. */
  get environment(): Readonly<Record<string, string>> {
    const probe = pathToFileURL(fileURLToPath(new URL("probe.mjs", import.meta.url))).href;
    return { NODE_OPTIONS: `--import ${probe}`, VGAS_SOAK_PROBES: this.dir };
  }

  /** `pid` after a garbage collection. @throws if it is gone, or does not answer */
  async held(pid: number): Promise<Sample> {
    const before = this.#read(pid)?.round ?? 0;
    process.kill(pid, "SIGUSR2");
    const deadline = performance.now() + ANSWER_MS;
    for (;;) {
      const now = this.#read(pid);
      if (now !== undefined && now.round > before) return { ...seen(pid), ...summary(now) };
      if (performance.now() > deadline) throw new Error(`process ${pid} did not say in time what it holds`);
      await pause(LOOK_MS);
    }
  }

  close(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }

  #read(pid: number): Held | undefined {
    try {
      return JSON.parse(readFileSync(join(this.dir, `${pid}.json`), "utf8")) as Held;
    } catch {
      return undefined;
    }
  }
}

function summary({ heapUsed, external, threads, resources }: Held): Pick<Sample, "heap" | "external" | "timers"> {
  return {
    heap: threads.reduce((sum, thread) => sum + thread.heapUsed, heapUsed),
    external: threads.reduce((sum, thread) => sum + thread.external, external),
    timers: resources["Timeout"] ?? 0,
  };
}

/** What the kernel says of `pid`. @throws if it is gone, or is just going */
export function seen(pid: number): Sample {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const number = (name: string): number => {
    const found = new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1];
    if (found === undefined) throw new Error(`process ${pid} has no ${name}`);
    return Number(found);
  };
  const dir = `/proc/${pid}/fd`;
  const targets = readdirSync(dir).map((fd) => {
    try {
      return readlinkSync(join(dir, fd));
    } catch {
      // Closed since it was listed.
      return undefined;
    }
  });
  const open = targets.filter((target) => target !== undefined);
  const sockets = open.filter((target) => target.startsWith("socket:")).length;
  return { pid, rss: number("VmRSS") * 1_024, threads: number("Threads"), files: open.length - sockets, sockets };
}
