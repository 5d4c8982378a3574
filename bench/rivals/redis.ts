/** A redis-server for the rivals that need one: found or brought without root, and started fresh for each measurement. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { paths } from "../../scripts/lib/checkout.mjs";
import { outputOf, run } from "../../scripts/lib/run.mjs";
import { freePort } from "../../test/support/nats-binary.ts";
import type { Bench } from "../benchmark.ts";

/** What set-up unpacked. */
const BROUGHT = join(paths.cache, "redis");
/** The second holds the binary, the first only what starts it with the system. */
const PACKAGES = ["redis-server", "redis-tools"];
const REMEDY = "with one on PATH it is compared";
const DOWNLOAD_TIMEOUT_MS = 60_000;
const START_TIMEOUT_MS = 10_000;

/** How to run it, and which it is. */
export interface RedisBinary {
  readonly path: string;
  readonly environment: NodeJS.ProcessEnv;
  readonly version: string;
}

export interface RedisOptions {
  /** When what is acknowledged is on the disk: `always` before, `everysec` within a second (default). */
  readonly appendfsync?: "everysec" | "always";
}

/** The one on PATH, or the one that was brought before; undefined if there is none. */
export function findRedis(): RedisBinary | undefined {
  for (const dir of (process.env["PATH"] ?? "").split(delimiter)) {
    const found = dir === "" ? undefined : runnable(join(dir, "redis-server"), process.env);
    if (found !== undefined) return found;
  }
  const libraries = ["lib", "usr/lib"]
    .map((at) => join(BROUGHT, at))
    .filter((path) => existsSync(path))
    .flatMap((path) => [path, ...readdirSync(path).map((name) => join(path, name))]);
  return runnable(join(BROUGHT, "usr", "bin", "redis-server"), {
    ...process.env,
    LD_LIBRARY_PATH: libraries.join(delimiter),
  });
}

/**
 * Unpacks the system's own package into the cache of the checkout: no root, nothing is installed.
 *
 * @throws Error with the reason
 */
export async function bringRedis({ log }: Pick<Bench, "log">): Promise<RedisBinary> {
  if (outputOf("apt-get", ["--version"]) === undefined || outputOf("dpkg-deb", ["--version"]) === undefined)
    throw new Error(`there is no redis-server on PATH, and no apt to bring one; ${REMEDY}`);
  log("fetching redis-server with apt (about 2 MB, nothing is installed system-wide)");
  mkdirSync(paths.cache, { recursive: true });
  const aside = mkdtempSync(join(paths.cache, "fetch-"));
  try {
    await download(aside, PACKAGES);
    const tools = readdirSync(aside).find((name) => name.startsWith("redis-tools_"));
    const depends = outputOf("dpkg-deb", ["-f", join(aside, tools ?? ""), "Depends"]) ?? "";
    // Not the C library itself: it belongs to the loader of this system.
    const libraries = [...depends.matchAll(/\blib[a-z0-9.+-]+/g)]
      .map(([name]) => name)
      .filter((name) => name !== "libc6");
    await download(aside, libraries);
    const unpacked = join(aside, "unpacked");
    for (const name of readdirSync(aside).filter((each) => each.endsWith(".deb")))
      await must("dpkg-deb", ["-x", join(aside, name), unpacked]);
    rmSync(BROUGHT, { recursive: true, force: true });
    renameSync(unpacked, BROUGHT);
  } finally {
    rmSync(aside, { recursive: true, force: true });
  }
  const found = findRedis();
  if (found === undefined) throw new Error("the redis-server that apt brought does not run here");
  return found;
}

/** A running redis-server with an append-only file in a folder of its own. */
export class Redis {
  readonly port: number;
  readonly #child: ChildProcess;
  readonly #dir: string;

  private constructor(port: number, child: ChildProcess, dir: string) {
    this.port = port;
    this.#child = child;
    this.#dir = dir;
  }

  /** Settings as for BullMQ in production; no snapshots, and no rewriting of the file while something is measured. */
  static async start(binary: RedisBinary, { appendfsync = "everysec" }: RedisOptions = {}): Promise<Redis> {
    const dir = mkdtempSync(join(tmpdir(), "vgas-bench-redis-"));
    const port = await freePort();
    const settings = {
      port: String(port),
      bind: "127.0.0.1",
      dir,
      appendonly: "yes",
      appendfsync,
      save: "",
      "auto-aof-rewrite-percentage": "0",
      "maxmemory-policy": "noeviction",
    };
    const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
    const child = spawn(binary.path, args, { env: binary.environment, stdio: "ignore" });
    const redis = new Redis(port, child, dir);
    const deadline = performance.now() + START_TIMEOUT_MS;
    while (!(await answers(port))) {
      if (child.exitCode !== null || performance.now() > deadline) {
        await redis.stop();
        throw new Error(`redis-server did not start (exit code ${child.exitCode})`);
      }
      await pause(20);
    }
    return redis;
  }

  /** What it wrote is gone, too. */
  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = once(this.#child, "exit");
      this.#child.kill("SIGKILL");
      await ended;
    }
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

function runnable(path: string, environment: NodeJS.ProcessEnv): RedisBinary | undefined {
  if (!existsSync(path)) return undefined;
  const said = outputOf("env", [`LD_LIBRARY_PATH=${environment["LD_LIBRARY_PATH"] ?? ""}`, path, "--version"]);
  const version = said?.match(/\bv=(\S+)/)?.[1];
  return version === undefined ? undefined : { path, environment, version };
}

async function download(folder: string, packages: readonly string[]): Promise<void> {
  await must("apt-get", ["-q", "download", ...packages], folder);
}

async function must(command: string, args: string[], cwd?: string): Promise<void> {
  const env = { ...process.env, LC_ALL: "C" };
  const { code, stderr } = await run(command, args, { env, timeoutMs: DOWNLOAD_TIMEOUT_MS, ...(cwd && { cwd }) });
  if (code === 0) return;
  const [why = `exit code ${code}`] = stderr.split("\n").filter((line) => /^(E:|dpkg)/.test(line));
  const hint = why.includes("Unable to locate") ? " (after `apt-get update` it may)" : "";
  throw new Error(`${command} could not bring redis-server: ${why.slice(0, 200)}${hint}; ${REMEDY}`);
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    socket.write("PING\r\n");
    const [answer] = await once(socket, "data");
    return String(answer).startsWith("+PONG");
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
