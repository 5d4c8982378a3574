/**
 * One XState actor under its supervisor: started, started again when it fails, given up when it fails too often.
 *
 * Owns the XState actor of the moment, its restart timer and its restart intensity. Thousands of these live in one
 * host, so it holds nothing else.
 *
 * Invariants
 * 1. At most one XState actor runs, its children included: XState leaves the children of a failed actor running, so they are stopped here.
 * 2. Every XState actor has an error observer from before its start; without one XState throws into the process.
 * 3. Nothing that a machine throws leaves this file, except from the very first start, where the caller learns of it.
 * 4. `send` says whether the machine runs; XState itself drops events for a stopped actor without a word.
 */
import {
  type Actor,
  type AnyActorLogic,
  type AnyActorRef,
  type AnyActorScope,
  createActor,
  type EventObject,
  isMachineSnapshot,
} from "xstate";
import type { Timer } from "../../protocols/clock.ts";
import { toWireError } from "../../protocols/wire-error.ts";
import type { RuntimeContext } from "./context.ts";
import type { StopReason } from "./inspection.ts";
import { type LocalRoot, timersOf } from "./local-root.ts";
import { RESTART_POLICY, RestartIntensity, type RestartPolicy } from "./restart-intensity.ts";
import { stateOf, Watched } from "./watched.ts";

/** What surrounds the machine and must follow its life. None of these may throw, except `input`. */
export interface SupervisedHooks {
  /** Input of the next start. One that throws counts as a failure of the machine. */
  input(): unknown;
  /** Fencing token of the name, for inspection. */
  epoch?(): number | undefined;
  /** The machine runs, for the first time or again. */
  running?(): void;
  /** The machine has taken `event` and did not fail over it. */
  processed?(event: EventObject): void;
  /** The machine failed; it is started again, or `ended` follows. */
  failed?(error: unknown): void;
  /** The machine came to its end by itself: final state, or too many failures. */
  ended?(reason: StopReason): void;
}

export interface SupervisedOptions {
  readonly name: string;
  readonly logic: AnyActorLogic;
  readonly hooks: SupervisedHooks;
  readonly restart?: Partial<RestartPolicy> | undefined;
  /** Its parent; without one it has an XState system of its own. */
  readonly root?: LocalRoot | undefined;
}

/** `off` before the start and after a stop; `ended` came to its end by itself. Both can be started. */
export type SupervisedState = "off" | "running" | "restarting" | "ended";

export class Supervised {
  readonly name: string;
  readonly #context: RuntimeContext;
  readonly #options: SupervisedOptions;
  readonly #policy: RestartPolicy;
  readonly #intensity: RestartIntensity;
  #state: SupervisedState = "off";
  #actor: Actor<AnyActorLogic> | undefined;
  #timer: Timer | undefined;
  #watched: Watched | undefined;
  #restarts = 0;

  constructor(context: RuntimeContext, options: SupervisedOptions) {
    this.name = options.name;
    this.#context = context;
    this.#options = options;
    this.#policy = options.restart ? { ...RESTART_POLICY, ...options.restart } : RESTART_POLICY;
    this.#intensity = new RestartIntensity(context.clock, this.#policy);
  }

  get state(): SupervisedState {
    return this.#state;
  }

  /** Restarts since it was made. */
  get restarts(): number {
    return this.#restarts;
  }

  /** The machine's snapshot; undefined unless it runs. */
  snapshot(): unknown {
    return this.#actor?.getSnapshot();
  }

  /** The state value of a machine, for display. */
  value(): unknown {
    return stateOf(this.snapshot());
  }

  /** True while the machine is in the middle of a transition: its snapshot is the one before it. */
  get busy(): boolean {
    return this.#watched?.busy === true;
  }

