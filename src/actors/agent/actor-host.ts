/**
 * The actor host: owns the agents of this node, takes bursts for them, runs the tasks, and is the authority on slots.
 *
 * 1. An agent never runs more tasks than its slots; what is over them is refused in the receipt (P5).
 * 2. A task is this host's from the receipt until it is settled: acknowledged, given back, or reported to its dispatcher.
 * 3. A burst that was recalled before it came is never taken.
 * 4. While draining nothing is taken; `drain` waits for what runs and gives back what does not end in time (P8).
 */
import type { AttemptsLog } from "../../bus/attempts.ts";
import type { Bus, BusMessage, Subscription } from "../../bus/bus.ts";
import type { Checkpoints } from "../../bus/checkpoints.ts";
import { decode, encode } from "../../bus/codec/codec.ts";
import type { Publisher } from "../../bus/publisher.ts";
import type { ResultStore } from "../../bus/results.ts";
import type { VaultCaller } from "../../bus/sealed/vault-caller.ts";
import type { TaskObjects } from "../../bus/task-objects.ts";
import { failpoint } from "../../failpoints/failpoints.ts";
import { LaneMeters } from "../../metrics/lane-meters.ts";
import type { Clock, Random } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import {
  type AgentGroup,
  type Assignment,
  type Burst,
  burst as burstSchema,
  type HostStats,
  owned as ownedSchema,
  type RecallReply,
  type Receipt,
  type Running,
  type RunningReply,
  recall as recallSchema,
  running as runningSchema,
  type Settled,
  type WhereReply,
} from "../../protocols/host-messages.ts";
import type { Logger } from "../../protocols/logger.ts";
import type { HostOperation, LaneName, Names } from "../../protocols/subjects.ts";
import { toWireError } from "../../protocols/wire-error.ts";
import { ProcessSpan } from "../../telemetry/process-span.ts";
import type { LocalActor } from "../runtime/refs.ts";
import { Agent, kindIndex } from "./agent.ts";
import { RunContext } from "./context.ts";
import type { Heartbeat } from "./heartbeat.ts";
import type { IsolationPool } from "./isolation/pool.ts";
import { LoadShown } from "./load-shown.ts";
import type { agentLogic } from "./machine.ts";
import { Notices } from "./notices.ts";
import { Outcomes } from "./outcomes.ts";
import { Receipts } from "./receipts.ts";
import type { ResolvedAgent } from "./resolve.ts";
import { restore } from "./restore.ts";
import { Run, type RunHooks, type RunOrigin, type RunOutcome } from "./run.ts";
import { RunRegistry } from "./run-registry.ts";

/** Ended attempts that wait to be stored; above it they keep their slots, so that a full stream cannot fill the memory. */
const MAX_UNSETTLED = 8_192;
/** A host without tasks waits so long for the server before it stops: it may be cut off and not know it yet. */
const IDLE_FLUSH_MS = 2_000;

export interface ActorHostOptions {
  readonly hostId: string;
  /** Differs after each start of the process. */
  readonly run: string;
  readonly agents: readonly ResolvedAgent[];
  readonly bus: Bus;
  readonly publisher: Publisher;
  readonly results: ResultStore;
  readonly attempts: AttemptsLog;
  readonly objects: TaskObjects;
  readonly checkpoints: Checkpoints;
  readonly names: Names;
  readonly heartbeat: Heartbeat;
  /** What the node counts of its lanes. */
  readonly meters?: LaneMeters;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Asks the vault in this node's name; without it `ctx.vault` refuses. */
  readonly vault?: VaultCaller | undefined;
  /** Runs agents with `isolation: "process"`. */
  readonly isolation?: IsolationPool | undefined;
  /** Runs an agent's chart under supervision. */
  readonly spawn: (agent: number) => LocalActor<typeof agentLogic>;
  /** The dispatcher of this process, if it has one. */
  readonly local?: { readonly dispatcherId: string; readonly deliver: (notice: Settled) => void } | undefined;
}

