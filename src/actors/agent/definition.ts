/** What a user writes: agents, and what their behaviours get (contract section 7). */
import type { KindLimits } from "../../protocols/host-messages.ts";
import type { Logger } from "../../protocols/logger.ts";
import type { Backoff } from "./backoff.ts";
import type { InputSchema } from "./schema.ts";
import type { TaskVault } from "./task-vault.ts";

/** A task as a behaviour gets it. */
export interface Task<Input = unknown> {
  readonly id: string;
  readonly pool: string;
  readonly kind: string;
  readonly input: Input;
  /** The context snapshot that was bound to the task when it was submitted. */
  readonly context: unknown;
  /** Milliseconds since the epoch. */
  readonly submittedAt: number;
  readonly timeoutMs: number;
  readonly maxAttempts: number;
  /** Fields of the task that vgas does not know. */
  readonly extra: Readonly<Record<string, unknown>>;
}

/** What a behaviour can do while it runs. */
export interface TaskContext {
  /** Aborted at the timeout of the attempt and when the host stops. A behaviour that ignores it keeps its slot. */
  readonly signal: AbortSignal;
  /** Number of this execution, from 1. */
  readonly attempt: number;
  /** Rotation ticket by which this attempt fell to its agent: no other attempt of its lane has the same. */
  readonly ticket: number;
  /** Id of the agent that runs the task. */
  readonly agent: string;
  readonly host: string;
  /** W3C trace context of the task's message, if it had one; its result and events carry it too. */
  readonly traceparent: string | undefined;
  /** Bound to the task: each line carries its id, kind and attempt. */
  readonly log: Logger;
  /**
   * Publishes a `progress` event. Events are not stored.
   *
   * @throws VgasError INVALID_OUTPUT if `data` cannot be encoded, TOO_LARGE if it exceeds a message
   */
  progress(data: unknown): void;
  /**
   * Publishes a chunk of partial output as an `output` event; `data.seq` counts from 0 in each attempt.
   *
   * @throws VgasError INVALID_OUTPUT, TOO_LARGE as `progress`
   */
  output(chunk: unknown): void;
  /**
   * Stores `state`, so that the next attempt begins with it; durable when it resolves. Only the last one is kept, and it is
   * removed with the task's result. What `restored` gives is plain data, as the input is.
   *
   * @throws VgasError INVALID_OUTPUT if `state` cannot be encoded, TOO_LARGE above 64 MiB, SUPERSEDED if a later attempt of the
   *   task has begun to write; the reason of `signal` once the attempt is over
   */
  checkpoint(state: unknown): Promise<void>;
  /** The state that an earlier attempt stored last; undefined in the first attempt, and if none was stored. */
  readonly restored: unknown;
  /** Keys of the providers that the agent declares, while it runs. */
  readonly vault: TaskVault;
}

export type Isolation = "process" | "none";

/** A behaviour, and how many agents run it. */
export interface AgentDefinition<Input = unknown, Output = unknown, Kind extends string = string> {
  /** The kind of task it takes. Either this or `kinds`. */
  readonly kind?: Kind;
  readonly kinds?: readonly Kind[];
  /** Pool of the agents. Default: the host's `--pool`. */
  readonly pool?: string;
  /** Agents of this behaviour on each host, 1..10 000. Default 1. */
  readonly instances?: number;
  /** Tasks at once per agent, 1..10 000. Default: the host's `--slots`. */
  readonly slots?: number;
  /** Providers whose keys it asks the vault for, at most 64: no others are given to it. */
  readonly providers?: readonly string[];
  /**
   * What the whole swarm may do of each kind: `concurrency` tasks at once, 1..1 000 000; `rate`: at most `tasks` begun in any
   * `perMs`, 1..86 400 000. Where hosts differ the smallest counts. Default: no limits.
   */
  readonly limits?: KindLimits;
  /** How long a failed task waits for its next attempt. */
  readonly backoff?: Backoff;
  /**
   * A schema of the input: zod, valibot, arktype or another library that follows Standard Schema. `task.input` is what it makes
   * of the input. What it refuses fails for good with INVALID_INPUT, and `run` is not called.
   */
  readonly input?: InputSchema<Input>;
  /**
   * `process`: each task runs in a process of its own, so that a behaviour that blocks or crashes harms no other. It costs a start
   * of Node for the first task at a time of each slot. Only for agents of modules. Default `none`.
   */
  readonly isolation?: Isolation;
  /** Runs one task. What it returns is the output; what it throws fails the attempt. */
  run(task: Task<Input>, ctx: TaskContext): Promise<Output> | Output;
}

/** Gives a definition its types; what it returns is what a module exports by default. */
export function defineAgent<Input = unknown, Output = unknown, const Kind extends string = string>(
  definition: AgentDefinition<Input, Output, Kind>,
): AgentDefinition<Input, Output, Kind> {
  return definition;
}
