/**
 * A queue of waiting tasks that is drained a part at a time. The queue stays for the whole run, because it takes long to fill; the
 * node that drains it is a fresh process each time.
 */
import { setTimeout as pause } from "node:timers/promises";
import { Publisher } from "../../src/bus/publisher.ts";
import { streamInfo } from "../../src/bus/topology.ts";
import { BenchBroker } from "../swarm.ts";
import { BenchNode, type Memory } from "./nodes.ts";
import { residentBytes } from "./resident.ts";
import { SLOTS, SMALLEST, TASK_BYTES, taskOf } from "./trial.ts";

const LANE = { pool: "default", kind: "echo" };
/** Published at once: more would only fill this process. */
const CHUNK = 20_000;

export interface Drained {
  /** Stored results per second. */
  readonly rate: number;
  /** Of the node, while it drains. */
  readonly memory: Memory;
}

export class Backlog {
  readonly #broker: BenchBroker;

  private constructor(broker: BenchBroker) {
    this.#broker = broker;
  }

  static async start(): Promise<Backlog> {
    return new Backlog(await BenchBroker.start());
  }

  /** Submits single tasks until `waiting` wait. */
  async fill(waiting: number): Promise<void> {
    const { bus, names } = this.#broker;
    const publisher = new Publisher(bus);
    const subject = names.task(LANE.pool, LANE.kind);
    const body = taskOf(TASK_BYTES);
    let missing = waiting - (await this.waiting());
    while (missing > 0) {
      for (let i = Math.min(missing, CHUNK); i > 0; i--, missing--)
        publisher.send(subject, body, undefined, (error) => {
          if (error) throw error;
        });
      await publisher.idle();
    }
    publisher.close();
  }

  /** Tasks that are not acknowledged. */
  async waiting(): Promise<number> {
    const { bus, names } = this.#broker;
    return (await streamInfo(bus, names.streams.tasks))?.messages ?? 0;
  }

  /** Drains `warm` tasks and then measures until `tasks` more are done. */
  async drain(warm: number, tasks: number): Promise<Drained> {
    const before = await this.#results();
    const all = before + (await this.waiting());
    const node = await BenchNode.start(this.#broker, {
      roles: ["dispatcher", "agents"],
      agents: SMALLEST.agents,
      slots: SLOTS,
      kinds: [LANE.kind],
      shared: false,
    });
    try {
      const ready = { results: before, at: performance.now() };
      const warmed = await this.#until(before + warm);
      // Where this process has stood still there may be too few left to measure.
      const from = warmed.results + tasks > all ? ready : warmed;
      const to = await this.#until(from.results + tasks);
      return { rate: ((to.results - from.results) / (to.at - from.at)) * 1_000, memory: await node.memory() };
    } finally {
      await node.stop();
    }
  }

  /** Resident bytes of nats-server. */
  brokerBytes(): number {
    return residentBytes(this.#broker.pid);
  }

  stop(): Promise<void> {
    return this.#broker.stop();
  }

  /** Results that were ever stored. */
  async #results(): Promise<number> {
    const { bus, names } = this.#broker;
    return (await streamInfo(bus, names.streams.results))?.lastSequence ?? 0;
  }

  async #until(results: number): Promise<{ readonly results: number; readonly at: number }> {
    for (;;) {
      const now = await this.#results();
      if (now >= results) return { results: now, at: performance.now() };
      await pause(10);
    }
  }
}
