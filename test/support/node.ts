/** `bin/vgas up` and `bin/vgas join` as processes, until they are ready and until they end. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export const BIN = fileURLToPath(new URL("../../bin/vgas", import.meta.url));

/** The `ready` line of `up` and `join`. */
export interface Ready {
  readonly url: string;
  readonly http: string;
  readonly hostId: string;
}

/** A process that is to become a node. */
export interface Launched {
  readonly child: ChildProcess;
  readonly home: string;
  /** Everything it wrote to stderr. */
  log(): string;
  /** Resolves when what it wrote to stderr matches; rejects if it ends before. */
  said(pattern: RegExp): Promise<RegExpExecArray>;
  /** Rejects with what it wrote to stderr if it ends before it is ready. */
  readonly ready: Promise<Node>;
  /** The exit code, or the signal's name. */
  readonly ended: Promise<number | string>;
  /** Sends `signal` and waits for the end. */
  kill(signal?: NodeJS.Signals): Promise<number | string>;
}

/** A running `vgas up` or `vgas join`. */
export interface Node extends Ready, Omit<Launched, "ready"> {}

/** `enter` makes the command line that runs another one on the machine that is meant; without it, on this one. */
export function launchNode(
  args: readonly string[],
  home: string,
  enter: (argv: readonly string[]) => readonly string[] = (argv) => argv,
): Launched {
  const [file = "", ...rest] = enter([process.execPath, BIN, ...args, "--home", home, "--json"]);
  const child = spawn(file, rest, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, NO_COLOR: "1" } });
  let stderr = "";
  const listeners = new Set<() => void>();
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
    for (const listener of [...listeners]) listener();
  });
  const closed = once(child, "close");
  const ended = closed.then(() => child.exitCode ?? child.signalCode ?? "unknown");
  const early = (what: string) => async (): Promise<never> => {
    throw new Error(`vgas ${args.join(" ")} ended (${await ended}) before ${what}:\n${stderr}`);
  };
  const launched = {
    child,
    home,
    ended,
    log: () => stderr,
    said: async (pattern: RegExp) => {
      const matched = new Promise<RegExpExecArray>((resolve) => {
        const look = (): void => {
          const match = pattern.exec(stderr);
          if (match === null) return;
          listeners.delete(look);
          resolve(match);
        };
        listeners.add(look);
        look();
      });
      return await Promise.race([matched, closed.then(early(`it said ${pattern}`))]);
    },
    kill: async (signal: NodeJS.Signals = "SIGTERM") => {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      return await ended;
    },
  };
  const line = Promise.race([once(createInterface(child.stdout), "line"), closed.then(early("it was ready"))]);
  const ready = line.then(([text]) => ({ ...launched, ...(JSON.parse(String(text)) as Ready) }));
  // Who only waits for its end has no use for this.
  ready.catch(() => undefined);
  return { ...launched, ready };
}