export class ActorHost {
  readonly hostId: string;
  readonly #options: ActorHostOptions;
  readonly #agents: Agent[] = [];
  readonly #shown = new LoadShown();
  readonly #runs: RunRegistry;
  readonly #receipts = new Receipts();
  readonly #notices: Notices;
  readonly #outcomes: Outcomes;
  readonly #meters: LaneMeters;
  readonly #subscriptions: Subscription[] = [];
  readonly #hooks: RunHooks;
  /** Runs whose behaviour has not settled. */
  readonly #live = new Set<Run>();
  /** Runs over `MAX_UNSETTLED` that keep their slot until their result is stored. */
  readonly #holding = new Set<Run>();
  #draining: Promise<void> | undefined;
  #onQuiet: (() => void) | undefined;

  constructor(options: ActorHostOptions) {
    this.#options = options;
    this.hostId = options.hostId;
    this.#meters = options.meters ?? new LaneMeters();
    this.#runs = new RunRegistry(options.hostId, options.clock);
    for (const behaviour of options.agents) {
      const kinds = kindIndex(behaviour);
      for (let i = 0; i < behaviour.instances; i++) {
        this.#agents.push(new Agent(this.#agents.length, behaviour, options.spawn(this.#agents.length), kinds));
      }
    }
    this.#hooks = {
      clock: options.clock,
      context: (run) => new RunContext(run, options),
      resolve: (run, fields) => options.objects.resolve(fields, run.encoding, { signal: run.signal }),
      span: (run) => ProcessSpan.start(run, options.names, this.hostId),
      restore: (run) => restore(run, options),
      ...(options.isolation && { isolated: isolatedBy(options.isolation, options) }),
      ended: (run, outcome) => this.#onEnded(run, outcome),
      released: (run) => this.#onReleased(run),
    };
    this.#notices = new Notices({ ...options, freeSlots: (agent) => this.#agents[agent]?.free ?? 0 });
    this.#outcomes = new Outcomes({ ...options, settled: (run, next) => this.#onSettled(run, next) });
  }

  async start(): Promise<void> {
    const { bus, names, heartbeat } = this.#options;
    const serve = async (operation: HostOperation, answer: (body: unknown) => unknown): Promise<void> => {
      const subscription = await bus.subscribe(names.host(this.hostId, operation), (message) =>
        this.#answer(message, answer),
      );
      this.#subscriptions.push(subscription);
    };
    await serve("burst", (body) => this.burst(burstSchema.parse(body)));
    await serve("recall", (body) => this.#recall(recallSchema.parse(body)));
    await serve("owned", (body) => {
      const { from, ns } = ownedSchema.parse(body);
      return { v: 1, run: this.#options.run, ns: this.#runs.owned(from, ns) };
    });
    const serveTasks = (operation: HostOperation, answer: (asked: Running) => unknown): Promise<void> =>
      serve(operation, (body) => answer(runningSchema.parse(body)));
    await serveTasks("running", ({ pool, ids }): RunningReply => ({ v: 1, ids: this.#runs.running(pool, ids) }));
    await serveTasks("cancel", ({ pool, ids }): RunningReply => ({ v: 1, ids: this.#runs.cancel(pool, ids) }));
    await serveTasks("where", ({ pool, ids }): WhereReply => ({ v: 1, tasks: this.#runs.where(pool, ids) }));
    await serve("beat", () => {
      heartbeat.beatNow();
      return { v: 1 };
    });
    await serve("stats", () => this.stats());
    await heartbeat.start();
  }

  /**
   * Takes what it can of a burst and says what it refused. The tasks start after the receipt is on its way.
   *
   * @param walked its tasks were read by the dispatcher of this process
   */
  burst(burst: Burst, walked = false): Receipt {
    failpoint("receipt.before");
    const { run } = this.#options;
    const gone = burst.run !== run;
    const draining = this.#draining !== undefined;
    if (gone || draining || this.#receipts.isRecalled(burst.from, burst.burst)) {
      failpoint("receipt.refused");
      return { v: 1, burst: burst.burst, refused: burst.items.map(([n]) => n), free: [], gone, draining };
    }
    this.#notices.heard(burst.from);
    const lane: LaneName = { pool: burst.pool, kind: burst.kind };
    const meter = this.#meters.of(lane);
    const origin: RunOrigin = { lane, dispatcher: burst.from, meter, walked };
    const refused: number[] = [];
    const taken: Run[] = [];
    const named = new Set<Agent>();
    const withheld = burst.caps && this.#withheld(burst.caps);
    for (const item of burst.items) {
      const agent = this.#agents[item[1]];
      if (agent) named.add(agent);
      if (!agent?.offers(lane) || agent.free <= (withheld?.get(agent.number) ?? 0)) refused.push(item[0]);
      else taken.push(this.#take(agent, origin, burst, item));
    }
    const free: number[] = [];
    for (const agent of named) free.push(agent.number, agent.free);
    if (refused.length > 0) failpoint("receipt.refused");
    const receipt: Receipt = { v: 1, burst: burst.burst, refused, free };
    this.#receipts.keep(burst.from, receipt);
    // A behaviour may block the loop, so the receipt is to have left before: the first microtask comes after it was published, the
    // second after the NATS client has written it.
    queueMicrotask(() => queueMicrotask(() => this.#begin(taken)));
    return receipt;
  }

  /** Groups of like agents, as heartbeats and rosters name them. */
  static groups(agents: readonly ResolvedAgent[]): readonly AgentGroup[] {
    let first = 0;
    return agents.map(({ pool, kinds, instances, slots, providers, limits }) => {
      const declared = { ...(providers.length > 0 && { providers: [...providers] }), ...(limits && { limits }) };
      const group = { pool, kinds: [...kinds], first, count: instances, slots, ...declared };
      first += instances;
      return group;
    });
  }

  stats(): HostStats {
    const { run } = this.#options;
    const lanes = new Map<string, HostStats["lanes"][number]>();
    for (const agent of this.#agents) {
      for (const { pool, kind, base, tickets } of agent.tickets()) {
        const key = `${pool}.${kind}.${base}`;
        const lane = lanes.get(key) ?? { pool, kind, base, tickets: [] };
        lane.tickets.push(agent.number, tickets);
        lanes.set(key, lane);
      }
    }
    const running = this.#agents.map((agent) => agent.running);
    const abandoned = [...this.#live].filter((each) => each.ended).length;
    const slowest = this.#runs.slowest(this.#live);
    return { v: 1, host: this.hostId, run, lanes: [...lanes.values()], running, abandoned, slowest };
  }

  /** Takes nothing new, waits up to `graceMs` for what runs, gives the rest back. Idempotent. */
  drain(graceMs: number): Promise<void> {
    this.#draining ??= this.#drain(graceMs);
    return this.#draining;
  }

  /** Ends the agents and the heartbeat. Call after `drain`. */
  async stop(): Promise<void> {
    const { bus, clock } = this.#options;
    if (bus.state === "connected") {
      // A burst that is on its way is refused: without an answer its tasks would count as begun.
      const drained = Promise.all(this.#subscriptions.map((subscription) => subscription.drain()));
      await new Promise<void>((resolve) => {
        const late = clock.setTimeout(resolve, IDLE_FLUSH_MS);
        void drained.then(() => {
          clock.clear(late);
          resolve();
        });
      });
    }
    for (const subscription of this.#subscriptions) subscription.unsubscribe();
    this.#notices.stop();
    await this.#options.heartbeat.stop();
  }

  /** Slots of each agent that a lane may not use, whose share of its kind's limit is below them. */
  #withheld(caps: readonly number[]): ReadonlyMap<number, number> {
    const withheld = new Map<number, number>();
    for (let i = 0; i + 1 < caps.length; i += 2) {
      const number = caps[i] as number;
      withheld.set(number, Math.max(0, (this.#agents[number]?.behaviour.slots ?? 0) - (caps[i + 1] as number)));
    }
    return withheld;
  }

  #take(agent: Agent, origin: RunOrigin, burst: Burst, item: Assignment): Run {
    const { heartbeat } = this.#options;
    const run = new Run(this.#hooks, agent.behaviour, origin, item, heartbeat.work.add(item[8], item[6]));
    agent.take(origin.lane, burst.base);
    if (agent.running === 1) this.#shown.changed(agent);
    heartbeat.board.setRunning(agent.number, agent.running);
    heartbeat.board.started();
    this.#live.add(run);
    this.#runs.add(run);
    this.#runs.forestall(run);
    return run;
  }

  #begin(taken: readonly Run[]): void {
    failpoint("receipt.after");
    for (const run of taken) {
      run.start();
      if (run.attempt === 1 && run.startedAt > 0) run.meter.queued.observeMs(run.startedAt - run.submittedAt);
    }
  }

  #onEnded(run: Run, outcome: RunOutcome): void {
    const { heartbeat, clock } = this.#options;
    if (run.startedAt > 0) run.meter.ran.observeMs(clock.now() - run.startedAt);
    heartbeat.work.keep(run.entry);
    heartbeat.board.ended(this.#outcomes.settle(run, outcome));
  }

  #onReleased(run: Run): void {
    this.#live.delete(run);
    if (this.#runs.has(run) && this.#outcomes.open > MAX_UNSETTLED) this.#holding.add(run);
    else this.#freeSlot(run);
  }

  #freeSlot(run: Run): void {
    const agent = this.#agents[run.agent] as Agent;
    agent.release();
    if (agent.running === 0) this.#shown.changed(agent);
    this.#options.heartbeat.board.setRunning(agent.number, agent.running);
    this.#notices.freed(agent.number, run.dispatcher);
  }

  #onSettled(run: Run, next: "done" | "again"): void {
    this.#options.heartbeat.work.release(run.entry);
    this.#runs.remove(run);
    if (this.#holding.size > 0 && this.#holding.delete(run)) this.#freeSlot(run);
    if (next === "done") this.#notices.done(run.dispatcher, run.n);
    else this.#notices.again(run.dispatcher, run.n);
    this.#showQuiet();
  }

  #showQuiet(): void {
    if (this.#draining && this.#runs.empty) this.#onQuiet?.();
  }

  async #drain(graceMs: number): Promise<void> {
    const { bus, clock, heartbeat } = this.#options;
    heartbeat.board.drain();
    heartbeat.beatNow();
    for (const agent of this.#agents) agent.drain();
    const idle = this.#runs.empty;
    if (!idle) {
      await new Promise<void>((resolve) => {
        const timer = clock.setTimeout(resolve, graceMs);
        this.#onQuiet = () => {
          clock.clear(timer);
          resolve();
        };
      });
    }
    const reason = new VgasError("SHUTTING_DOWN", "the host stops before the attempt ended; it runs again elsewhere");
    const unended = this.#runs.all().filter((run) => !run.ended);
    for (const run of unended) run.giveUp(reason);
    await Promise.allSettled(unended.map((run) => this.#outcomes.giveBack(run)));
    this.#notices.flush();
    // Who had nothing to settle has little to say; cut off, nothing that could leave.
    if (!idle) await bus.flush();
    else if (bus.state === "connected") await bus.flush(IDLE_FLUSH_MS).catch(() => undefined);
  }

  #recall({ from, burst }: { readonly from: string; readonly burst: number }): RecallReply {
    return this.#receipts.recall(from, burst) ?? { v: 1, unknown: true };
  }

  /** Decodes a request, answers it, and answers what is wrong with it. */
  #answer(message: BusMessage, answer: (body: unknown) => unknown): void {
    const { bus } = this.#options;
    let reply: unknown;
    try {
      reply = answer(message.data.length === 0 ? {} : decode(message.data));
    } catch (thrown) {
      const error =
        thrown instanceof VgasError
          ? thrown
          : new VgasError("INVALID", `not a message of this subject: ${String(thrown)}`);
      reply = { error: toWireError(error) };
    }
    bus.respond(message, encode(reply));
  }
}

function isolatedBy(pool: IsolationPool, options: ActorHostOptions): NonNullable<RunHooks["isolated"]> {
  return (run, module, task) => pool.run(module, task, new RunContext(run, options), run);
}
