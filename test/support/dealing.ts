/**
 * Dispatchers and actor hosts in this process, which meet only on the bus, on a swarm of its own prefix: several swarms share
 * one nats-server. Heartbeats come from a timer here instead of a thread.
 */
import { onTestFinished } from "vitest";
import { ActorHost as AgentHost } from "../../src/actors/agent/actor-host.ts";
import type { AgentDefinition } from "../../src/actors/agent/definition.ts";
import type { Heartbeat } from "../../src/actors/agent/heartbeat.ts";
import { LoadBoard } from "../../src/actors/agent/load-board.ts";
import { agentLogic } from "../../src/actors/agent/machine.ts";
import { resolveAgent } from "../../src/actors/agent/resolve.ts";
import { WorkTable } from "../../src/actors/agent/work-table.ts";
import { Dispatcher, type DispatcherOptions } from "../../src/actors/gatling/dispatcher.ts";
import { dispatcherMachine } from "../../src/actors/gatling/machine.ts";
import { AttemptsLog } from "../../src/bus/attempts.ts";
import type { Bus, HeaderRecord } from "../../src/bus/bus.ts";
import { Checkpoints } from "../../src/bus/checkpoints.ts";
import { encode } from "../../src/bus/codec/codec.ts";
import { decodeMirrored } from "../../src/bus/codec/task.ts";
import { KvBucket } from "../../src/bus/kv.ts";
import { Objects } from "../../src/bus/objects.ts";
import { Publisher } from "../../src/bus/publisher.ts";
import { ResultStore } from "../../src/bus/results.ts";
import { lastBySubject, type StoredMessage } from "../../src/bus/stored.ts";
import { TaskObjects } from "../../src/bus/task-objects.ts";
import { streamInfo } from "../../src/bus/topology.ts";
import { type Clock, systemClock } from "../../src/protocols/clock.ts";
import type { TaskResult } from "../../src/protocols/result.ts";
import type { Names, Priority } from "../../src/protocols/subjects.ts";
import { ActorHost } from "./actor-host.ts";
import { heartbeatOf } from "./heartbeat.ts";
import type { TestNats } from "./nats.ts";
import { eventually } from "./wait.ts";

const BEAT_MS = 200;
let swarms = 0;

/** One part's connection and what it writes through. */
interface Part {
  readonly actors: ActorHost;
  readonly shared: {
    readonly bus: Bus;
    readonly publisher: Publisher;
    readonly results: ResultStore;
    readonly attempts: AttemptsLog;
    readonly objects: TaskObjects;
    readonly checkpoints: Checkpoints;
    readonly names: Names;
    readonly clock: typeof systemClock;
    readonly random: () => number;
    readonly logger: ActorHost["logger"];
  };
}

export class Dealing {
  readonly names: Names;
  readonly bus: Bus;
  readonly publisher: Publisher;
  readonly attempts: AttemptsLog;
  readonly #nats: TestNats;

  private constructor(nats: TestNats, { actors, shared }: Part) {
    this.#nats = nats;
    this.names = actors.names;
    this.bus = shared.bus;
    this.publisher = shared.publisher;
    this.attempts = shared.attempts;
  }

  static async start(nats: TestNats): Promise<Dealing> {
    return new Dealing(nats, await partOf(nats, "client", `d${swarms++}`));
  }

