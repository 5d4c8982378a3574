import type { ActorScope } from "./definition.ts";
import type { StopReason } from "./inspection.ts";
import type { ActorPhase, NamedActor } from "./named-actor.ts";
import type { Supervised, SupervisedState } from "./supervised.ts";

/** For display. */
export interface ActorStatus {
  readonly name: string;
  readonly scope: ActorScope | "local";
  readonly phase: ActorPhase;
  readonly machine: SupervisedState;
  /** State value of the machine; undefined where it has none. */
  readonly value: unknown;
  /** Messages waiting or unanswered. */
  readonly mailbox: number;
  readonly restarts: number;
  readonly epoch: number | undefined;
  /** Why it came to its end by itself. */
  readonly endReason: StopReason | undefined;
}

export function namedStatus(actor: NamedActor): ActorStatus {
  const { name, scope, phase, machine, mailboxSize: mailbox, epoch, endReason } = actor;
  return {
    name,
    scope,
    phase,
    machine: machine.state,
    value: machine.value(),
    mailbox,
    restarts: machine.restarts,
    epoch,
    endReason,
  };
}

export function localStatus(actor: Supervised): ActorStatus {
  const { name, state, restarts } = actor;
  const phase = state === "off" || state === "ended" ? "ended" : "active";
  const endReason = state === "ended" ? "failed" : undefined;
  return {
    name,
    scope: "local",
    phase,
    machine: state,
    value: actor.value(),
    mailbox: 0,
    restarts,
    epoch: undefined,
    endReason,
  };
}
