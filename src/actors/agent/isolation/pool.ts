/**
 * Runs isolated behaviours: one process per running task, each the leader of a process group of its own.
 *
 * Owns: the processes, those that wait for their next task included.
 *
 * 1. A process runs one task at a time, and only of one module.
 * 2. What has not ended soon after its abort is killed with everything that it started. So is everything at `stop`.
 * 3. A run settles when its process has answered or is gone: its slot is never free while it still works.
 */
import type { VaultCaller } from "../../../bus/sealed/vault-caller.ts";
import type { Clock, Timer } from "../../../protocols/clock.ts";
import type { Logger } from "../../../protocols/logger.ts";
import type { RunContext } from "../context.ts";
import type { Task } from "../definition.ts";
import type { Run } from "../run.ts";
import { AgentProcess } from "./child.ts";
import type { ModuleAgent } from "./messages.ts";

/** From an abort to the kill, ms: time to put things in order. */
const KILL_AFTER_MS = 2_000;
/** A process without a task ends after this, ms. */
const IDLE_MS = 60_000;

export interface IsolationOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly vault?: VaultCaller | undefined;
}

export class IsolationPool {
  readonly #options: IsolationOptions;
  readonly #all = new Set<AgentProcess>();
  readonly #idle = new Map<AgentProcess, Timer>();
  #stopped = false;

  constructor(options: IsolationOptions) {
    this.#options = options;
  }

  /** Pids of the processes that there are. */
  get pids(): readonly number[] {
    return [...this.#all].flatMap(({ pid }) => (pid === undefined ? [] : [pid]));
  }

  /**
   * Runs one task and resolves with its output.
   *
   * @throws what the behaviour threw, as it crosses a process; VgasError AGENT_CRASHED; the reason of the run's abort
   */
  async run(module: ModuleAgent, task: Task, context: RunContext, run: Run): Promise<unknown> {
    const { clock } = this.#options;
    const { signal } = context;
    signal.throwIfAborted();
    const child = this.#take(module);
    let killer: Timer | undefined;
    const abort = (): void => {
      child.abort(signal.reason);
      killer = clock.setTimeout(() => child.kill(), KILL_AFTER_MS);
    };
    signal.addEventListener("abort", abort, { once: true });
    try {
      return await child.run(module, task, context, run);
    } finally {
      signal.removeEventListener("abort", abort);
      clock.clear(killer);
      this.#put(child);
    }
  }

  /** Processes that hold the old code of a module take no further task. */
  retire(file: string): void {
    for (const child of this.#all) {
      if (child.file !== file) continue;
      child.retired = true;
      if (this.#idle.has(child)) child.kill();
    }
  }

  /** Kills what there is. Idempotent. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const child of this.#all) child.kill();
    await Promise.all([...this.#all].map((child) => child.gone));
  }

  #take({ file }: ModuleAgent): AgentProcess {
    for (const [child, timer] of this.#idle) {
      if (child.file !== file || !child.usable) continue;
      this.#options.clock.clear(timer);
      this.#idle.delete(child);
      return child;
    }
    const child = new AgentProcess(file, this.#options);
    this.#all.add(child);
    void child.gone.then(() => {
      this.#all.delete(child);
      this.#options.clock.clear(this.#idle.get(child));
      this.#idle.delete(child);
    });
    return child;
  }

  #put(child: AgentProcess): void {
    if (!child.usable || this.#stopped) child.kill();
    else
      this.#idle.set(
        child,
        this.#options.clock.setTimeout(() => child.kill(), IDLE_MS),
      );
  }
}
