/** Starts and stops a swarm that belongs to this program. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const PROGRAM = fileURLToPath(new URL("./swarm.mjs", import.meta.url));
/** Makes the program choose a home of its own. */
const NEW_HOME = "-";
/** Kept of what the swarm says on stderr, for an error message. */
const TAIL_CHARS = 2_000;

type Told = { readonly type: "ready"; readonly home: string } | { readonly type: "failed"; readonly message: string };

export class EmbeddedSwarm {
  readonly home: string;
  readonly pid: number;
  /** Aborted, with an error that says why, when the swarm ends without having been told to. */
  readonly lost: AbortSignal;
  readonly #child: ChildProcess;
  readonly #modules: readonly string[];
  #ordered = false;

  private constructor(home: string, modules: readonly string[], child: ChildProcess, said: () => string) {
    this.home = home;
    this.pid = child.pid ?? 0;
    this.#modules = modules;
    this.#child = child;
    const lost = new AbortController();
    this.lost = lost.signal;
    child.once("exit", (code, signal) => {
      if (!this.#ordered) lost.abort(ended(code, signal, said()));
    });
  }

  /**
   * Resolves when the swarm takes tasks for the agents of `modules`.
   *
   * @throws Error with what the swarm says, if it cannot start; nothing is left of it then
   */
  static async start(modules: readonly string[]): Promise<EmbeddedSwarm> {
    return await EmbeddedSwarm.#startOn(NEW_HOME, modules);
  }

  static async #startOn(home: string, modules: readonly string[]): Promise<EmbeddedSwarm> {
    // A group of its own: Ctrl-C is for this program, which tells the swarm in its own time.
    const child = spawn(process.execPath, [PROGRAM, home, ...modules], {
      detached: true,
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    let tail = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      tail = (tail + text).slice(-TAIL_CHARS);
    });
    const told = await firstWord(child, () => tail);
    if (told.type === "failed") throw new Error(told.message);
    return new EmbeddedSwarm(told.home, modules, child, () => tail);
  }

  /** Stops everything, and resolves when nothing is left of it. Idempotent. */
  async stop(): Promise<void> {
    const over = this.#child.exitCode !== null || this.#child.signalCode !== null;
    const ordered = this.#ordered;
    this.#ordered = true;
    if (!over) {
      const exited = once(this.#child, "exit");
      if (!ordered && this.#child.connected) this.#child.send("stop");
      await exited;
    } else if (!ordered) {
      // It was killed, so its nats-server was not stopped: a successor on the same home takes that over, and stops it.
      await (await EmbeddedSwarm.#startOn(this.home, this.#modules)).stop();
    }
  }

  /** Lets go of the swarm: it goes on without this program, until it is sent a SIGTERM. */
  async keep(): Promise<void> {
    this.#ordered = true;
    const parted = once(this.#child, "disconnect");
    this.#child.send("keep");
    await parted;
    this.#child.stderr?.destroy();
    this.#child.unref();
  }
}

/** What the swarm says first. Rejects if it cannot be started, or ends before. */
function firstWord(child: ChildProcess, said: () => string): Promise<Told> {
  return new Promise((resolve, reject) => {
    child.once("message", (message) => resolve(message as Told));
    child.once("error", reject);
    child.once("exit", (code, signal) => reject(ended(code, signal, said())));
  });
}

function ended(code: number | null, signal: NodeJS.Signals | null, said: string): Error {
  const last = said.trimEnd().split("\n").slice(-5).join("\n  ");
  return new Error(
    `the swarm ended with ${signal ?? `code ${code}`}${last === "" ? "" : `, and said last:\n  ${last}`}`,
  );
}
