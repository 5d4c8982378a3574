/** Finds a nats-server that is new enough: `VGAS_NATS_SERVER`, then the one that set-up brought, then PATH. */
import { execFile } from "node:child_process";
import { constants, existsSync } from "node:fs";
import { access, readFile } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { z } from "zod";
import { VgasError } from "../../protocols/errors.ts";
import { isAtLeast } from "../versions.ts";

const run = promisify(execFile);

/** 2.12 is the first with the security fixes, `sync_interval`, atomic batches and per-key lifetimes that vgas relies on. */
const MINIMUM = "2.12.0";
const VERSION_TIMEOUT_MS = 10_000;

export interface NatsServerBinary {
  readonly path: string;
  /** For example "2.12.1". */
  readonly version: string;
}

export interface LocateOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** Where set-up records what it brought. */
  readonly recordFile?: string;
}

/** The package's own folder: the nearest above the sources, or above the build, that describes a package. */
export const PACKAGE_ROOT = nearestPackage();

const recordSchema = z.object({ path: z.string() });

/**
 * @throws VgasError CONFIG if VGAS_NATS_SERVER names none that will do, BROKER_FAILED if there is none at all; the message
 * says what was looked at and what to do
 */
export async function locateNatsServer(options: LocateOptions = {}): Promise<NatsServerBinary> {
  const { env = process.env, recordFile = join(PACKAGE_ROOT, ".cache", "nats-server.json") } = options;
  const named = env["VGAS_NATS_SERVER"];
  if (named !== undefined && named !== "") {
    const found = await examine(named);
    if (typeof found !== "string") return found;
    throw new VgasError("CONFIG", `VGAS_NATS_SERVER=${named} cannot be used: ${found}`);
  }
  const tried: string[] = [];
  for (const path of [await recordedPath(recordFile), await onPath(env)]) {
    if (path === undefined) continue;
    const found = await examine(path);
    if (typeof found !== "string") return found;
    tried.push(`${path}: ${found}`);
  }
  const seen = tried.length > 0 ? ` (${tried.join("; ")})` : "";
  throw new VgasError(
    "BROKER_FAILED",
    `no nats-server ${MINIMUM} or newer was found${seen}; run \`npm run setup\`, or set VGAS_NATS_SERVER to the path of one`,
  );
}

/** The binary, or why it will not do. */
async function examine(path: string): Promise<NatsServerBinary | string> {
  let output: string;
  try {
    output = (await run(path, ["--version"], { timeout: VERSION_TIMEOUT_MS })).stdout;
  } catch (error) {
    return `it does not run (${error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error)})`;
  }
  const [, version = ""] = /v?(\d+\.\d+\.\d+\S*)/.exec(output) ?? [];
  if (version === "") return "`--version` names no version";
  return isAtLeast(version, MINIMUM) ? { path, version } : `it is ${version}, older than ${MINIMUM}`;
}

async function recordedPath(recordFile: string): Promise<string | undefined> {
  try {
    return recordSchema.parse(JSON.parse(await readFile(recordFile, "utf8"))).path;
  } catch {
    // Set-up has not run, or was interrupted.
    return undefined;
  }
}

async function onPath(env: NodeJS.ProcessEnv): Promise<string | undefined> {
  const name = process.platform === "win32" ? "nats-server.exe" : "nats-server";
  for (const dir of (env["PATH"] ?? "").split(delimiter)) {
    if (dir === "") continue;
    const path = join(dir, name);
    const runs = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (runs) return path;
  }
  return undefined;
}

function nearestPackage(): string {
  let dir = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(dir, "package.json")) && dir !== dirname(dir)) dir = dirname(dir);
  return dir;
}
