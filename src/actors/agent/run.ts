/**
 * One execution of a task: decodes it, runs the behaviour, and calls `ended` once with what came of it.
 *
 * 1. The attempt ends at its timeout, whatever the behaviour does; the slot is free when the behaviour has settled (P5).
 * 2. What comes after the timeout is a TIMEOUT, also when nothing could say so in time.
 * 3. `ended` is called exactly once, `released` exactly once and never before the behaviour has settled.
 * 4. What the run uses beyond its memory ends with the attempt, before its outcome is told (`onEnd`).
 */
import type { TaskCheckpoints } from "../../bus/checkpoints.ts";
import { readBody, readEncoding, type TaskEncoding } from "../../bus/codec/task.ts";
import { hasObjects } from "../../bus/task-objects.ts";
import { failpoint } from "../../failpoints/failpoints.ts";
import type { LaneMeter } from "../../metrics/lane-meters.ts";
import type { Clock, Timer } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import type { Assignment } from "../../protocols/host-messages.ts";
import { DEADLINE_GRACE_MS } from "../../protocols/limits.ts";
import type { LaneName } from "../../protocols/subjects.ts";
import { KNOWN_FIELDS } from "../../protocols/task.ts";
import { isInbox, isToken } from "../../protocols/tokens.ts";
import type { Usage } from "../../protocols/vault/keys.ts";
import { toWireError } from "../../protocols/wire-error.ts";
import type { ProcessSpan } from "../../telemetry/process-span.ts";
import type { Backoff } from "./backoff.ts";
import type { Task, TaskContext } from "./definition.ts";
import type { ModuleAgent } from "./isolation/messages.ts";
import type { ResolvedAgent } from "./resolve.ts";
import type { WorkEntry } from "./work-table.ts";

/** What a behaviour did: its output, or what it threw. */
export type RunOutcome =
  | { readonly ok: true; readonly output: unknown }
  | { readonly ok: false; readonly thrown: unknown };

type Fields = Readonly<Record<string, unknown>>;

/** What all runs of a host share. */
export interface RunHooks {
  readonly clock: Clock;
  context(run: Run): TaskContext;
  /** The fields of a task with those of its parts that were too large for a message. */
  resolve(run: Run, fields: Fields): Promise<Fields>;
  /** Tells of the attempt, where somebody wants to know. */
  span?(run: Run): ProcessSpan | undefined;
  /** Looks for what an earlier attempt left: sets `checkpoints` and `restored` of the run. */
  restore(run: Run): Promise<void>;
  /** Runs the task in a process of its own. */
  isolated?(run: Run, module: ModuleAgent, task: Task): Promise<unknown>;
  /** The attempt is over. */
  ended(run: Run, outcome: RunOutcome): void;
  /** The behaviour has settled. */
  released(run: Run): void;
}

/** Where an assignment came from. */
export interface RunOrigin {
  readonly lane: LaneName;
  readonly dispatcher: string;
  /** Where the lane is counted. */
  readonly meter: LaneMeter;
  /** Its tasks were read in this process, so their bytes need not be checked again. */
  readonly walked?: boolean;
}

export class Run {
  readonly n: number;
  readonly agent: number;
  readonly ticket: number;
  readonly attempt: number;
  readonly id: string;
  readonly submittedAt: number;
  readonly timeoutMs: number;
  readonly maxAttempts: number;
  readonly ack: string;
  readonly body: Uint8Array;
  /** What it shows the vault, if its agent declares providers. */
  readonly grant: Uint8Array | undefined;
  /** W3C trace context of the task's message; from its start that of its span, if there is one. */
  traceparent: string | undefined;
  readonly lane: LaneName;
  readonly dispatcher: string;
  readonly meter: LaneMeter;
  readonly #walked: boolean;
  readonly entry: WorkEntry;
  /** In what the task was sent, and so its result and events are. */
  readonly encoding: TaskEncoding;
  replyTo: string | undefined;
  /** Id of the task that this one repeats. */
  replayOf: string | undefined;
  /** Where its checkpoints are, if it wrote one or an earlier attempt may have. */
  checkpoints: TaskCheckpoints | undefined;
  /** The state of the last one. */
  restored: unknown;
  /** What it has used of providers, if anything. */
  usage: Usage | undefined;
  /** Parts of it are in the object store. */
  large = false;
  /** Milliseconds since the epoch; 0 before it started. */
  startedAt = 0;
  #started = 0;
  /** The attempt ended so late that the task was no longer kept alive: it may be running elsewhere. */
  lost = false;
  /** It ended because its task was cancelled. */
  cancelled = false;
  readonly #behaviour: ResolvedAgent;
  readonly #hooks: RunHooks;
  #controller: AbortController | undefined;
  #timer: Timer | undefined;
  #ended = false;
  #span: ProcessSpan | undefined;
  #abortedBy: Error | undefined;
  #atEnd: ((abortedBy: Error | undefined) => void) | undefined;

