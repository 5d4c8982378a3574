/** One process of an isolated behaviour, as its node sees it. */
import { type ChildProcess, spawn } from "node:child_process";
import { decode } from "../../../bus/codec/codec.ts";
import type { VaultCaller } from "../../../bus/sealed/vault-caller.ts";
import { entryArguments } from "../../../entry.ts";
import { TaskError, VgasError } from "../../../protocols/errors.ts";
import type { Logger } from "../../../protocols/logger.ts";
import { toWireError } from "../../../protocols/wire-error.ts";
import type { RunContext } from "../context.ts";
import type { Task } from "../definition.ts";
import type { Run } from "../run.ts";
import { Lines } from "./lines.ts";
import type { FromProcess, ModuleAgent, Question, ToProcess, VaultAnswer } from "./messages.ts";
import type { IsolationOptions } from "./pool.ts";

/** The task that a process runs. */
interface Current {
  readonly n: number;
  readonly context: RunContext;
  readonly run: Run;
  readonly asks: Map<number, AbortController>;
  resolve(output: unknown): void;
  reject(error: unknown): void;
}

export class AgentProcess {
  readonly file: string;
  /** Resolves when it has ended. */
  readonly gone: Promise<void>;
  /** It takes no further task. */
  retired = false;
  readonly #child: ChildProcess;
  /** Of the last task: what a process says between two belongs to the first of them. */
  #log: Logger;
  readonly #vault: VaultCaller | undefined;
  #current: Current | undefined;
  #runs = 0;
  #ended = false;

  constructor(file: string, { logger, vault }: IsolationOptions) {
    this.file = file;
    this.#log = logger;
    this.#vault = vault;
    this.#child = spawn(
      process.execPath,
      [...entryArguments("agent-process", "./actors/agent/isolation/agent-process.ts"), String(process.pid)],
      {
        detached: true,
        serialization: "advanced",
        stdio: ["ignore", "pipe", "pipe", "ipc"],
      },
    );
    this.#child.on("message", (message) => this.#received(message as FromProcess));
    for (const stream of ["stdout", "stderr"] as const) {
      const lines = new Lines((line) => this.#said(stream, line));
      this.#child[stream]
        ?.setEncoding("utf8")
        .on("data", (text: string) => lines.add(text))
        .on("end", () => lines.end());
    }
    this.gone = new Promise((resolve) => {
      const over = (how: string): void => {
        if (this.#ended) return;
        this.#ended = true;
        // What the behaviour started is not to outlive it.
        this.kill();
        this.#fail(new VgasError("AGENT_CRASHED", `the process of the behaviour ended ${how} before it had answered`));
        resolve();
      };
      this.#child.once("exit", (code, signal) => over(signal === null ? `with exit code ${code}` : `by ${signal}`));
      this.#child.once("error", (error) => {
        if (this.#child.pid === undefined) over(`at its start: ${error.message}`);
      });
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get usable(): boolean {
    return !this.#ended && !this.retired && this.#child.connected;
  }

  async run(module: ModuleAgent, task: Task, context: RunContext, run: Run): Promise<unknown> {
    const n = this.#runs++;
    const { attempt, ticket, agent, host, traceparent, restored } = context;
    const { providers, grant } = run;
    return await new Promise((resolve, reject) => {
      this.#log = context.log;
      this.#current = { n, context, run, asks: new Map(), resolve, reject };
      const about = { attempt, ticket, agent, host, traceparent, restored, providers, grant };
      this.#send({ type: "run", run: n, module, task, ...about });
    });
  }

  abort(reason: unknown): void {
    if (this.#current) this.#send({ type: "abort", run: this.#current.n, error: toWireError(reason) });
  }

  /** Ends it with everything that it started. */
  kill(): void {
    const { pid } = this.#child;
    if (pid === undefined) return;
    try {
      process.kill(-pid, "SIGKILL");
    } catch {
      // It is gone.
    }
  }

  #send(message: ToProcess): void {
    // A message that does not arrive is followed by the end of the process.
    if (this.#child.connected) this.#child.send(message, () => undefined);
  }

  #received(message: FromProcess): void {
    const current = this.#current;
    if (current === undefined || message.run !== current.n) return;
    const { context, run } = current;
    try {
      if (message.type === "progress") context.progress(decode(message.data));
      else if (message.type === "output") context.output(decode(message.data));
      else if (message.type === "log") context.log[message.level]({ ...message.fields }, message.message);
      else if (message.type === "usage") run.usage = run.ended ? run.usage : message.usage;
      else if (message.type === "ask") void this.#answer(current, message.n, message.question);
      else if (message.type === "drop") current.asks.get(message.n)?.abort();
      else if (message.type === "ended") {
        const output = message.output && decode(message.output);
        this.#over(current).resolve(output);
      } else if (message.type === "failed") {
        const { code, message: text, retryable } = message.error;
        this.#fail(new TaskError(code, text, { retryable }));
      }
    } catch (error) {
      context.log.warn({ error: String(error) }, `what the behaviour sent as ${message.type} was not taken`);
      if (message.type === "ended") this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    if (this.#current) this.#over(this.#current).reject(error);
  }

  #over(current: Current): Current {
    this.#current = undefined;
    for (const ask of current.asks.values()) ask.abort();
    return current;
  }

  async #answer(current: Current, n: number, question: Question): Promise<void> {
    const controller = new AbortController();
    current.asks.set(n, controller);
    try {
      const value = await this.#ask(current, question, controller.signal);
      this.#send({ type: "answer", n, value });
    } catch (error) {
      this.#send({ type: "refusal", n, error: toWireError(error) });
    } finally {
      current.asks.delete(n);
    }
  }

  async #ask({ context, run }: Current, question: Question, signal: AbortSignal): Promise<unknown> {
    if (question.what === "checkpoint") return await context.checkpoint(decode(question.state));
    run.throwIfEnded();
    const caller = this.#vault;
    if (caller === undefined) throw new VgasError("CONFIG", "this node has no credential of the swarm");
    const { op, args, timeoutMs } = question;
    // In the node's name, but only with the grant of the task that runs.
    const own = "grant" in args ? { ...args, grant: run.grant } : args;
    if (op !== "lease" && op !== "call")
      throw new VgasError("PERMISSION_DENIED", `a behaviour may not ask for vault.${op}`);
    const { reply, digest } = await caller.call(op, own as never, { timeoutMs, signal });
    return { reply, digest, aheadMs: caller.remainingMs(Date.now()) } satisfies VaultAnswer;
  }

  #said(stream: "stdout" | "stderr", line: string): void {
    this.#log.info({ stream, module: this.file }, line);
  }
}
