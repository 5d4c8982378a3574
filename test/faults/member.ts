/**
 * A process of a world, started again and again under one name.
 *
 * 1. What it writes to stderr is appended to one file of the world for all its lives.
 * 2. An end that nobody here asked for is told as such; the world starts it again.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { moment } from "./history.ts";
import type { Member } from "./world.ts";

/** `asked`: by `kill` or `stop`. `away`: it found no broker when it began. `stoppedAt`: when SIGTERM was sent. */
export interface End {
  readonly asked: boolean;
  readonly away: boolean;
  readonly stoppedAt?: number;
}

/** Who wants to know of starts and ends. */
export interface Watcher {
  started(member: ChildMember): void;
  ended(member: ChildMember, code: number | string, how: End): void;
  /** A line of its stderr. */
  line(member: ChildMember, line: string): void;
}

export type Role = "dispatcher" | "host" | "node" | "broker" | "client";

export interface ChildOptions {
  readonly name: string;
  readonly role: Role;
  readonly logFile: string;
  readonly watcher: Watcher;
  /** Whether it reads its standard input. */
  readonly input?: boolean;
  /** The command line of the next start. */
  argv(): readonly string[];
  /** Its environment; what `start` is given comes on top. */
  environment?(): Readonly<Record<string, string>>;
  /** Whether this line, of stdout or stderr, says that it is ready. */
  ready(line: string): boolean;
}

/** Exit codes of a node that, as it starts, reaches no broker (NO_SWARM), or one that stands still (TIMEOUT). */
const NO_BROKER: readonly (number | string | null)[] = [69, 5];
/** How long one that finds no broker is started again. */
const SERVICE_MS = 60_000;
const living = new Set<ChildProcess>();
const others: (() => void)[] = [];
process.once("exit", () => {
  for (const child of living) child.kill("SIGKILL");
  for (const kill of others) kill();
});

/** For what a child leaves behind: `kill` is called when this process ends, after its children were killed. */
export function killedAtExit(kill: () => void): void {
  others.push(kill);
}

export class ChildMember implements Member {
  readonly name: string;
  readonly role: Role;
  readonly #options: ChildOptions;
  #child: ChildProcess | undefined;
  #starting: Promise<void> | undefined;
  #ended: Promise<number | string> = Promise.resolve(0);
  #asked = false;
  #stoppedAt: number | undefined;
  #ready = false;
  #log = "";
  readonly #away = new Set<number>();
  /** Lives so far. */
  starts = 0;

  constructor(options: ChildOptions) {
    this.name = options.name;
    this.role = options.role;
    this.#options = options;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  get alive(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  log(): string {
    return this.#log;
  }

  foundNoBroker(pid: number): boolean {
    return this.#away.has(pid);
  }

  signal(signal: NodeJS.Signals): void {
    if (this.#child?.kill(signal) !== true) throw new Error(`${this.name} does not run: no ${signal} for it`);
  }

  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  async stop(): Promise<number | string> {
    return await this.#end("SIGTERM");
  }

  /** Writes a line to its standard input. */
  tell(line: string): void {
    this.#child?.stdin?.write(`${line}\n`);
  }

  /** The exit code, or the signal's name, of the life that runs or ran last. */
  get ended(): Promise<number | string> {
    return this.#ended;
  }

  start(environment: Readonly<Record<string, string>> = {}): Promise<void> {
    if (this.#starting === undefined && this.alive) return Promise.resolve();
    this.#starting ??= this.#begin(environment).finally(() => {
      this.#starting = undefined;
    });
    return this.#starting;
  }

  /** As whoever runs it as a service would: one that finds no broker is started again. */
  async #begin(environment: Readonly<Record<string, string>>): Promise<void> {
    for (const end = moment() + SERVICE_MS; ; ) {
      try {
        await this.#spawn(environment);
        return;
      } catch (error) {
        if (this.#asked || moment() > end || !NO_BROKER.includes(await this.#ended)) throw error;
      }
    }
  }

  async #spawn(environment: Readonly<Record<string, string>>): Promise<void> {
    const { argv, input = false, watcher, ready } = this.#options;
    this.starts++;
    this.#asked = false;
    this.#stoppedAt = undefined;
    this.#ready = false;
    this.#log = "";
    const [file = "", ...args] = argv();
    const env = { ...process.env, NO_COLOR: "1", ...this.#options.environment?.(), ...environment };
    const child = spawn(file, args, { stdio: [input ? "pipe" : "ignore", "pipe", "pipe"], env });
    // Whoever writes to one that has just ended learns of the end otherwise.
    child.stdin?.on("error", () => undefined);
    this.#child = child;
    living.add(child);
    this.#ended = once(child, "close").then(() => child.exitCode ?? child.signalCode ?? "unknown");
    const gone = once(child, "exit").then(() => {
      living.delete(child);
      const stopped = this.#stoppedAt === undefined ? {} : { stoppedAt: this.#stoppedAt };
      const away = !this.#ready && NO_BROKER.includes(child.exitCode);
      if (away) this.#away.add(child.pid ?? 0);
      watcher.ended(this, child.exitCode ?? child.signalCode ?? "unknown", {
        asked: this.#asked,
        away,
        ...stopped,
      });
    });
    watcher.started(this);
    const heard = new Promise<void>((resolve) => {
      const listen = (line: string): void => {
        if (!ready(line)) return;
        this.#ready = true;
        resolve();
      };
      if (child.stdout) createInterface(child.stdout).on("line", listen);
      if (child.stderr)
        createInterface(child.stderr).on("line", (line) => {
          this.#log += `${line}\n`;
          appendFileSync(this.#options.logFile, `${line}\n`);
          listen(line);
          watcher.line(this, line);
        });
    });
    const early = gone.then(() => {
      throw new Error(`${this.name} ended before it was ready:\n${this.#log.slice(-2_000)}`);
    });
    early.catch(() => undefined);
    await Promise.race([heard, early]);
  }

  async #end(signal: NodeJS.Signals): Promise<number | string> {
    if (!this.alive) return await this.#ended;
    this.#asked = true;
    // One that has only just been started cannot hear it yet, and has nothing to give back: it is not stopped, it is ended.
    if (signal === "SIGTERM" && this.#ready) this.#stoppedAt = moment();
    this.#child?.kill(signal);
    return await this.#ended;
  }
}
