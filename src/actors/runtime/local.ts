import type { AnyActorLogic, EventFromLogic, InputFrom, SnapshotFrom } from "xstate";
import type { RuntimeContext } from "./context.ts";
import type { StopReason } from "./inspection.ts";
import type { LocalRoot } from "./local-root.ts";
import type { LocalActor } from "./refs.ts";
import type { RestartPolicy } from "./restart-intensity.ts";
import { Supervised, type SupervisedHooks, type SupervisedState } from "./supervised.ts";

export interface LocalOptions<Logic extends AnyActorLogic> {
  readonly name: string;
  readonly logic: Logic;
  readonly input: InputFrom<Logic> | undefined;
  readonly restart: Partial<RestartPolicy> | undefined;
  /** The actor is stopped, or has reached its final state. */
  readonly forget: (actor: Supervised) => void;
}

/** The handle of a local actor, and what its supervisor asks of it. One object without closures, because there are thousands. */
export class Local<Logic extends AnyActorLogic> implements LocalActor<Logic>, SupervisedHooks {
  readonly actor: Supervised;
  readonly #input: unknown;
  readonly #forget: (actor: Supervised) => void;

  constructor(context: RuntimeContext, root: LocalRoot, { name, logic, input, restart, forget }: LocalOptions<Logic>) {
    this.#input = input;
    this.#forget = forget;
    this.actor = new Supervised(context, { name, logic, hooks: this, restart, root });
  }

  get name(): string {
    return this.actor.name;
  }

  get state(): SupervisedState {
    return this.actor.state;
  }

  send(event: EventFromLogic<Logic>): boolean {
    return this.actor.send(event);
  }

  snapshot(): SnapshotFrom<Logic> | undefined {
    return this.actor.snapshot() as SnapshotFrom<Logic> | undefined;
  }

  stop(): void {
    this.actor.stop();
    this.#forget(this.actor);
  }

  input(): unknown {
    return this.#input;
  }

  ended(reason: StopReason): void {
    if (reason === "done") this.#forget(this.actor);
  }
}
