/**
 * A real nats-server for a test file: a free port, a store of its own in a temporary directory, which is kept if a test
 * of the file failed.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach } from "vitest";
import type { Bus } from "../../src/bus/bus.ts";
import { connectBus } from "../../src/bus/connection.ts";
import type { Logger } from "../../src/protocols/logger.ts";
import { findNatsServer, freePort } from "./nats-binary.ts";

export { freePort } from "./nats-binary.ts";

export interface TestNatsOptions {
  /** Appended to the server's configuration, such as an authorization block. */
  readonly config?: string;
  /** `max_payload`, bytes. */
  readonly maxPayload?: number;
}

export interface TestBusOptions {
  readonly url?: string;
  readonly seed?: Uint8Array;
  readonly user?: string;
  readonly logger?: Logger;
  readonly pingIntervalMs?: number;
}

/** Registers the server's start and end with the test file, and returns it. Use its members in tests and hooks only. */
export function useNats(options: TestNatsOptions = {}): TestNats {
  const nats = new TestNats(options);
  let failed = false;
  beforeAll(() => nats.start());
  beforeEach((context) => {
    context.onTestFailed(() => {
      failed = true;
    });
  });
  afterAll(async () => {
    await nats.close();
    if (failed) console.error(`kept for inspection: ${nats.dir}`);
    else rmSync(nats.dir, { recursive: true, force: true });
  });
  return nats;
}

export class TestNats {
  readonly dir = mkdtempSync(join(tmpdir(), "vgas-nats-"));
  readonly #options: TestNatsOptions;
  readonly #buses = new Set<Bus>();
  #child: ChildProcess | undefined;
  #port = 0;
  #output = "";

  constructor(options: TestNatsOptions = {}) {
    this.#options = options;
  }

  get port(): number {
    return this.#port;
  }

  get url(): string {
    return `nats://127.0.0.1:${this.#port}`;
  }

  get pid(): number {
    if (this.#child?.pid === undefined) throw new Error("the nats-server does not run");
    return this.#child.pid;
  }

  /** Resolves when the server accepts clients. Keeps the port and the store of a start before. */
  async start(): Promise<void> {
    if (this.#child !== undefined) return;
    this.#port ||= await freePort();
    const config = this.#writeConfig(this.#options.config ?? "");
    const child = spawn(findNatsServer(), ["-c", config], { stdio: ["ignore", "pipe", "pipe"] });
    this.#child = child;
    this.#output = "";
    await new Promise<void>((resolve, reject) => {
      const read = (chunk: Buffer): void => {
        this.#output = (this.#output + chunk.toString()).slice(-20_000);
        if (this.#output.includes("Server is ready")) resolve();
      };
      child.stdout?.on("data", read);
      child.stderr?.on("data", read);
      child.once("error", reject);
      child.once("exit", (code, signal) => {
        if (this.#child === child) this.#child = undefined;
        reject(new Error(`nats-server ended with ${code ?? signal}:\n${this.#output}`));
      });
    });
  }

  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void> {
    return this.#end("SIGKILL");
  }

  stop(): Promise<void> {
    return this.#end("SIGTERM");
  }

  /** Makes the server read `config` (appended as in the options) anew. */
  async reload(config: string): Promise<void> {
    this.#writeConfig(config);
    const from = this.#output.length;
    this.#child?.kill("SIGHUP");
    while (!this.#output.slice(from).includes("Reloaded server configuration")) {
      if (this.#child?.stderr == null) throw new Error("the nats-server does not run");
      await once(this.#child.stderr, "data");
    }
  }

  /** A bus to this server, closed with it. */
  async bus(options: TestBusOptions = {}): Promise<Bus> {
    const { url = this.url, seed, user = "test", ...rest } = options;
    const bus = await connectBus({ url, seed, name: user, inboxPrefix: `_INBOX.${user}`, ...rest });
    this.#buses.add(bus);
    return bus;
  }

  /** Closes the buses, then the server. */
  async close(): Promise<void> {
    await Promise.all([...this.#buses].map((bus) => bus.close()));
    this.#buses.clear();
    await this.stop();
  }

  #writeConfig(extra: string): string {
    const path = join(this.dir, "nats.conf");
    const store = JSON.stringify(join(this.dir, "store"));
    const lines = [
      `listen: "127.0.0.1:${this.#port}"`,
      `max_payload: ${this.#options.maxPayload ?? 1_048_576}`,
      `jetstream { store_dir: ${store}, max_file_store: 16TB, max_memory_store: 64MB, strict: true }`,
      extra,
    ];
    writeFileSync(path, lines.join("\n"));
    return path;
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    const gone = once(child, "exit");
    child.kill(signal);
    await gone;
    this.#child = undefined;
  }
}
