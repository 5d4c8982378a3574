/** What every benchmark needs: a broker of its own, workers in processes of their own, and a submitter. */
import { type ChildProcess, type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { Bus } from "../src/bus/bus.ts";
import { connectBus } from "../src/bus/connection.ts";
import { type Home, openHome } from "../src/bus/home/home.ts";
import { type NatsServer, startNatsServer } from "../src/bus/nats-server/server.ts";
import { Publisher } from "../src/bus/publisher.ts";
import { ensureTopology, streamInfo } from "../src/bus/topology.ts";
import { TOPOLOGY_DEFAULTS, type TopologyOptions } from "../src/protocols/streams.ts";
import { Names } from "../src/protocols/subjects.ts";
import { bundle } from "./bundle.ts";

/** A broker in a temporary home, with the swarm's streams. */
export class BenchBroker {
  readonly names = new Names();
  readonly home: Home;
  readonly url: string;
  readonly bus: Bus;
  readonly #server: NatsServer;
  readonly #stop: () => Promise<void>;

  private constructor(home: Home, server: NatsServer, bus: Bus, stop: () => Promise<void>) {
    this.home = home;
    this.url = server.url;
    this.#server = server;
    this.bus = bus;
    this.#stop = stop;
  }

  /** Of nats-server. */
  get pid(): number | undefined {
    return this.#server.pid;
  }

  static async start(
    topology: Partial<TopologyOptions> = {},
    durability: "process" | "power" = "process",
  ): Promise<BenchBroker> {
    const dir = mkdtempSync(join(tmpdir(), "vgas-bench-"));
    const home = await openHome(dir);
    await home.lock();
    const onExit = (error: Error): never => {
      throw error;
    };
    const server = await startNatsServer({ home, port: 0, durability, onExit });
    const { seed, inboxPrefix } = await home.credentials.read("system");
    const bus = await connectBus({ url: server.url, seed, inboxPrefix, name: "bench" });
    await ensureTopology(bus, new Names(), {
      ...TOPOLOGY_DEFAULTS,
      batches: durability === "power",
      ...topology,
    });
    return new BenchBroker(home, server, bus, async () => {
      await bus.close();
      await server.stop();
      await home.release();
      rmSync(dir, { recursive: true, force: true });
    });
  }

  stop(): Promise<void> {
    return this.#stop();
  }
}

/** Results that are stored now. */
export async function results({ bus, names }: BenchBroker): Promise<number> {
  return (await streamInfo(bus, names.streams.results))?.messages ?? 0;
}

/** Starts `bench/<file>` in a process of its own and resolves when it has printed its first line. */
export async function startWorker(file: string, ...args: readonly string[]): Promise<ChildProcess> {
  const child = await spawnWorker(file, args);
  const first = await Promise.race([once(child.stdout, "data"), once(child, "exit").then(() => undefined)]);
  if (first === undefined) throw new Error(`${file} ended before it was ready`);
  return child;
}

/** Runs `bench/<file>` in a process of its own to its end, and resolves with what it printed. */
export async function runWorker(file: string, ...args: readonly string[]): Promise<string> {
  const child = await spawnWorker(file, args);
  const ended = once(child, "close");
  let printed = "";
  for await (const chunk of child.stdout) printed += String(chunk);
  const [code] = await ended;
  if (code !== 0) throw new Error(`${file} ended with ${code}`);
  return printed;
}

async function spawnWorker(file: string, args: readonly string[]): Promise<ChildProcessByStdio<null, Readable, null>> {
  const path = await bundle(fileURLToPath(new URL(file, import.meta.url)));
  return spawn(process.execPath, ["--expose-gc", path, ...args], { stdio: ["ignore", "pipe", "inherit"] });
}

/** Idempotent, and good for one that was killed. */
export async function stopWorker(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  await ended;
}

/**
 * Publishes `bodies`, to each subject in turn, and waits until `results` more results are stored and every task is acknowledged. Returns results
 * per second, from the first publish to the last stored result.
 */
export async function drive(
  broker: BenchBroker,
  subject: string | readonly string[],
  bodies: readonly Uint8Array[],
  results: number,
): Promise<number> {
  const subjects = typeof subject === "string" ? [subject] : subject;
  const { bus, names } = broker;
  const publisher = new Publisher(bus);
  const before = (await streamInfo(bus, names.streams.results))?.messages ?? 0;
  const started = performance.now();
  for (const [i, body] of bodies.entries()) {
    publisher.send(subjects[i % subjects.length] as string, body, undefined, (error) => {
      if (error) throw error;
    });
  }
  await publisher.idle();
  for (;;) {
    const stored = ((await streamInfo(bus, names.streams.results))?.messages ?? 0) - before;
    if (stored >= results) break;
    // Rarely enough not to burden the broker that is measured.
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  publisher.close();
  return (results / (performance.now() - started)) * 1_000;
}
