/** The part of BullMQ that is used here. The package is in package.json here, and not installed unless somebody compares. */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { root } from "../../scripts/lib/checkout.mjs";
import { reasonOf } from "../../scripts/lib/log.mjs";
import { run } from "../../scripts/lib/run.mjs";
import type { Bench } from "../benchmark.ts";

export interface Job {
  readonly id?: string;
  readonly data: unknown;
  readonly attemptsStarted: number;
  waitUntilFinished(events: QueueEvents): Promise<unknown>;
}

export interface JobOptions {
  readonly removeOnComplete?: boolean | { readonly count?: number; readonly age?: number };
  readonly attempts?: number;
}

export interface Queue {
  readonly name: string;
  add(name: string, data: unknown, options?: JobOptions): Promise<Job>;
  addBulk(
    jobs: readonly { readonly name: string; readonly data: unknown; readonly opts?: JobOptions }[],
  ): Promise<Job[]>;
  getJobCounts(...types: string[]): Promise<Record<string, number>>;
  waitUntilReady(): Promise<unknown>;
  close(): Promise<void>;
}

export interface QueueEvents {
  on(event: "completed" | "failed" | "active" | "stalled", listener: (args: { readonly jobId: string }) => void): this;
  waitUntilReady(): Promise<unknown>;
  close(): Promise<void>;
}

export interface Worker {
  waitUntilReady(): Promise<unknown>;
  close(): Promise<void>;
}

export interface ConnectionOptions {
  readonly host: string;
  readonly port: number;
  readonly maxRetriesPerRequest: null;
}

export interface BullMqPackage {
  readonly Queue: new (name: string, options: { readonly connection: ConnectionOptions }) => Queue;
  readonly QueueEvents: new (name: string, options: { readonly connection: ConnectionOptions }) => QueueEvents;
  readonly Worker: new (
    name: string,
    processor: (job: Job) => Promise<unknown>,
    options: { readonly connection: ConnectionOptions; readonly concurrency: number },
  ) => Worker;
}

const FOLDER = join(root, "bench", "rivals");
const INSTALL_TIMEOUT_MS = 120_000;

/** Whether it is installed, as the lock file says. */
export function isBullMqInstalled(): boolean {
  return installedVersion() === wantedVersion();
}

/** @throws Error with the reason, such as that the registry cannot be reached */
export async function installBullMq({ log }: Pick<Bench, "log">): Promise<void> {
  log(
    `installing what vgas is compared with into bench/rivals/node_modules (npm ci: BullMQ ${wantedVersion()}, ioredis)`,
  );
  const own = process.env["npm_execpath"];
  const [command, first]: [string, string[]] = own?.endsWith("npm-cli.js") ? [process.execPath, [own]] : ["npm", []];
  // Native add-ons come built; nothing of it needs a script.
  const args = [...first, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"];
  const { code, stderr } = await run(command, args, { cwd: FOLDER, timeoutMs: INSTALL_TIMEOUT_MS }).catch((error) => ({
    code: 1,
    stderr: reasonOf(error),
  }));
  if (code === 0 && isBullMqInstalled()) return;
  throw new Error(
    `npm ci in bench/rivals failed: ${stderr.trim().split("\n")[0]?.slice(0, 200) ?? `exit code ${code}`}`,
  );
}

export function loadBullMq(): BullMqPackage {
  return createRequire(join(FOLDER, "package.json"))("bullmq") as BullMqPackage;
}

export function installedVersion(): string | undefined {
  return versionIn(join(FOLDER, "node_modules", "bullmq", "package.json"), ({ version }) => version);
}

function wantedVersion(): string | undefined {
  return versionIn(join(FOLDER, "package.json"), ({ dependencies }) => dependencies?.["bullmq"]);
}

interface Manifest {
  readonly version?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
}

function versionIn(path: string, read: (manifest: Manifest) => string | undefined): string | undefined {
  return existsSync(path) ? read(JSON.parse(readFileSync(path, "utf8")) as Manifest) : undefined;
}