  /** `entry` is its entry in the work table. */
  constructor(hooks: RunHooks, behaviour: ResolvedAgent, origin: RunOrigin, assignment: Assignment, entry: WorkEntry) {
    this.#hooks = hooks;
    this.#behaviour = behaviour;
    this.lane = origin.lane;
    this.dispatcher = origin.dispatcher;
    this.meter = origin.meter;
    this.#walked = origin.walked ?? false;
    this.entry = entry;
    this.n = assignment[0];
    this.agent = assignment[1];
    this.ticket = assignment[2];
    this.attempt = assignment[3];
    this.id = assignment[4];
    this.submittedAt = assignment[5];
    this.timeoutMs = assignment[6];
    this.maxAttempts = assignment[7];
    this.ack = assignment[8];
    this.body = assignment[9];
    this.grant = assignment[10] ?? undefined;
    this.traceparent = assignment[11];
    this.encoding = readEncoding(this.body);
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Providers that its agent declares. */
  get providers(): readonly string[] {
    return this.#behaviour.providers;
  }

  get backoff(): Required<Backoff> {
    return this.#behaviour.backoff;
  }

  /** Calls `listener` when the attempt ends, with the reason if it is broken off. There is one listener. */
  onEnd(listener: (abortedBy: Error | undefined) => void): void {
    this.#atEnd = listener;
  }

  /** Made when a behaviour first asks for it: most never do. */
  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#abortedBy) this.#controller.abort(this.#abortedBy);
    }
    return this.#controller.signal;
  }

  start(): void {
    const hooks = this.#hooks;
    // Cancelled between the receipt and now: the behaviour never runs.
    if (this.#ended) {
      hooks.released(this);
      return;
    }
    const { clock } = hooks;
    this.startedAt = clock.now();
    this.#started = clock.monotonic();
    let output: unknown;
    let pending: Promise<unknown> | undefined;
    try {
      const { fields } = readBody(this.body, this.#walked);
      this.#readEnvelope(fields);
      this.#span = hooks.span?.(this);
      output = this.#span === undefined ? this.#run(fields) : this.#inSpan(this.#span, fields);
      // A thenable of somebody's making may throw from its `then`, or call back twice: a promise of ours does neither.
      if (isThenable(output)) pending = Promise.resolve(output);
    } catch (thrown) {
      this.#settled({ ok: false, thrown });
      return;
    }
    if (!pending) {
      this.#settled({ ok: true, output });
      return;
    }
    this.#timer = clock.setTimeout(() => this.abort(this.#timeout()), this.timeoutMs);
    pending.then(
      (value) => this.#settled({ ok: true, output: value }),
      (thrown: unknown) => this.#settled({ ok: false, thrown }),
    );
  }

  /** Ends the attempt with `reason`, and tells the behaviour so. */
  abort(reason: VgasError): void {
    this.#end({ ok: false, thrown: reason }, reason);
    this.#abortWith(reason);
  }

  /** Ends the attempt because its task was cancelled, whether or not it has started. One that has ended stays as it is. */
  cancel(reason: VgasError): void {
    if (this.#ended) return;
    this.cancelled = true;
    if (this.startedAt === 0) this.#readEnvelope(readBody(this.body).fields);
    this.abort(reason);
  }

  /** Gives the attempt up without an outcome: another host will run the task. */
  giveUp(reason: VgasError): void {
    this.#ended = true;
    this.#atEnd?.(reason);
    this.#span?.end(toWireError(reason));
    this.#abortWith(reason);
  }

  /** @throws VgasError the reason if the attempt was broken off, SUPERSEDED if it is over */
  throwIfEnded(): void {
    if (this.#abortedBy) throw this.#abortedBy;
    if (this.#ended) throw new VgasError("SUPERSEDED", "the attempt is over");
  }

  #abortWith(reason: VgasError): void {
    this.#abortedBy = reason;
    this.#controller?.abort(reason);
  }

  #settled(outcome: RunOutcome): void {
    failpoint("run.after");
    this.#hooks.clock.clear(this.#timer);
    this.#end(outcome);
    this.#hooks.released(this);
  }

  #end(outcome: RunOutcome, abortedBy?: VgasError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#atEnd?.(abortedBy);
    const { clock, ended } = this.#hooks;
    const ran = clock.monotonic() - this.#started;
    // A behaviour that blocked the loop kept its timer from firing; its attempt is over all the same.
    if (ran > this.timeoutMs) {
      this.lost = ran > this.timeoutMs + DEADLINE_GRACE_MS;
      this.#over(ended, { ok: false, thrown: this.#timeout() });
    } else this.#over(ended, outcome);
  }

  #over(ended: RunHooks["ended"], outcome: RunOutcome): void {
    this.#span?.end(outcome.ok ? undefined : toWireError(outcome.thrown));
    ended(this, outcome);
  }

  #timeout(): VgasError {
    return new VgasError("TIMEOUT", `the attempt timed out after ${this.timeoutMs} ms`);
  }

  #run(fields: Fields): unknown {
    // Nothing was stored before the first attempt.
    return this.large || this.attempt > 1 ? this.#fetchAndRun(fields) : this.#behave(fields);
  }

  #inSpan(span: ProcessSpan, fields: Fields): unknown {
    this.traceparent = span.traceparent;
    return span.within(() => this.#run(fields));
  }

  /** Reading what is elsewhere belongs to the attempt: its timeout counts, and who breaks it off ends that too. */
  async #fetchAndRun(fields: Fields): Promise<unknown> {
    const hooks = this.#hooks;
    const whole = this.large ? await hooks.resolve(this, fields) : fields;
    if (this.attempt > 1) await hooks.restore(this);
    if (this.#abortedBy) throw this.#abortedBy;
    return await this.#behave(whole);
  }

  #behave(fields: Fields): unknown {
    const { isolated } = this.#behaviour;
    const hooks = this.#hooks;
    failpoint("run.before");
    if (isolated === undefined) return this.#behaviour.run(this.#task(fields), hooks.context(this));
    if (!hooks.isolated) throw new VgasError("INTERNAL", "this host cannot run a behaviour in a process of its own");
    return hooks.isolated(this, isolated, this.#task(fields));
  }

  #task(fields: Fields): Task {
    return {
      id: this.id,
      pool: this.lane.pool,
      kind: this.lane.kind,
      input: fields["input"] ?? null,
      context: fields["context"] ?? null,
      submittedAt: this.submittedAt,
      timeoutMs: this.timeoutMs,
      maxAttempts: this.maxAttempts,
      extra: extraOf(fields),
    };
  }

  #readEnvelope(fields: Record<string, unknown>): void {
    if (isInbox(fields["replyTo"])) this.replyTo = fields["replyTo"];
    if (isToken(fields["replayOf"])) this.replayOf = fields["replayOf"];
    this.large = hasObjects(fields);
  }
}

const NO_EXTRA: Readonly<Record<string, unknown>> = Object.freeze({});

function extraOf(fields: Fields): Readonly<Record<string, unknown>> {
  let extra: Record<string, unknown> | undefined;
  for (const key in fields) {
    if (!KNOWN_FIELDS.has(key)) {
      extra ??= {};
      extra[key] = fields[key];
    }
  }
  return extra ?? NO_EXTRA;
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}
