/** What a behaviour holds while it runs; made anew for each run, so it is small and does nothing until asked. */
import type { Bus } from "../../bus/bus.ts";
import type { Checkpoints } from "../../bus/checkpoints.ts";
import { encodeMirrored } from "../../bus/codec/task.ts";
import type { VaultCaller } from "../../bus/sealed/vault-caller.ts";
import type { Clock, Random } from "../../protocols/clock.ts";
import { type Logger, withFields } from "../../protocols/logger.ts";
import type { TaskEvent } from "../../protocols/result.ts";
import { agentId } from "../../protocols/rotation.ts";
import { HEADERS, type Names } from "../../protocols/subjects.ts";
import type { TaskContext } from "./definition.ts";
import type { Run } from "./run.ts";
import type { TaskVault } from "./task-vault.ts";
import { VaultAccess } from "./vault-access.ts";

export interface ContextOptions {
  readonly bus: Bus;
  readonly names: Names;
  readonly hostId: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly checkpoints: Checkpoints;
  /** Without it the node cannot ask the vault: it has no credential to sign with. */
  readonly vault?: VaultCaller | undefined;
}

export class RunContext implements TaskContext {
  readonly attempt: number;
  readonly ticket: number;
  readonly agent: string;
  readonly host: string;
  readonly traceparent: string | undefined;
  readonly #run: Run;
  readonly #options: ContextOptions;
  #chunks = 0;
  #log: Logger | undefined;
  #vault: TaskVault | undefined;

  constructor(run: Run, options: ContextOptions) {
    this.#run = run;
    this.#options = options;
    this.attempt = run.attempt;
    this.ticket = run.ticket;
    this.host = options.hostId;
    this.traceparent = run.traceparent;
    this.agent = agentId(options.hostId, run.agent);
  }

  get signal(): AbortSignal {
    return this.#run.signal;
  }

  get log(): Logger {
    this.#log ??= withFields(this.#options.logger, {
      task: this.#run.id,
      kind: this.#run.lane.kind,
      attempt: this.attempt,
    });
    return this.#log;
  }

  get vault(): TaskVault {
    const { vault: caller, clock, random } = this.#options;
    this.#vault ??= new VaultAccess({ run: this.#run, caller, clock, random });
    return this.#vault;
  }

  get restored(): unknown {
    return this.#run.restored;
  }

  // Made when they are asked for, and good without `ctx`: behaviours take them out of it in their parameters.
  get checkpoint(): TaskContext["checkpoint"] {
    return async (state) => {
      const run = this.#run;
      run.throwIfEnded();
      run.checkpoints ??= this.#options.checkpoints.of(run.lane.pool, run.id);
      await run.checkpoints.write(run.attempt, state);
    };
  }

  get progress(): TaskContext["progress"] {
    return (data) => publishEvent(this.#run, this.#options, "progress", data);
  }

  get output(): TaskContext["output"] {
    return (chunk) => publishEvent(this.#run, this.#options, "output", { seq: this.#chunks++, chunk });
  }
}

/** Publishes an event of a running task. A run that has ended says nothing more. */
export function publishEvent(
  run: Run,
  options: Pick<ContextOptions, "bus" | "names" | "clock">,
  type: TaskEvent["type"],
  data: unknown,
): void {
  const { bus, names, clock } = options;
  const event = { id: run.id, type, at: clock.now(), attempt: run.attempt, data };
  const bytes = encodeMirrored(event, run.encoding);
  if (type !== "retrying" && run.ended) return;
  const { traceparent } = run;
  const headers = traceparent === undefined ? undefined : { headers: { [HEADERS.traceparent]: traceparent } };
  bus.publish(names.event(run.lane.pool, run.id), bytes, headers);
}
