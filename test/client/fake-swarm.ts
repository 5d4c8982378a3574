/** A swarm of a test's own making: takes tasks from their lane and stores a result for each, as the contract says. */
import { onTestFinished } from "vitest";
import type { Bus, BusMessage } from "../../src/bus/bus.ts";
import { decode, encode } from "../../src/bus/codec/codec.ts";
import { encodeMirrored, readBody, readTasks } from "../../src/bus/codec/task.ts";
import { Publisher } from "../../src/bus/publisher.ts";
import { ackTask, type PulledMessage, PullSubscription } from "../../src/bus/pull.ts";
import { ensureLaneConsumers, ensureTopology, streamInfo } from "../../src/bus/topology.ts";
import type { ResultStatus } from "../../src/protocols/result.ts";
import { TOPOLOGY_DEFAULTS, type TopologyOptions } from "../../src/protocols/streams.ts";
import { Names } from "../../src/protocols/subjects.ts";
import { automaticId } from "../../src/protocols/tokens.ts";
import type { TestNats } from "../support/nats.ts";

const POOL = "default";
const MANY = 1_000_000;

export interface FakeSwarmOptions {
  readonly prefix?: string;
  readonly topology?: Partial<TopologyOptions>;
}

/** One task as it came. */
interface Taken {
  readonly id: string;
  readonly kind: string;
  readonly fields: Record<string, unknown>;
}

export class FakeSwarm {
  readonly bus: Bus;
  readonly names: Names;
  readonly publisher: Publisher;
  /** Every task that was answered. */
  readonly taken: Taken[] = [];
  /** False stores results and tells nobody. */
  replies = true;

  private constructor(bus: Bus, names: Names) {
    this.bus = bus;
    this.names = names;
    this.publisher = new Publisher(bus);
  }

  static async start(nats: TestNats, options: FakeSwarmOptions = {}): Promise<FakeSwarm> {
    return await FakeSwarm.on(await nats.bus({ user: "swarm" }), new Names(options.prefix), options.topology);
  }

  /** Takes over the connection. */
  static async on(bus: Bus, names: Names, topology: Partial<TopologyOptions> = {}): Promise<FakeSwarm> {
    await ensureTopology(bus, names, { ...TOPOLOGY_DEFAULTS, ...topology });
    onTestFinished(() => bus.close());
    return new FakeSwarm(bus, names);
  }

  /** Answers tasks of `kind` from now on, those that wait included. */
  async offer(kind: string): Promise<void> {
    await ensureLaneConsumers(this.bus, this.names, { pool: POOL, kind });
    const consumer = this.names.consumer({ pool: POOL, kind });
    const pull = new PullSubscription(this.bus, this.names.streams.tasks, consumer, {
      onMessage: (message) => void this.#answer(kind, message),
      onTrouble: () => undefined,
    });
    onTestFinished(() => pull.stop());
    pull.want(MANY);
  }

  /** Stores a result of somebody's task; resolves with its bytes. */
  async store(id: string, output: unknown, pool = POOL, status: ResultStatus = "ok"): Promise<Uint8Array> {
    const result = { id, pool, kind: "echo", status, output, attempt: 1, submittedAt: 1, finishedAt: 2 };
    const bytes = encodeMirrored(result, "msgpack");
    await this.publisher.publish(this.names.result(pool, id), bytes);
    return bytes;
  }

  /** Answers requests on `subject` with what `answer` returns, encoded; undefined says nothing. Returns how to stop that. */
  async answers(subject: string, answer: (question: unknown, message: BusMessage) => unknown): Promise<() => void> {
    const subscription = await this.bus.subscribe(subject, async (message) => {
      const said = await answer(message.data.length === 0 ? undefined : decode(message.data), message);
      if (said !== undefined) this.bus.respond(message, said instanceof Uint8Array ? said : encode(said));
    });
    return () => subscription.unsubscribe();
  }

  /** Messages in the task stream. */
  async queued(): Promise<number> {
    return (await streamInfo(this.bus, this.names.streams.tasks))?.messages ?? 0;
  }

  async #answer(kind: string, message: PulledMessage): Promise<void> {
    const { array, tasks } = readTasks(message.data);
    for (const [i, { body }] of tasks.entries()) {
      const { encoding, fields } = readBody(body);
      const id = String(fields["id"] ?? automaticId(message.sequence, array ? i : undefined));
      this.taken.push({ id, kind, fields });
      const result = {
        id,
        pool: POOL,
        kind,
        status: "ok",
        output: fields["input"],
        attempt: 1,
        submittedAt: 1,
        finishedAt: 2,
      };
      const bytes = encodeMirrored(result, encoding);
      await this.publisher.publish(this.names.result(POOL, id), bytes);
      const { replyTo } = fields;
      if (this.replies && typeof replyTo === "string") this.bus.publish(replyTo, bytes);
    }
    ackTask(this.bus, message.ack);
  }
}
