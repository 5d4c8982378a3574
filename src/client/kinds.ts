/** What the tasks of each kind take and give, for the compiler only. */
import type { AgentDefinition } from "../actors/agent/definition.ts";

/** Of one kind. */
export interface KindTypes {
  readonly input: unknown;
  readonly output: unknown;
}

/** Where no map is given: any kind, of which nothing is known. */
export type AnyKinds = Readonly<Record<string, KindTypes>>;

/**
 * The map of the kinds that agents offer, from their definitions: one, an array of them, or a module. A kind must be literal:
 * `defineAgent({ kind: "wordcount", run(task: Task<string>) { … } })` without type arguments.
 */
export type KindsOf<Definitions> = {
  readonly [Kind in KindIn<Each<Definitions>>]: TypesIn<DefinitionOf<Each<Definitions>, Kind>>;
};

/** Kinds of a map. */
export type KindName<Kinds> = Extract<keyof Kinds, string>;
/** What a task of that kind takes. */
export type InputOf<Kinds, Kind extends keyof Kinds> = Kinds[Kind] extends { readonly input: infer Input }
  ? Input
  : unknown;
/** What a task of that kind gives. */
export type OutputOf<Kinds, Kind extends keyof Kinds> = Kinds[Kind] extends { readonly output: infer Output }
  ? Output
  : unknown;
/** Any kind where there is no map, none where there is one. */
export type UnmappedKind<Kinds> = string extends keyof Kinds ? string : never;
/** An input may be left out only where it may be undefined. */
export type InputArguments<Input, Options> = undefined extends Input
  ? [input?: Input, options?: Options]
  : [input: Input, options?: Options];

type Each<Value> = Value extends readonly (infer Item)[]
  ? Each<Item>
  : Value extends { run(...given: never[]): unknown }
    ? Value
    : Each<Value[keyof Value]>;
type KindIn<Value> = Value extends AgentDefinition<infer _Input, infer _Output, infer Kind> ? Kind : never;
type DefinitionOf<Value, Kind> =
  Value extends AgentDefinition<infer _Input, infer _Output, infer Own> ? (Kind extends Own ? Value : never) : never;
type TypesIn<Value> =
  Value extends AgentDefinition<infer Input, infer Output, infer _Kind>
    ? { readonly input: Input; readonly output: Output }
    : never;
