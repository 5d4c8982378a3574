/**
 * A real swarm for a test file: `bin/vgas` processes with homes of their own in a temporary directory, free ports, and an
 * admin connection to look inside. Everything still running is killed at the end; the directory is kept on failure.
 */

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { realpath } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach } from "vitest";
import type { Bus } from "../../src/bus/bus.ts";
import { readAuthority } from "../../src/bus/certificates/authority.ts";
import { decode, encode } from "../../src/bus/codec/codec.ts";
import { decodeMirrored } from "../../src/bus/codec/task.ts";
import { connectBus } from "../../src/bus/connection.ts";
import { describeConnection } from "../../src/bus/credentials/connection-file.ts";
import { openHome } from "../../src/bus/home/home.ts";
import { layoutOf } from "../../src/bus/home/layout.ts";
import { KvBucket } from "../../src/bus/kv.ts";
import { brokersOf } from "../../src/bus/nats-server/orphans.ts";
import { Publisher } from "../../src/bus/publisher.ts";
import { lastBySubjects } from "../../src/bus/stored.ts";
import { streamInfo } from "../../src/bus/topology.ts";
import { VgasError } from "../../src/protocols/errors.ts";
import { type HostStats, hostStats } from "../../src/protocols/host-messages.ts";
import type { TaskResult } from "../../src/protocols/result.ts";
import { type Roster, type RotationRecord, roster, rotationRecord } from "../../src/protocols/rotation.ts";
import { type LaneName, Names } from "../../src/protocols/subjects.ts";
import { type Launched, launchNode, type Node } from "./node.ts";
import { eventually } from "./wait.ts";

export type { Node } from "./node.ts";

export const FIXTURES = fileURLToPath(new URL("../fixtures/", import.meta.url));

export class TestSwarm {
  readonly dir = mkdtempSync(join(tmpdir(), "vgas-swarm-"));
  readonly home = join(this.dir, "up");
  readonly names = new Names();
  /** Also those that never became ready. */
  readonly #launched: Launched[] = [];
  readonly #nodes: Node[] = [];
  readonly #closers: (() => Promise<void>)[] = [];
  #joined = 0;

