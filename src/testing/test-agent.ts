/** Runs an agent against a task as a swarm would, in this process and without one. */
import { type Backoff, pauseAfter } from "../actors/agent/backoff.ts";
import type { AgentDefinition } from "../actors/agent/definition.ts";
import { type ResolvedAgent, resolveAgent } from "../actors/agent/resolve.ts";
import { Run, type RunHooks, type RunOutcome } from "../actors/agent/run.ts";
import { encode } from "../bus/codec/codec.ts";
import { LaneMeter } from "../metrics/lane-meters.ts";
import { type Clock, type Random, systemClock } from "../protocols/clock.ts";
import { VgasError } from "../protocols/errors.ts";
import type { Logger } from "../protocols/logger.ts";
import type { TaskEvent, TaskResult } from "../protocols/result.ts";
import { parseEnvelope, type TaskFields } from "../protocols/task.ts";
import { toWireError, type WireError } from "../protocols/wire-error.ts";
import { asSent, type Kept, TestContext } from "./test-context.ts";

/** A task as it would be submitted; fields that vgas does not know reach the behaviour as `task.extra`. */
export interface TestTask extends Omit<TaskFields, "replyTo" | "inputRef" | "contextRef" | "priority" | "notBefore"> {
  /** Needed where the agent has several. */
  readonly kind?: string;
  readonly [extra: string]: unknown;
}

/** What stands for the vault. As in a swarm, an agent gets only what it declares in `providers`. */
export interface TestVault {
  /** Keys by provider, for `ctx.vault.lease`. */
  readonly keys?: Readonly<Record<string, string>>;
  /** Answers `ctx.vault.fetch`. */
  readonly fetch?: (provider: string, request: Request) => Response | Promise<Response>;
}

export interface TestOptions {
  /** What an attempt before the first of this test has stored: the test begins with attempt 2 then. */
  readonly restored?: unknown;
  readonly vault?: TestVault;
  /** Cancels the task when it fires. */
  readonly signal?: AbortSignal;
  /** For the pauses of the backoff, which are told and not waited for. Default: 0, the shortest. */
  readonly random?: Random;
}

export interface LogLine {
  readonly level: keyof Logger;
  readonly message: string;
  /** With those that bind it to its task: `task`, `kind`, `attempt`. */
  readonly fields: Readonly<Record<string, unknown>>;
}

export interface TestAttempt {
  readonly attempt: number;
  /** What it failed with, if it did. */
  readonly error?: WireError;
  /** How long the swarm would wait for the next one, ms. */
  readonly delayMs?: number;
}

/** What came of the task. Everything is as it arrives where it would be sent to. */
export interface TestRun<Output = unknown> {
  readonly result: TaskResult<Output>;
  readonly events: readonly TaskEvent[];
  readonly log: readonly LogLine[];
  /** The states that were stored, the oldest first. */
  readonly checkpoints: readonly unknown[];
  readonly attempts: readonly TestAttempt[];
}

/**
 * Runs the agent until the task has its result: the input checked by the agent's schema, with the task's timeout, with every
 * attempt that its failures leave. The pauses between attempts are skipped. An agent with `isolation` runs in this process too.
 *
 * @throws VgasError CONFIG for a definition that cannot be used, INVALID for a task that would be refused
 */
export async function testAgent<Output>(
  definition: AgentDefinition<never, Output> | AgentDefinition<unknown, Output>,
  task: TestTask = {},
  options: TestOptions = {},
): Promise<TestRun<Output>> {
  const agent = resolveAgent(definition, { pool: "default", slots: 1 }, "the agent", { file: "", index: 0 });
  return (await new Trial({ ...agent, isolated: undefined }, task, options).run()) as TestRun<Output>;
}

class Trial {
  readonly #agent: ResolvedAgent;
  readonly #options: TestOptions;
  readonly #kept: Kept = { events: [], log: [], checkpoints: [] };
  readonly #attempts: TestAttempt[] = [];
  readonly #clock: Clock;
  readonly #kind: string;
  readonly #id: string;
  readonly #body: Uint8Array;
  readonly #maxAttempts: number;
  readonly #timeoutMs: number;
  readonly #submittedAt: number;
  #skippedMs = 0;

