/**
 * The parent of a host's local actors. XState makes a system for each actor without a parent, and that is half of what an agent
 * takes in memory; local actors share the one of this root.
 *
 * 1. What its children tell it of their end it ignores: their supervisors know.
 */
import {
  type Actor,
  type AnyActorLogic,
  type AnyActorRef,
  type AnyActorScope,
  createActor,
  type Snapshot,
} from "xstate";
import type { Clock, Timer } from "../../protocols/clock.ts";

const ACTIVE: Snapshot<undefined> = { status: "active", output: undefined, error: undefined };

export class LocalRoot {
  readonly actor: Actor<AnyActorLogic>;
  #scope: AnyActorScope | undefined;

  constructor(clock: Clock) {
    const logic = {
      getInitialSnapshot: (scope: AnyActorScope) => {
        this.#scope = scope;
        return ACTIVE;
      },
      transition: (snapshot: Snapshot<undefined>) => snapshot,
      getPersistedSnapshot: (snapshot: Snapshot<undefined>) => snapshot,
    } satisfies AnyActorLogic;
    this.actor = createActor(logic as AnyActorLogic, { clock: timersOf(clock) });
    this.actor.start();
  }

  /** Stops one of its children, which XState lets only the parent do. */
  stop(child: AnyActorRef): void {
    this.#scope?.stopChild(child);
  }
}

/** The injected clock as XState wants it. */
export function timersOf(clock: Clock) {
  return {
    setTimeout: (callback: () => void, delayMs: number): Timer => clock.setTimeout(callback, delayMs),
    clearTimeout: (timer: Timer | undefined): void => clock.clear(timer),
  };
}
