/** One swarm of a size: a fresh broker, nodes in processes of their own, and tasks that go through them. */
import { encode } from "../../src/bus/codec/codec.ts";
import { BenchBroker, drive } from "../swarm.ts";
import { BenchNode, type Memory, type NodeShape } from "./nodes.ts";

export interface Size {
  readonly agents: number;
  readonly lanes: number;
  /** The same agents offer every lane; otherwise each lane has `agents` of its own. */
  readonly shared: boolean;
}

export const SMALLEST: Size = { agents: 16, lanes: 1, shared: false };
export const SLOTS = 64;
export const TASK_BYTES = 200;
const POOL = "default";
/** Of the tasks, before it is measured: as many as make every function fast. */
const WARM_SHARE = 1 / 5;

/** A task whose message has `bytes` bytes. */
export function taskOf(bytes: number): Uint8Array {
  const frame = encode({ input: { text: "x".repeat(bytes) } }).length - bytes;
  return encode({ input: { text: "x".repeat(Math.max(0, bytes - frame)) } });
}

export class Trial {
  readonly #broker: BenchBroker;
  readonly #size: Size;
  readonly #kinds: readonly string[];
  readonly #nodes: BenchNode[] = [];
  #stopped: Promise<void> | undefined;

  private constructor(broker: BenchBroker, size: Size) {
    this.#broker = broker;
    this.#size = size;
    this.#kinds = Array.from({ length: size.lanes }, (_, i) => `echo-${i}`);
  }

  /** With one node, dispatcher and host in one process. */
  static async start(size: Size): Promise<Trial> {
    const trial = new Trial(await BenchBroker.start(), size);
    await trial.#join("dispatcher", "agents");
    return trial;
  }

  /** Adds hosts without a dispatcher until there are `hosts`. */
  async grow(hosts: number): Promise<void> {
    await Promise.all(Array.from({ length: hosts - this.#nodes.length }, () => this.#join("agents")));
  }

  /** Tasks per second, submit to stored result, spread over the lanes, after a fifth as many that are not counted. */
  async rate(tasks: number, bytes: number): Promise<number> {
    const body = taskOf(bytes);
    const subjects = this.#kinds.map((kind) => this.#broker.names.task(POOL, kind));
    const warm = Math.ceil(tasks * WARM_SHARE);
    await drive(this.#broker, subjects, new Array(warm).fill(body), warm);
    return await drive(this.#broker, subjects, new Array(tasks).fill(body), tasks);
  }

  /** Of the node with the dispatcher. */
  memory(): Promise<Memory> {
    return (this.#nodes[0] as BenchNode).memory();
  }

  /** Idempotent. */
  stop(): Promise<void> {
    this.#stopped ??= Promise.all(this.#nodes.map((node) => node.stop())).then(() => this.#broker.stop());
    return this.#stopped;
  }

  async #join(...roles: NodeShape["roles"]): Promise<void> {
    const { agents, shared } = this.#size;
    this.#nodes.push(await BenchNode.start(this.#broker, { roles, agents, slots: SLOTS, kinds: this.#kinds, shared }));
  }
}