  /** `change` gets what it is made of, before it is: its calls can be held or made to fail. */
  async dispatcher(
    dispatcherId = "d1",
    clock: Clock = systemClock,
    change: (options: DispatcherOptions) => void = () => undefined,
  ): Promise<Dispatcher> {
    const { actors, shared } = await partOf(this.#nats, dispatcherId, this.names.prefix);
    const { bus, publisher, names, results } = shared;
    const options: DispatcherOptions = {
      ...shared,
      clock,
      dispatcherId,
      rotation: new KvBucket(bus, publisher, names.buckets.rotation),
      spawn: (effects) => actors.system.spawnLocal("gatling", dispatcherMachine, effects),
    };
    change(options);
    const dispatcher = new Dispatcher(options);
    onTestFinished(async () => {
      await dispatcher.stop(0);
      results.close();
    });
    await dispatcher.start();
    return dispatcher;
  }

  /** `kill` cuts it off as the death of its process would: its runs go on in this process, and reach nobody. */
  async host(
    hostId: string,
    ...definitions: readonly AgentDefinition[]
  ): Promise<AgentHost & { kill(): Promise<void> }> {
    return await this.hostBy(systemClock, hostId, ...definitions);
  }

  /** A host with a clock of its own. */
  async hostBy(
    clock: Clock,
    hostId: string,
    ...definitions: readonly AgentDefinition[]
  ): Promise<AgentHost & { kill(): Promise<void> }> {
    const { actors, shared } = await partOf(this.#nats, hostId, this.names.prefix);
    const { bus, names, results } = shared;
    const agents = definitions.map((definition) => resolveAgent(definition, { pool: "default", slots: 1 }, "test"));
    const board = new LoadBoard(agents.reduce((sum, { instances }) => sum + instances, 0));
    const groups = [...AgentHost.groups(agents)];
    const beat = (): void => {
      if (bus.state !== "connected") return;
      const load = { running: board.running(), draining: board.draining, ...board.totals() };
      bus.publish(names.heartbeat(hostId), encode(heartbeatOf({ host: hostId, groups, ...load })));
    };
    let beating: NodeJS.Timeout | undefined;
    const heartbeat = {
      board,
      work: new WorkTable(() => undefined),
      beatNow: beat,
      start: async () => {
        beat();
        beating = setInterval(beat, BEAT_MS);
      },
      stop: async () => clearInterval(beating),
    } as unknown as Heartbeat;
    const host = new AgentHost({
      ...shared,
      clock,
      hostId,
      run: "r",
      agents,
      heartbeat,
      spawn: (agent) => actors.system.spawnLocal(`agent-${agent}`, agentLogic),
    });
    onTestFinished(async () => {
      clearInterval(beating);
      if (bus.state !== "closed") await host.drain(0);
      await host.stop();
      results.close();
    });
    await host.start();
    return Object.assign(host, { kill: () => bus.close() });
  }

  /** Returns the sequence of the message. */
  async submit(
    kind: string,
    task: unknown,
    { headers, priority }: { readonly headers?: HeaderRecord; readonly priority?: Priority } = {},
  ): Promise<number> {
    const options = headers === undefined ? {} : { headers };
    return (await this.publisher.publish(this.names.task("default", kind, priority), encode(task), options)).sequence;
  }

  /** Asks, and resolves with the decoded answer. */
  async ask(subject: string, body: unknown = undefined): Promise<unknown> {
    const bytes = body instanceof Uint8Array ? body : body === undefined ? new Uint8Array(0) : encode(body);
    const answer = await this.bus.request(`asking ${subject}`, subject, bytes, { timeoutMs: 10_000 });
    return decodeMirrored(answer.data).value;
  }

  /** As `ask`, for what a dispatcher answers only once it must know all hosts: it says so when that takes too long, as after a stall. */
  async askPatiently(subject: string, body: unknown = undefined): Promise<unknown> {
    for (;;) {
      const answer = await this.ask(subject, body);
      if ((answer as { error?: { code?: string } }).error?.code !== "TIMEOUT") return answer;
    }
  }

  async stored(id: string): Promise<StoredMessage | undefined> {
    return await lastBySubject(this.bus, this.names.streams.results, this.names.result("default", id));
  }

  /** The stored result, when it is there. */
  async result(id: string): Promise<TaskResult> {
    const { data } = await eventually(() => this.stored(id), `the result of ${id}`);
    return decodeMirrored(data).value as TaskResult;
  }

  /** Messages in the task stream: those not acknowledged yet. */
  async waiting(): Promise<number> {
    return (await streamInfo(this.bus, this.names.streams.tasks))?.messages ?? 0;
  }
}

async function partOf(nats: TestNats, id: string, prefix: string): Promise<Part> {
  const actors = await ActorHost.start(nats, id, { prefix });
  onTestFinished(() => actors.system.stop());
  const { bus, names, logger } = actors;
  const publisher = new Publisher(bus);
  const results = new ResultStore({ bus, publisher, names, clock: systemClock, logger });
  const attempts = new AttemptsLog(new KvBucket(bus, publisher, names.buckets.attempts), names);
  const objects = new TaskObjects({ bus, publisher, names, logger });
  const checkpoints = new Checkpoints({
    bucket: new KvBucket(bus, publisher, names.buckets.checkpoints),
    objects: new Objects(bus, publisher, names),
    names,
    maxPayload: () => bus.maxPayload,
  });
  const shared = {
    bus,
    publisher,
    results,
    attempts,
    objects,
    checkpoints,
    names,
    clock: systemClock,
    random: Math.random,
    logger,
  };
  return { actors, shared };
}
