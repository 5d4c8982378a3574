import { type AnyActorLogic, type AnyActorScope, type EventObject, isMachineSnapshot, type Snapshot } from "xstate";
import type { RuntimeContext } from "./context.ts";

/** Whose logic is looked at. */
export interface WatchedOptions {
  readonly name: string;
  readonly logic: AnyActorLogic;
  readonly hooks: { processed?(event: EventObject): void };
}

/** An actor's logic, with a look at every event that it has taken, and a hold on its scope. */
export class Watched {
  readonly config: unknown;
  readonly #context: RuntimeContext;
  readonly #options: WatchedOptions;
  #scope: AnyActorScope | undefined;
  #busy = false;

  constructor(context: RuntimeContext, options: WatchedOptions) {
    this.config = options.logic.config;
    this.#context = context;
    this.#options = options;
  }

  /** Of the actor; undefined before its first snapshot. */
  get scope(): AnyActorScope | undefined {
    return this.#scope;
  }

  /** True in the middle of a transition. */
  get busy(): boolean {
    return this.#busy;
  }

  getInitialSnapshot(scope: AnyActorScope, input: unknown): Snapshot<unknown> {
    this.#scope = scope;
    return this.#options.logic.getInitialSnapshot(scope, input);
  }

  transition(before: Snapshot<unknown>, event: EventObject, scope: AnyActorScope): Snapshot<unknown> {
    const wasBusy = this.#busy;
    this.#busy = true;
    try {
      const after = this.#options.logic.transition(before, event, scope);
      if (after.status !== "error") this.#taken(event, before, after);
      return after;
    } finally {
      this.#busy = wasBusy;
    }
  }

  getPersistedSnapshot(snapshot: Snapshot<unknown>, options?: unknown): Snapshot<unknown> {
    return this.#options.logic.getPersistedSnapshot(snapshot, options);
  }

  start(snapshot: Snapshot<unknown>, scope: AnyActorScope): void {
    this.#options.logic.start?.(snapshot, scope);
  }

  #taken(event: EventObject, before: unknown, after: unknown): void {
    const { name, hooks } = this.#options;
    hooks.processed?.(event);
    const { inspection, clock } = this.#context;
    if (!inspection.any || before === after || event.type === "xstate.stop") return;
    const [from, to] = [stateOf(before), stateOf(after)];
    inspection.emit({ type: "transition", name, at: clock.now(), event: event.type, from, to });
  }
}

/** The state value of a machine's snapshot; undefined of others. */
export function stateOf(snapshot: unknown): unknown {
  return isMachineSnapshot(snapshot) ? snapshot.value : undefined;
}
