/** What the runtime tells about its actors, to be logged, shown, or waited for in a test. */
import type { WireError } from "../../protocols/wire-error.ts";

interface Base {
  /** The actor's name on this host. */
  readonly name: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

/** Why an actor is no longer running here. */
export type StopReason =
  /** Its machine reached a final state. */
  | "done"
  /** Somebody asked for it. */
  | "stopped"
  /** It failed more often than its restart intensity allows. */
  | "failed"
  /** The lease on its name ended before it was renewed, or somebody else took it. */
  | "lease-lost";

export type InspectionEvent =
  /** The machine runs. `epoch` is the fencing token of a swarm-wide name. */
  | (Base & { readonly type: "started"; readonly restarts: number; readonly epoch: number | undefined })
  | (Base & { readonly type: "stopped"; readonly reason: StopReason })
  /** The machine took `event`; `from` and `to` are its state values, undefined for logic without states. */
  | (Base & { readonly type: "transition"; readonly event: string; readonly from: unknown; readonly to: unknown })
  /** The machine failed and starts again in `delayMs`. */
  | (Base & {
      readonly type: "restarting";
      readonly error: WireError;
      readonly restarts: number;
      readonly delayMs: number;
    })
  /** The supervisor gave up; the host decides. */
  | (Base & { readonly type: "escalated"; readonly error: WireError; readonly decision: EscalationDecision })
  /** Another host owns the name; this one takes over when that one ends. */
  | (Base & { readonly type: "standby" });

/** What the host does with an actor whose supervisor gave up. */
export type EscalationDecision = "restart" | "stop";

/** An actor failed more often than its restart intensity allows. `error` is the last failure. */
export interface Escalation {
  readonly name: string;
  readonly error: unknown;
}

/** A message that reached nobody, or that its actor lost. */
export interface ActorDeadLetter {
  readonly type: "dead-letter";
  readonly name: string;
  /** Type of the message; undefined where the bytes had none. */
  readonly message: string | undefined;
  readonly error: WireError;
  readonly at: number;
}
