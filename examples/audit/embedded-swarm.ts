/** Starts and stops a swarm that belongs to this program. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const PROGRAM = fileURLToPath(new URL("./swarm.mjs", import.meta.url));

type Told = { readonly type: "ready"; readonly hostId: string } | { readonly type: "failed"; readonly message: string };

export class EmbeddedSwarm {
  readonly home: string;
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #modules: readonly string[];
  #ordered = false;
  /** Aborted, with an error that says why, when the swarm ends without having been told to. */
  readonly lost: AbortSignal;

  private constructor(home: string, modules: readonly string[], child: ChildProcess) {
    this.home = home;
    this.pid = child.pid ?? 0;
    this.#modules = modules;
    this.#child = child;
    const lost = new AbortController();
    this.lost = lost.signal;
    child.once("exit", (code, signal) => {
      if (!this.#ordered) lost.abort(new Error(`the swarm ended with ${signal ?? `code ${code}`}${tail(logOf(home))}`));
    });
  }

  /**
   * Resolves when the swarm takes tasks for the agents of `modules`.
   *
   * @throws Error with what the swarm says, if it cannot start; nothing is left of it then
   */
  static async start(modules: readonly string[]): Promise<EmbeddedSwarm> {
    return await EmbeddedSwarm.#startOn(mkdtempSync(join(tmpdir(), "vgas-audit-")), modules);
  }

  static async #startOn(home: string, modules: readonly string[]): Promise<EmbeddedSwarm> {
    const log = openSync(logOf(home), "a", 0o600);
    // A group of its own: Ctrl-C is for this program, which tells the swarm in its own time.
    const child = spawn(process.execPath, [PROGRAM, home, ...modules], {
      detached: true,
      stdio: ["ignore", log, log, "ipc"],
    });
    closeSync(log);
    const swarm = new EmbeddedSwarm(home, modules, child);
    try {
      const first = await firstWord(child, swarm.lost);
      if (first.type === "failed") throw new Error(first.message);
      return swarm;
    } catch (error) {
      swarm.#ordered = true;
      await rm(home, { recursive: true, force: true });
      throw error;
    }
  }

  /** Stops everything, and resolves when nothing is left of it. Idempotent. */
  async stop(): Promise<void> {
    if (this.#isOver) {
      // It was killed, so its nats-server was not stopped: a successor on the same home takes that over, and stops it.
      if (!this.#ordered) await (await EmbeddedSwarm.#startOn(this.home, this.#modules)).stop();
    } else {
      const exited = once(this.#child, "exit");
      if (!this.#ordered && this.#child.connected) this.#child.send("stop");
      this.#ordered = true;
      await exited;
    }
    await rm(this.home, { recursive: true, force: true });
  }

  /** Lets go of the swarm: it goes on without this program, until it is sent a SIGTERM. */
  async keep(): Promise<void> {
    this.#ordered = true;
    const parted = once(this.#child, "disconnect");
    this.#child.send("keep");
    await parted;
    this.#child.unref();
  }

  get #isOver(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }
}

/** What the swarm says first. Rejects if it cannot be started, or ends before. */
function firstWord(child: ChildProcess, lost: AbortSignal): Promise<Told> {
  return new Promise((resolve, reject) => {
    child.once("message", (message) => resolve(message as Told));
    child.once("error", reject);
    lost.addEventListener("abort", () => reject(lost.reason));
  });
}

function logOf(home: string): string {
  return join(home, "swarm.log");
}

/** The last lines of a log, for an error message. */
function tail(path: string): string {
  try {
    const lines = readFileSync(path, "utf8").trimEnd().split("\n").slice(-5).join("\n  ");
    return lines === "" ? "" : `, and said last:\n  ${lines}`;
  } catch {
    return "";
  }
}
