/** What a user writes: agents, and what their behaviours get (contract section 7). */
import { VgasError } from "../../protocols/errors.ts";
import { MAX_PROVIDERS } from "../../protocols/host-messages.ts";
import type { Logger } from "../../protocols/logger.ts";
import { isToken } from "../../protocols/tokens.ts";

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
  /** Id of the agent that runs the task. */
  readonly agent: string;
  readonly host: string;
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
  /** Keys of the providers that the agent declares, while it runs. */
  readonly vault: TaskVault;
}

export interface VaultWaitOptions {
  /** How long to wait for a vault that is sealed, not made yet or restarting, ms. Default 5 000. */
  readonly waitMs?: number;
}

/**
 * The vault, for one attempt of a task.
 *
 * What both methods throw: VgasError GRANT_VOID once the attempt has ended, or if the agent does not declare the provider;
 * VAULT_SEALED, VAULT_UNINITIALISED, AUDIT_FAILED, UNDELIVERABLE or TIMEOUT if the vault did not come in time; NOT_FOUND,
 * PERMISSION_DENIED, BUDGET_EXCEEDED, KEY_RESTING as the keys of the provider are; the reason of `ctx.signal` when it fires.
 */
export interface TaskVault {
  /** The key itself, for as long as the attempt runs. */
  lease(provider: string, options?: VaultWaitOptions): Promise<VaultLease>;
  /**
   * A `fetch` that the vault makes with the key put in: the key never comes here. Official clients take it as theirs:
   * `new OpenAI({ apiKey: "unused", fetch: (url, init) => ctx.vault.fetch("openai", url, init) })`.
   */
  fetch(
    provider: string,
    input: string | URL | Request,
    init?: RequestInit,
    options?: VaultWaitOptions,
  ): Promise<Response>;
}

/** A key in this process's memory, until it is released, expires or the attempt ends: then it is overwritten. */
export interface VaultLease {
  readonly provider: string;
  /** Name and version of the key. */
  readonly key: string;
  readonly version: number;
  /** By this machine's clock, ms since the epoch. */
  readonly expiresAt: number;
  /**
   * Hands the key to `read`, which must neither keep nor change the bytes.
   *
   * @throws VgasError GRANT_VOID once the lease is over
   */
  use<T>(read: (key: Buffer) => T): T;
  /** The key as a string, which cannot be overwritten: it stays in memory until it is collected. Throws as `use`. */
  text(): string;
  /** Ends the lease. Idempotent. */
  release(): void;
}

/** A behaviour, and how many agents run it. */
export interface AgentDefinition<Input = unknown, Output = unknown> {
  /** The kind of task it takes. Either this or `kinds`. */
  readonly kind?: string;
  readonly kinds?: readonly string[];
  /** Pool of the agents. Default: the host's `--pool`. */
  readonly pool?: string;
  /** Agents of this behaviour on each host, 1..10 000. Default 1. */
  readonly instances?: number;
  /** Tasks at once per agent, 1..10 000. Default: the host's `--slots`. */
  readonly slots?: number;
  /** Providers whose keys it asks the vault for, at most 64: no others are given to it. */
  readonly providers?: readonly string[];
  /** Runs one task. What it returns is the output; what it throws fails the attempt. */
  run(task: Task<Input>, ctx: TaskContext): Promise<Output> | Output;
}

/** A definition with every default filled in. */
export interface ResolvedAgent {
  /** Where it comes from, for messages: `--module agent.ts`. */
  readonly source: string;
  readonly pool: string;
  readonly kinds: readonly string[];
  readonly instances: number;
  readonly slots: number;
  readonly providers: readonly string[];
  run(task: Task, ctx: TaskContext): unknown;
}

const MAX_INSTANCES = 10_000;
const MAX_SLOTS = 10_000;

/** Gives a definition its types; what it returns is what a module exports by default. */
export function defineAgent<Input = unknown, Output = unknown>(
  definition: AgentDefinition<Input, Output>,
): AgentDefinition<Input, Output> {
  return definition;
}

