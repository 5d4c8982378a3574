/** Nodes of a benchmark's swarm, in processes of their own. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { type BenchBroker, startWorker, stopWorker } from "../swarm.ts";

/** What `node-worker.ts` is started with. */
export interface NodeShape {
  readonly url: string;
  readonly seed: string;
  readonly inboxPrefix: string;
  readonly roles: readonly ("dispatcher" | "agents")[];
  /** Agents of each group, and the slots of each. */
  readonly agents: number;
  readonly slots: number;
  readonly kinds: readonly string[];
  /** One group of agents offers every kind; otherwise each kind has its own. */
  readonly shared: boolean;
}

/** Bytes after a collection: what the process's objects and buffers take, and what the system gave it. */
export interface Memory {
  readonly heap: number;
  readonly rss: number;
}

export class BenchNode {
  readonly #process: ChildProcess;

  private constructor(process: ChildProcess) {
    this.#process = process;
  }

  static async start(broker: BenchBroker, shape: Omit<NodeShape, "url" | "seed" | "inboxPrefix">): Promise<BenchNode> {
    const { seed, inboxPrefix } = await broker.home.credentials.issueNode(
      shape.roles.includes("dispatcher") ? "dispatcher" : "worker",
    );
    const whole: NodeShape = { ...shape, url: broker.url, seed: new TextDecoder().decode(seed), inboxPrefix };
    return new BenchNode(await startWorker("scale/node-worker.ts", JSON.stringify(whole)));
  }

  async memory(): Promise<Memory> {
    const answer = once(this.#process.stdout as NodeJS.ReadableStream, "data");
    this.#process.kill("SIGUSR2");
    return JSON.parse(String((await answer)[0])) as Memory;
  }

  stop(): Promise<void> {
    return stopWorker(this.#process);
  }
}
