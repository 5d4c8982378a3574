/** Checks what a module exports as an agent, and fills in the defaults. */
import { VgasError } from "../../protocols/errors.ts";
import { type KindLimits, MAX_PROVIDERS } from "../../protocols/host-messages.ts";
import { isToken } from "../../protocols/tokens.ts";
import { type Backoff, DEFAULT_BACKOFF } from "./backoff.ts";
import type { AgentDefinition, Task, TaskContext } from "./definition.ts";
import type { ModuleAgent } from "./isolation/messages.ts";
import { type InputSchema, isSchema, validated } from "./schema.ts";

/** A definition with every default filled in. */
export interface ResolvedAgent {
  /** Where it comes from, for messages: `--module agent.ts`. */
  readonly source: string;
  readonly pool: string;
  readonly kinds: readonly string[];
  readonly instances: number;
  readonly slots: number;
  readonly providers: readonly string[];
  readonly limits: KindLimits | undefined;
  readonly backoff: Required<Backoff>;
  /** The module that it comes from, if from one. */
  readonly module: ModuleAgent | undefined;
  /** To be run in a process of its own, which loads it from there. */
  readonly isolated: ModuleAgent | undefined;
  run(task: Task, ctx: TaskContext): unknown;
}

const MAX_INSTANCES = 10_000;
const MAX_SLOTS = 10_000;
/** As `kindLimits` of the heartbeat allows. */
const MAX_LIMIT = 1_000_000;
const DAY_MS = 86_400_000;
const MAX_FACTOR = 100;

/**
 * Checks a definition and fills in the defaults. `source` names it in messages; `module` is where it comes from, if from one.
 *
 * @throws VgasError CONFIG naming the field, the bound and the value
 */
export function resolveAgent(
  value: unknown,
  defaults: { readonly pool: string; readonly slots: number },
  source: string,
  module?: ModuleAgent,
): ResolvedAgent {
  if (typeof value !== "object" || value === null) throw config(source, "an agent definition must be an object", value);
  const { kind, kinds, pool, instances, slots, providers, limits, backoff, input, isolation, run } = value as Partial<
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
  if (input !== undefined && !isSchema(input))
    throw config(source, "input must be a schema that follows Standard Schema (zod, valibot, arktype, …)", input);
  if (isolation !== undefined && isolation !== "process" && isolation !== "none")
    throw config(source, 'isolation must be "process" or "none"', isolation);
  if (isolation === "process" && module === undefined)
    throw config(
      source,
      "only an agent of a module can be run in a process of its own, which loads it from there",
      isolation,
    );
  refuseMisspelt(source, value);
  const behave: ResolvedAgent["run"] = (task, ctx) =>
    (run as AgentDefinition["run"]).call(value as AgentDefinition, task, ctx);
  return {
    source,
    pool: pool ?? defaults.pool,
    kinds: list as readonly string[],
    instances: whole(source, "instances", instances, MAX_INSTANCES) ?? 1,
    slots: whole(source, "slots", slots, MAX_SLOTS) ?? defaults.slots,
    providers: providersOf(source, providers),
    limits: limitsOf(source, limits),
    backoff: backoffOf(source, backoff),
    module,
    isolated: isolation === "process" ? module : undefined,
    run: input === undefined ? behave : checking(input, behave),
  };
}

/** `run` for inputs that the schema has taken. A schema that answers at once costs no turn of the loop. */
function checking(schema: InputSchema, run: ResolvedAgent["run"]): ResolvedAgent["run"] {
  return (task, ctx) => {
    const input = validated(schema, task.input);
    if (!(input instanceof Promise)) return run({ ...task, input }, ctx);
    return input.then((value: unknown) => {
      ctx.signal.throwIfAborted();
      return run({ ...task, input: value }, ctx);
    });
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

function limitsOf(source: string, value: unknown): KindLimits | undefined {
  if (value === undefined) return undefined;
  const { concurrency, rate } = fieldsOf(source, "limits", value, ["concurrency", "rate"]);
  const tasksAtOnce = whole(source, "limits.concurrency", concurrency, MAX_LIMIT);
  const pace = rate === undefined ? undefined : rateOf(source, rate);
  if (tasksAtOnce === undefined && pace === undefined)
    throw config(source, "limits must have concurrency, rate or both", value);
  return { ...(tasksAtOnce !== undefined && { concurrency: tasksAtOnce }), ...(pace && { rate: pace }) };
}

function rateOf(source: string, value: unknown): KindLimits["rate"] {
  const { tasks, perMs } = fieldsOf(source, "limits.rate", value, ["tasks", "perMs"]);
  return {
    tasks: required(source, "limits.rate.tasks", tasks, MAX_LIMIT),
    perMs: required(source, "limits.rate.perMs", perMs, DAY_MS),
  };
}

function backoffOf(source: string, value: unknown): Required<Backoff> {
  if (value === undefined) return DEFAULT_BACKOFF;
  const fields = fieldsOf(source, "backoff", value, ["initialMs", "factor", "maxMs", "jitter"]);
  const between = (name: keyof Backoff, min: number, max: number, fallback: number): number => {
    const number = fields[name] ?? fallback;
    if (typeof number === "number" && number >= min && number <= max) return number;
    throw config(source, `backoff.${name} must be a number from ${min} to ${max}`, number);
  };
  const initialMs = between("initialMs", 0, DAY_MS, DEFAULT_BACKOFF.initialMs);
  return {
    initialMs,
    factor: between("factor", 1, MAX_FACTOR, DEFAULT_BACKOFF.factor),
    maxMs: between("maxMs", initialMs, DAY_MS, Math.max(initialMs, DEFAULT_BACKOFF.maxMs)),
    jitter: between("jitter", 0, 1, DEFAULT_BACKOFF.jitter),
  };
}

const FIELDS = [
  "kind",
  "kinds",
  "pool",
  "instances",
  "slots",
  "providers",
  "limits",
  "backoff",
  "input",
  "isolation",
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

/** The fields of an object that has none but those. */
function fieldsOf<Field extends string>(
  source: string,
  name: string,
  value: unknown,
  fields: readonly Field[],
): Partial<Record<Field, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw config(source, `${name} must be an object of ${fields.join(", ")}`, value);
  const other = Object.keys(value).find((each) => !(fields as readonly string[]).includes(each));
  if (other !== undefined) throw config(source, `${name} has only the fields ${fields.join(", ")}`, other);
  return value;
}

function required(source: string, field: string, value: unknown, max: number): number {
  const number = whole(source, field, value, max);
  if (number === undefined) throw config(source, `${field} is missing: an integer from 1 to ${max}`, value);
  return number;
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