/**
 * Checks a definition and fills in the defaults. `source` names it in messages.
 *
 * @throws VgasError CONFIG naming the field, the bound and the value
 */
export function resolveAgent(
  value: unknown,
  defaults: { readonly pool: string; readonly slots: number },
  source: string,
): ResolvedAgent {
  if (typeof value !== "object" || value === null) throw config(source, "an agent definition must be an object", value);
  const { kind, kinds, pool, instances, slots, providers, run } = value as Partial<
    Record<keyof AgentDefinition, unknown>
  >;
  if ((kind === undefined) === (kinds === undefined))
    throw config(source, "an agent definition needs either kind or kinds", kind);
  const list = kinds === undefined ? [kind] : kinds;
  if (!Array.isArray(list) || list.length === 0) throw config(source, "kinds must be a non-empty array", kinds);
  for (const each of list) if (!isToken(each)) throw config(source, "a kind must be a token [A-Za-z0-9_-]{1,64}", each);
  if (new Set(list).size !== list.length) throw config(source, "kinds must differ from each other", list);
  if (pool !== undefined && !isToken(pool)) throw config(source, "pool must be a token [A-Za-z0-9_-]{1,64}", pool);
  if (typeof run !== "function") throw config(source, "run must be a function", run);
  refuseMisspelt(source, value);
  return {
    source,
    pool: pool ?? defaults.pool,
    kinds: list as readonly string[],
    instances: whole(source, "instances", instances, MAX_INSTANCES) ?? 1,
    slots: whole(source, "slots", slots, MAX_SLOTS) ?? defaults.slots,
    providers: providersOf(source, providers),
    run: (task, ctx) => (run as AgentDefinition["run"]).call(value as AgentDefinition, task, ctx),
  };
}

function providersOf(source: string, value: unknown): readonly string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || value.length > MAX_PROVIDERS)
    throw config(source, `providers must be an array of at most ${MAX_PROVIDERS}`, value);
  for (const each of value)
    if (!isToken(each)) throw config(source, "a provider must be a token [A-Za-z0-9_-]{1,64}", each);
  if (new Set(value).size !== value.length) throw config(source, "providers must differ from each other", value);
  return [...value];
}

const FIELDS = [
  "kind",
  "kinds",
  "pool",
  "instances",
  "slots",
  "providers",
  "run",
] as const satisfies readonly (keyof AgentDefinition)[];

/** A definition may have fields of its own, which `run` finds in `this`; one letter off is a mistake. */
function refuseMisspelt(source: string, definition: object): void {
  for (const name of Object.keys(definition)) {
    if ((FIELDS as readonly string[]).includes(name)) continue;
    const meant = FIELDS.find((field) => field.length > 3 && isOneOff(name, field));
    if (meant) throw config(source, `an agent definition has no field "${name}"; did you mean "${meant}"?`, name);
  }
}

/** Whether one letter was left out, added, or is another, or the letters differ only in case. */
function isOneOff(a: string, b: string): boolean {
  const [left, right] = [a.toLowerCase(), b.toLowerCase()];
  if (left === right) return true;
  let from = 0;
  while (from < left.length && left[from] === right[from]) from++;
  const [restA, restB] = [left.slice(from), right.slice(from)];
  return restA.slice(1) === restB || restA === restB.slice(1) || restA.slice(1) === restB.slice(1);
}

function whole(source: string, field: string, value: unknown, max: number): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= max) return value;
  throw config(source, `${field} must be an integer from 1 to ${max}`, value);
}

function config(source: string, bound: string, value: unknown): VgasError {
  const shown =
    typeof value === "function" || typeof value === "symbol" ? typeof value : (JSON.stringify(value) ?? String(value));
  return new VgasError("CONFIG", `${source}: ${bound}, got ${shown.slice(0, 200)}`);
}
