/** How actors are spoken to: by name from anywhere, or by the handle of who hosts them. */
import type { AnyActorLogic, EventFromLogic, SnapshotFrom } from "xstate";
import type { MessageOf, MessageTable, ReplyOf } from "./definition.ts";
import type { ActorStatus } from "./status.ts";
import type { SupervisedState } from "./supervised.ts";

export interface SendOptions {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** The actor of that name on this host, instead of the one owner of the name. */
  readonly host?: string;
}

/** Any message; its type is the actor's business. */
export type AnyMessage = { readonly type: string };

/** An actor by name: `ask` and `tell` know its protocol. */
export interface ActorRef<Table extends MessageTable> {
  readonly name: string;
  ask<Message extends MessageOf<Table>>(
    message: Message,
    options?: SendOptions,
  ): Promise<ReplyOf<Table, Message["type"]>>;
  tell(message: MessageOf<Table>, options?: SendOptions): Promise<void>;
}

/** An actor hosted here. Its `ask` and `tell` of a `swarm` actor reach the owner, wherever that is; of a `node` actor, this one. */
export interface ActorHandle<Table extends MessageTable = MessageTable> extends ActorRef<Table> {
  status(): ActorStatus;
  /** Idempotent; see `ActorSystem.stop`. */
  stop(options?: { readonly graceMs?: number }): Promise<void>;
}

/** A supervised machine without address or mailbox. */
export interface LocalActor<Logic extends AnyActorLogic> {
  readonly name: string;
  readonly state: SupervisedState;
  /** False if the machine does not run at this moment; the event is not kept. */
  send(event: EventFromLogic<Logic>): boolean;
  /** Undefined unless the machine runs. */
  snapshot(): SnapshotFrom<Logic> | undefined;
  /** Idempotent. */
  stop(): void;
}