  constructor(agent: ResolvedAgent, task: TestTask, options: TestOptions) {
    this.#agent = agent;
    this.#options = options;
    this.#kind = kindOf(agent, task.kind);
    const { id, maxAttempts, timeoutMs } = parseEnvelope(task, { pool: agent.pool, kind: this.#kind });
    this.#id = id ?? "test";
    this.#maxAttempts = maxAttempts;
    this.#timeoutMs = timeoutMs;
    this.#body = encodeTask(task);
    this.#clock = { ...systemClock, now: () => systemClock.now() + this.#skippedMs };
    this.#submittedAt = this.#clock.now();
  }

  async run(): Promise<TestRun> {
    const { restored } = this.#options;
    if (restored !== undefined) this.#kept.checkpoints.push(asSent(restored));
    for (let attempt = restored === undefined ? 1 : 2; ; attempt++) {
      const run = await this.#attempt(attempt);
      const result = this.#outcomeOf(run);
      if (result) {
        const checkpoints = restored === undefined ? this.#kept.checkpoints : this.#kept.checkpoints.slice(1);
        return { result, ...this.#kept, checkpoints, attempts: this.#attempts };
      }
    }
  }

  async #attempt(attempt: number): Promise<{ readonly run: Run; readonly outcome: RunOutcome }> {
    const { signal } = this.#options;
    const lane = { pool: this.#agent.pool, kind: this.#kind };
    return await new Promise((resolve) => {
      const hooks: RunHooks = {
        clock: this.#clock,
        context: (run) => new TestContext(run, this.#kept, this.#options.vault ?? {}, () => this.#clock.now()),
        resolve: async (_, fields) => fields,
        restore: async (run) => {
          run.restored = this.#kept.checkpoints.at(-1);
        },
        ended: (run, outcome) => {
          signal?.removeEventListener("abort", cancel);
          resolve({ run, outcome });
        },
        released: () => undefined,
      };
      const origin = { lane, dispatcher: "test", meter: new LaneMeter(lane) };
      const { timeoutMs, maxAttempts } = { timeoutMs: this.#timeoutMs, maxAttempts: this.#maxAttempts };
      const run = new Run(
        hooks,
        this.#agent,
        origin,
        [attempt, 0, attempt - 1, attempt, this.#id, this.#submittedAt, timeoutMs, maxAttempts, "", this.#body],
        -1,
      );
      const cancel = (): void => run.cancel(new VgasError("CANCELLED", "the task was cancelled"));
      if (signal?.aborted) cancel();
      else signal?.addEventListener("abort", cancel, { once: true });
      run.start();
    });
  }

  /** The task's result, or undefined if another attempt follows. */
  #outcomeOf({ run, outcome }: { readonly run: Run; readonly outcome: RunOutcome }): TaskResult | undefined {
    const { attempt } = run;
    if (run.cancelled) {
      const error = toWireError(new VgasError("CANCELLED", "the task was cancelled"));
      if (run.startedAt > 0) this.#attempts.push({ attempt, error });
      return this.#result(run, { status: "cancelled", error });
    }
    let error: WireError;
    if (outcome.ok) {
      try {
        const { output } = outcome;
        const result = asSent(this.#result(run, { status: "ok", ...(output !== undefined && { output }) }));
        this.#attempts.push({ attempt });
        return result;
      } catch (thrown) {
        // What cannot be encoded now cannot be encoded by another attempt.
        error = { ...toWireError(thrown), retryable: false };
      }
    } else error = toWireError(outcome.thrown);
    if (!error.retryable || attempt >= run.maxAttempts) {
      this.#attempts.push({ attempt, error });
      return this.#result(run, { status: "failed", error: { ...error, retryable: false } });
    }
    this.#retry(attempt, error, this.#agent.backoff);
    return undefined;
  }

  #retry(attempt: number, error: WireError, backoff: Required<Backoff>): void {
    const delayMs = pauseAfter(attempt, backoff, this.#options.random ?? (() => 0));
    this.#attempts.push({ attempt, error, delayMs });
    this.#kept.events.push({
      id: this.#id,
      type: "retrying",
      at: this.#clock.now(),
      attempt,
      data: { error, delayMs },
    });
    this.#skippedMs += delayMs;
  }

  #result(run: Run, ending: Pick<TaskResult, "status" | "output" | "error">): TaskResult {
    return {
      id: run.id,
      pool: run.lane.pool,
      kind: run.lane.kind,
      ...ending,
      attempt: run.startedAt === 0 ? run.attempt - 1 : run.attempt,
      submittedAt: run.submittedAt,
      ...(run.startedAt > 0 && { startedAt: run.startedAt }),
      finishedAt: this.#clock.now(),
      agent: "test-0",
      host: "test",
      ticket: run.ticket,
      ...(run.replayOf !== undefined && { replayOf: run.replayOf }),
    };
  }
}

function encodeTask(task: TestTask): Uint8Array {
  try {
    return encode(task);
  } catch (cause) {
    throw new VgasError("INVALID", `the task cannot be encoded: ${(cause as Error).message}`, { cause });
  }
}

function kindOf({ kinds }: ResolvedAgent, kind: string | undefined): string {
  const [only] = kinds;
  if (kind === undefined && kinds.length === 1 && only !== undefined) return only;
  if (kind !== undefined && kinds.includes(kind)) return kind;
  throw new VgasError("INVALID", `task.kind must be one of the agent's: ${kinds.join(", ")}; got ${String(kind)}`);
}
