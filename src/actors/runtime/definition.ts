/** What a user writes to host an actor: a machine, its protocol, and where it lives. */
import type { AnyActorLogic, InputFrom } from "xstate";
import type { z } from "zod";
import { VgasError } from "../../protocols/errors.ts";
import type { RestartPolicy } from "./restart-intensity.ts";

/** One message: its fields besides `type`, and what it is answered with. Without `reply` it is one-way. */
export interface MessageSpec {
  readonly schema: z.ZodType<object, object>;
  readonly reply?: z.ZodType;
}

/** The protocol of an actor: every message it takes, by type. */
export type MessageTable = Readonly<Record<string, MessageSpec>>;

/** Zod's type of an object without fields would forbid the type too. */
type Fields<Type> = Type extends Record<string, never> ? unknown : Type;

/** A message as a sender writes it. */
export type MessageOf<Table extends MessageTable> = {
  [Type in keyof Table & string]: { readonly type: Type } & Fields<z.input<Table[Type]["schema"]>>;
}[keyof Table & string];

/** What asking a message of this type resolves to; null for a one-way message. */
export type ReplyOf<Table extends MessageTable, Type extends string> = Table[Type] extends {
  readonly reply: infer Reply extends z.ZodType;
}
  ? z.output<Reply>
  : null;

/**
 * The event that the machine gets for a message. `reply` and `fail` may be kept and called later; the first answer wins.
 * For a message that was told, or one-way, they do nothing.
 */
export type MailOf<Table extends MessageTable> = {
  [Type in keyof Table & string]: {
    readonly type: Type;
    reply(value: ReplyOf<Table, Type>): void;
    /** Answers with an error: a TaskError or VgasError keeps its code. */
    fail(error: unknown): void;
  } & Fields<z.output<Table[Type]["schema"]>>;
}[keyof Table & string];

/** What a start of the machine can know of itself. */
export interface ActorStart {
  readonly name: string;
  readonly host: string;
  /** Fencing token of a swarm-wide name: give it to whatever you write to, so that a former owner's late write is refused. */
  readonly epoch: number | undefined;
}

/**
 * `swarm`: one owner of the name in the whole swarm; every host that spawns it stands by and takes over when the owner
 * ends, also when its machine came to a final state. `node`: one on each host, addressed by name and host.
 */
export type ActorScope = "swarm" | "node";

export interface ActorDefinition<
  Table extends MessageTable = MessageTable,
  Logic extends AnyActorLogic = AnyActorLogic,
> {
  /** XState v5 logic: a machine, or anything else that `createActor` takes. A restart begins at its initial state. */
  readonly machine: Logic;
  readonly protocol: Table;
  readonly scope: ActorScope;
  /** Input of the machine; a function is called at each start. */
  readonly input?: InputFrom<Logic> | ((start: ActorStart) => InputFrom<Logic>);
  /** Messages waiting or unanswered at once; more are refused with MAILBOX_FULL. Default 1000. */
  readonly mailboxLimit?: number;
  readonly restart?: Partial<RestartPolicy>;
}

export const DEFAULT_MAILBOX_LIMIT = 1_000;

/** Fields that the event given to the machine has of its own. */
const RESERVED_FIELDS = ["type", "reply", "fail"];

/** @throws VgasError INVALID naming what is wrong */
export function checkDefinition(name: string, definition: ActorDefinition): void {
  const { protocol, scope, mailboxLimit = DEFAULT_MAILBOX_LIMIT } = definition;
  if (scope !== "swarm" && scope !== "node")
    throw invalid(name, `scope must be "swarm" or "node", got ${JSON.stringify(scope)}`);
  if (!Number.isSafeInteger(mailboxLimit) || mailboxLimit < 1)
    throw invalid(name, `mailboxLimit must be a positive integer, got ${mailboxLimit}`);
  for (const [type, spec] of Object.entries(protocol)) {
    // XState takes `xstate.stop` and its kin from anybody, and `*` is its wildcard.
    if (type === "" || type === "*" || type.startsWith("xstate."))
      throw invalid(name, `"${type}" cannot be a message type`);
    const shape = "shape" in spec.schema ? Object(spec.schema.shape) : {};
    const taken = RESERVED_FIELDS.find((field) => Object.hasOwn(shape, field));
    if (taken) throw invalid(name, `message "${type}" cannot have a field "${taken}": the event has one of its own`);
  }
}

function invalid(name: string, what: string): VgasError {
  return new VgasError("INVALID", `actor "${name}": ${what}`);
}