  /** Registers the end of the swarm with the test file. */
  constructor() {
    let failed = false;
    afterEach((context) => {
      if (context.task.result?.state === "fail") failed = true;
    });
    afterAll(async () => {
      for (const close of this.#closers) await close().catch(() => undefined);
      for (const node of this.#launched) await node.kill("SIGKILL");
      // By the process table: the pid that the home has on record may be somebody else's by now.
      const home = await realpath(this.home).catch(() => this.home);
      for (const { pid } of await brokersOf(layoutOf(home))) killQuietly(pid);
      if (failed) console.error(`kept for inspection: ${this.dir}`);
      else rmSync(this.dir, { recursive: true, force: true });
    });
  }

  up(...flags: readonly string[]): Promise<Node> {
    return this.#start(this.home, ["up", "--nats-port", "0", "--http-port", "0", ...flags]);
  }

  /** Joins with a credential of its own. */
  async join(role: "worker" | "dispatcher", ...flags: readonly string[]): Promise<Node> {
    const { home, file } = await this.homeOf(role);
    return await this.#start(home, ["join", "--connection", file, "--http-port", "0", ...flags]);
  }

  /** A new home, and the connection file in it by which a node of this role can join. */
  async homeOf(role: "worker" | "dispatcher"): Promise<{ readonly home: string; readonly file: string }> {
    const home = join(this.dir, `join-${this.#joined++}`);
    mkdirSync(home, { mode: 0o700 });
    const credential = await (await openHome(this.home)).credentials.issueNode(role);
    const file = join(home, "connection.json");
    writeFileSync(file, JSON.stringify(await describeConnection({ url: this.#url, credential, inline: true })), {
      mode: 0o600,
    });
    return { home, file };
  }

  /** Joins with a new home and what the flags say. */
  async joinBy(...flags: readonly string[]): Promise<Node> {
    const home = join(this.dir, `join-${this.#joined++}`);
    mkdirSync(home, { mode: 0o700 });
    return await this.#start(home, ["join", "--http-port", "0", ...flags]);
  }

  /** Starts `count` nodes at once. */
  joinAll(count: number, role: "worker" | "dispatcher", ...flags: readonly string[]): Promise<Node[]> {
    return Promise.all(Array.from({ length: count }, () => this.join(role, ...flags)));
  }

  /** A connection that may do all that operators do; that of the node itself, `system`, may do everything. */
  async admin(role: "admin" | "system" = "admin"): Promise<Admin> {
    const { credentials, layout } = await openHome(this.home);
    const { seed, inboxPrefix } = await credentials.ensureRole(role);
    const url = this.#url;
    const authority = url.startsWith("tls:") ? await readAuthority(layout) : undefined;
    const { caPem: ca, serverName } = authority ?? {};
    const bus = await connectBus({ url, seed, inboxPrefix, ca, serverName, name: "test" });
    this.#closers.push(() => bus.close());
    return new Admin(bus, this.names);
  }

  /** Pid of the nats-server of the swarm's home. */
  brokerPid(): number | undefined {
    try {
      const record: unknown = JSON.parse(readFileSync(join(this.home, "nats", "broker.json"), "utf8"));
      return (record as { readonly process?: { readonly pid?: number } }).process?.pid;
    } catch {
      return undefined;
    }
  }

  get #url(): string {
    const first = this.#nodes.find(({ child }) => child.exitCode === null && child.signalCode === null);
    if (!first) throw new Error("the swarm is not up");
    return first.url;
  }

  async #start(home: string, args: readonly string[]): Promise<Node> {
    const launched = launchNode(args, home);
    this.#launched.push(launched);
    const node = await launched.ready;
    this.#nodes.push(node);
    return node;
  }
}

/** What a test does with a swarm from outside. */
export class Admin {
  readonly bus: Bus;
  readonly names: Names;
  readonly publisher: Publisher;
  readonly rotation: KvBucket;

  constructor(bus: Bus, names: Names) {
    this.bus = bus;
    this.names = names;
    this.publisher = new Publisher(bus);
    this.rotation = new KvBucket(bus, this.publisher, names.buckets.rotation);
  }

  /** Publishes tasks, each in a message of its own, and resolves when all are acknowledged. Returns their sequences. */
  async submit(kind: string, tasks: readonly unknown[], pool = "default"): Promise<readonly number[]> {
    const acks = tasks.map((task) =>
      this.publisher.publish(this.names.task(pool, kind), encode(task), { msgId: crypto.randomUUID() }),
    );
    return (await Promise.all(acks)).map(({ sequence }) => sequence);
  }

  /** Collects results from now on. */
  async collect(pool = "default"): Promise<Results> {
    const results = new Results();
    await this.bus.subscribe(this.names.result(pool, "*"), ({ data }) =>
      results.add(decodeMirrored(data).value as TaskResult),
    );
    return results;
  }

  async record(lane: LaneName): Promise<RotationRecord | undefined> {
    const entry = await this.rotation.get(this.names.rotationKey(lane));
    return entry && rotationRecord.parse(decode(entry.value));
  }

  async roster(lane: LaneName): Promise<Roster["ranges"]> {
    const entry = await this.rotation.get(this.names.rosterKey(lane));
    return entry ? roster.parse(decode(entry.value)).ranges : [];
  }

  /** Waits until the lane's roster in force names exactly these hosts. A broker that starts again may not answer yet. */
  async rosterOf(lane: LaneName, hosts: readonly string[]): Promise<RotationRecord> {
    const wanted = [...hosts].sort().join();
    const read = async () => ({
      entry: await this.rotation.get(this.names.rosterKey(lane)),
      record: await this.record(lane),
      ranges: await this.roster(lane),
    });
    return await eventually(async () => {
      const found = await read().catch((error: unknown) => {
        if (error instanceof VgasError && error.retryable) return undefined;
        throw error;
      });
      if (found === undefined) return undefined;
      const { entry, record, ranges } = found;
      const named = [...new Set(ranges.map(({ host }) => host))].sort().join();
      return named === wanted && record?.roster === entry?.revision ? record : undefined;
    }, `the roster to name ${wanted}`);
  }

  async stats(host: string): Promise<HostStats> {
    const answer = await this.bus.request("stats", this.names.host(host, "stats"), new Uint8Array(0), {
      timeoutMs: 5_000,
    });
    return hostStats.parse(decode(answer.data));
  }

  /** Messages in the task stream: those not acknowledged yet. */
  async waiting(): Promise<number> {
    return (await streamInfo(this.bus, this.names.streams.tasks))?.messages ?? 0;
  }

  /**
   * Resolves when no task waits for its acknowledgement any more: each has its result in the stream by then. Who subscribes to results
   * hears of them before they are stored.
   */
  async acknowledged(): Promise<void> {
    await eventually(async () => ((await this.waiting()) === 0 ? true : undefined), "every task to be acknowledged");
  }

  /** How many of these tasks have a stored result. */
  async storedOf(ids: readonly string[], pool = "default"): Promise<number> {
    const subjects = ids.map((id) => this.names.result(pool, id));
    return (await lastBySubjects(this.bus, this.names.streams.results, subjects)).size;
  }

  /** The stored result of a task. */
  async storedResult(id: string, pool = "default"): Promise<TaskResult | undefined> {
    const subject = this.names.result(pool, id);
    const message = (await lastBySubjects(this.bus, this.names.streams.results, [subject])).get(subject);
    return message && (decodeMirrored(message.data).value as TaskResult);
  }

  async stored(): Promise<number> {
    return (await streamInfo(this.bus, this.names.streams.results))?.messages ?? 0;
  }
}

/** Results as they come. */
export class Results {
  readonly all: TaskResult[] = [];
  readonly byId = new Map<string, TaskResult>();
  readonly #waiters = new Set<() => void>();

  add(result: TaskResult): void {
    this.all.push(result);
    this.byId.set(result.id, result);
    for (const waiter of [...this.#waiters]) waiter();
  }

  /** Resolves when `count` different tasks have a result. */
  async reach(count: number): Promise<void> {
    await this.until(() => this.byId.size >= count);
  }

  async until(condition: () => boolean): Promise<void> {
    if (condition()) return;
    await new Promise<void>((resolve) => {
      const look = (): void => {
        if (!condition()) return;
        this.#waiters.delete(look);
        resolve();
      };
      this.#waiters.add(look);
    });
  }
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended already.
  }
}