  /**
   * Starts the machine, unless it runs or waits for its restart. `answers` for a failure in its first moment: the
   * caller, who gets it thrown and has a machine that is `off`; or the supervisor, who starts it again.
   *
   * @throws what the machine throws in its first moment, if the caller answers for it
   */
  start(answers: "caller" | "supervisor" = "caller"): void {
    if (this.#state === "running" || this.#state === "restarting") return;
    this.#intensity.reset();
    const failure = this.#run();
    if (failure === undefined) return;
    if (answers === "supervisor") {
      this.#failed(failure.error);
      return;
    }
    this.#state = "off";
    throw failure.error;
  }

  /** Gives the machine an event; false if it does not run. */
  send(event: EventObject): boolean {
    if (this.#state !== "running" || this.#actor === undefined) return false;
    this.#actor.send(event);
    return true;
  }

  /** Whether the machine in its present state does anything with `event`. True where that cannot be known. */
  takes(event: EventObject): boolean {
    const snapshot = this.snapshot();
    if (!isMachineSnapshot(snapshot)) return true;
    try {
      return snapshot.can(event);
    } catch {
      // A guard that throws is the machine's failure, and is treated as such when the event is given to it.
      return true;
    }
  }

  /** Stops the machine and its children. Idempotent; also while it waits for its restart. */
  stop(reason: StopReason = "stopped"): void {
    if (this.#state === "off" || this.#state === "ended") return;
    this.#context.clock.clear(this.#timer);
    this.#state = "off";
    const actor = this.#actor;
    this.#actor = undefined;
    if (actor && this.#options.root) this.#options.root.stop(actor);
    else actor?.stop();
    this.#stopped(reason);
  }

  /** One start; returns the failure of the machine's first moment. */
  #run(): { readonly error: unknown } | undefined {
    const { clock, logger } = this.#context;
    const watched = new Watched(this.#context, this.#options);
    this.#watched = watched;
    let actor: Actor<AnyActorLogic>;
    try {
      actor = createActor(watched as AnyActorLogic, {
        id: this.name,
        input: this.#options.hooks.input(),
        logger: (...args: unknown[]) => logger.info({ actor: this.name, args }, "The machine logged."),
        ...(this.#options.root ? { parent: this.#options.root.actor } : { clock: timersOf(clock) }),
      });
    } catch (error) {
      return { error };
    }
    let starting = true;
    actor.subscribe({
      complete: () => {
        if (!starting && this.#actor === actor && actor.getSnapshot().status === "done") this.#end("done");
      },
      error: (error: unknown) => {
        this.#stopChildren(actor, watched.scope);
        if (!starting && this.#actor === actor) this.#failed(error);
      },
    });
    this.#actor = actor;
    this.#state = "running";
    actor.start();
    starting = false;
    // What the machine did in its first moment may have stopped it from outside.
    if (this.#actor !== actor) return undefined;
    const { status, error } = actor.getSnapshot();
    if (status === "error") {
      this.#actor = undefined;
      return { error };
    }
    this.#inspectStart();
    if (status === "done") this.#end("done");
    else this.#options.hooks.running?.();
    return undefined;
  }

  #failed(error: unknown): void {
    this.#actor = undefined;
    this.#state = "restarting";
    this.#options.hooks.failed?.(error);
    if (this.#wasStopped()) return;
    const { clock, inspection, logger } = this.#context;
    if (this.#intensity.allow()) {
      this.#restartLater(error, this.#backoffMs());
      return;
    }
    const decision = this.#context.escalate({ name: this.name, error });
    logger.error({ actor: this.name, error, decision }, "An actor failed too often; its supervisor gave up.");
    if (inspection.any) {
      inspection.emit({ type: "escalated", name: this.name, at: clock.now(), error: toWireError(error), decision });
    }
    if (this.#wasStopped()) return;
    if (decision === "stop") {
      this.#end("failed");
      return;
    }
    this.#intensity.reset();
    this.#restartLater(error, this.#policy.maxBackoffMs);
  }

  /** Whether somebody who heard of the failure has stopped it. */
  #wasStopped(): boolean {
    return this.#state === "off";
  }

  #restartLater(error: unknown, delayMs: number): void {
    const { clock, inspection, logger } = this.#context;
    this.#restarts++;
    logger.warn(
      { actor: this.name, error, restarts: this.#restarts, delayMs },
      "An actor failed and is started again.",
    );
    this.#timer = clock.setTimeout(() => {
      const failure = this.#run();
      if (failure !== undefined) this.#failed(failure.error);
    }, delayMs);
    if (!inspection.any) return;
    const at = clock.now();
    inspection.emit({
      type: "restarting",
      name: this.name,
      at,
      error: toWireError(error),
      restarts: this.#restarts,
      delayMs,
    });
  }

  /** Doubles with each restart in the window; half of it is random, so that what failed together does not return together. */
  #backoffMs(): number {
    const full = Math.min(this.#policy.maxBackoffMs, this.#policy.backoffMs * 2 ** (this.#intensity.recent - 1));
    return Math.round(full * (0.5 + this.#context.random() / 2));
  }

  #end(reason: StopReason): void {
    this.#state = "ended";
    this.#actor = undefined;
    this.#stopped(reason);
    this.#options.hooks.ended?.(reason);
  }

  #stopChildren(actor: Actor<AnyActorLogic>, scope: AnyActorScope | undefined): void {
    const { children = {} } = actor.getSnapshot() as { children?: Record<string, AnyActorRef | undefined> };
    for (const child of Object.values(children)) {
      try {
        if (child !== undefined) scope?.stopChild(child);
      } catch (error) {
        this.#context.logger.error({ actor: this.name, error }, "A child of a failed actor could not be stopped.");
      }
    }
  }

  #inspectStart(): void {
    const { inspection, clock } = this.#context;
    if (!inspection.any) return;
    const epoch = this.#options.hooks.epoch?.();
    inspection.emit({ type: "started", name: this.name, at: clock.now(), restarts: this.#restarts, epoch });
  }

  #stopped(reason: StopReason): void {
    const { inspection, clock } = this.#context;
    if (inspection.any) inspection.emit({ type: "stopped", name: this.name, at: clock.now(), reason });
  }
}
