/** What an isolated behaviour holds while it runs: everything it does goes to the node. */
import { encode } from "../../../bus/codec/codec.ts";
import type { Clock } from "../../../protocols/clock.ts";
import type { Logger } from "../../../protocols/logger.ts";
import type { Usage } from "../../../protocols/vault/keys.ts";
import { fromWireError } from "../../../protocols/wire-error.ts";
import type { TaskContext } from "../definition.ts";
import type { TaskVault } from "../task-vault.ts";
import { VaultAccess, type VaultPort, type VaultRun } from "../vault-access.ts";
import type { FromProcess, Question, RunMessage, ToProcess, VaultAnswer } from "./messages.ts";

interface Open {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

export class ProcessContext implements TaskContext, VaultRun {
  readonly run: number;
  readonly attempt: number;
  readonly ticket: number;
  readonly agent: string;
  readonly host: string;
  readonly traceparent: string | undefined;
  readonly restored: unknown;
  readonly providers: readonly string[];
  readonly grant: Uint8Array | undefined;
  readonly log: Logger;
  readonly #send: (message: FromProcess) => void;
  readonly #clock: Clock;
  readonly #controller = new AbortController();
  readonly #open = new Map<number, Open>();
  #asked = 0;
  #vault: TaskVault | undefined;
  #usage: Usage | undefined;
  #atEnd: ((abortedBy: Error | undefined) => void) | undefined;
  ended = false;

  constructor(message: RunMessage, send: (message: FromProcess) => void, clock: Clock) {
    const { run, attempt, ticket, agent, host, traceparent, restored, providers, grant } = message;
    this.run = run;
    this.attempt = attempt;
    this.ticket = ticket;
    this.agent = agent;
    this.host = host;
    this.traceparent = traceparent;
    this.restored = restored;
    this.providers = providers;
    this.grant = grant;
    this.#send = send;
    this.#clock = clock;
    const line = (level: keyof Logger) => (fields: object, text: string) => this.#log(level, fields, text);
    this.log = { debug: line("debug"), info: line("info"), warn: line("warn"), error: line("error") };
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get vault(): TaskVault {
    this.#vault ??= new VaultAccess({ run: this, caller: this.#port(), clock: this.#clock, random: Math.random });
    return this.#vault;
  }

  /** What was used through the vault; the node counts it as it comes, so that a crash loses nothing. */
  get usage(): Usage | undefined {
    return this.#usage;
  }

  set usage(usage: Usage | undefined) {
    this.#usage = usage;
    if (usage !== undefined) this.#send({ type: "usage", run: this.run, usage });
  }

  progress(data: unknown): void {
    this.#send({ type: "progress", run: this.run, data: encode(data) });
  }

  output(chunk: unknown): void {
    this.#send({ type: "output", run: this.run, data: encode(chunk) });
  }

  async checkpoint(state: unknown): Promise<void> {
    await this.#ask({ what: "checkpoint", state: encode(state) });
  }

  onEnd(listener: (abortedBy: Error | undefined) => void): void {
    this.#atEnd = listener;
  }

  abort(reason: Error): void {
    this.over(reason);
    this.#controller.abort(reason);
  }

  /** The attempt is over. */
  over(abortedBy?: Error): void {
    if (this.ended) return;
    this.ended = true;
    this.#atEnd?.(abortedBy);
  }

  answered(message: Extract<ToProcess, { n: number }>): void {
    const open = this.#open.get(message.n);
    this.#open.delete(message.n);
    if (message.type === "answer") open?.resolve(message.value);
    else open?.reject(fromWireError(message.error));
  }

  #log(level: keyof Logger, fields: object, message: string): void {
    try {
      this.#send({ type: "log", run: this.run, level, fields, message });
    } catch {
      // A field that no other process can be given.
      this.#send({ type: "log", run: this.run, level, fields: { fields: String(fields) }, message });
    }
  }

  async #ask(question: Question, signal?: AbortSignal): Promise<unknown> {
    signal?.throwIfAborted();
    const n = this.#asked++;
    let stop: () => void = () => undefined;
    try {
      return await new Promise((resolve, reject) => {
        this.#open.set(n, { resolve, reject });
        stop = () => {
          this.#send({ type: "drop", run: this.run, n });
          reject(signal?.reason);
        };
        signal?.addEventListener("abort", stop);
        this.#send({ type: "ask", run: this.run, n, question });
      });
    } finally {
      signal?.removeEventListener("abort", stop);
      this.#open.delete(n);
    }
  }

  /** The vault by way of the node. A leased key is sealed for this process: the node does not see it. */
  #port(): VaultPort {
    let aheadMs = 0;
    return {
      call: async (op, args, { timeoutMs, signal }) => {
        const question = { what: "vault", op, args, timeoutMs } as Question;
        const answer = (await this.#ask(question, signal)) as VaultAnswer;
        aheadMs = answer.aheadMs;
        return answer as never;
      },
      remainingMs: (vaultTime) => vaultTime - this.#clock.now() + aheadMs,
    };
  }
}
