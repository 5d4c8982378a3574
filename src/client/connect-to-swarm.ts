/** Finds the swarm that a client means, and connects to it. */
import type { Bus } from "../bus/bus.ts";
import { type ConnectOptions as BusConnectOptions, connectBus } from "../bus/connection.ts";
import { type ConnectionDescription, parseConnection, resolveConnection } from "../bus/credentials/connection-file.ts";
import { resolveConfig } from "../config.ts";
import { VgasError } from "../protocols/errors.ts";
import { type Logger, silentLogger } from "../protocols/logger.ts";
import { inboxPrefix } from "../protocols/subjects.ts";
import { connectionOfHome } from "./home-connection.ts";

export interface ClientOptions {
  /** Home of the node on this machine whose swarm is meant. Default: `VGAS_HOME`, else `~/.vgas`. */
  readonly home?: string;
  /** What `vgas connection` printed, as text or parsed: reaches a swarm from anywhere. */
  readonly connection?: string | ConnectionDescription;
  /** A NATS system that asks for no credential, `nats://host:port`. Default: `VGAS_NATS_URL`, else the home's broker. */
  readonly url?: string;
  /** Prefix of the swarm's subjects. Default: the home's own, `VGAS_PREFIX`, else `vgas`. */
  readonly prefix?: string;
  /** Pool of tasks that name none. Default: `VGAS_POOL`, else `default`. */
  readonly pool?: string;
  /** Gives up connecting when it fires, with ABORTED. */
  readonly signal?: AbortSignal;
  /** Gives up connecting after this many ms, with TIMEOUT. Default: 10 000. */
  readonly timeoutMs?: number;
  /** Default: says nothing. */
  readonly logger?: Logger;
}

type Target = Pick<BusConnectOptions, "url" | "seed" | "inboxPrefix" | "caFile"> & {
  readonly prefix: string;
  readonly pool: string;
};

const CONNECT_TIMEOUT_MS = 10_000;

/** @throws VgasError NO_SWARM, PERMISSION_DENIED, CONFIG, TIMEOUT, ABORTED */
export async function connectToSwarm(
  options: ClientOptions,
): Promise<{ readonly bus: Bus; readonly prefix: string; readonly pool: string }> {
  const { logger = silentLogger, signal, timeoutMs = CONNECT_TIMEOUT_MS } = options;
  const { prefix, pool, ...target } = await findSwarm(options);
  const bus = await within(connectBus({ ...target, name: "vgas client", logger }), timeoutMs, signal);
  return { bus, prefix, pool };
}

async function findSwarm({ home, connection, url, prefix, pool }: ClientOptions): Promise<Target> {
  // A home that the caller names is meant, whatever the environment says.
  const env = home === undefined ? process.env : { ...process.env, VGAS_NATS_URL: undefined };
  const config = resolveConfig({ home, prefix, pool, natsUrl: url }, env);
  const common = { prefix: config.prefix, pool: config.pool };
  if (connection !== undefined) {
    const description = typeof connection === "string" ? parseConnection(connection) : connection;
    const resolved = await resolveConnection(description);
    const caFile = "caFile" in description ? description.caFile : undefined;
    return { ...common, url: url ?? resolved.url, seed: resolved.seed, inboxPrefix: resolved.inboxPrefix, caFile };
  }
  if (config.natsUrl !== undefined) {
    return { ...common, url: config.natsUrl, seed: undefined, inboxPrefix: inboxPrefix("client") };
  }
  const found = await connectionOfHome(config.home);
  const { seed, inboxPrefix: inbox } = found.credential;
  return { ...common, prefix: prefix ?? found.prefix, url: found.url, seed, inboxPrefix: inbox };
}

/** A connection that comes too late is closed. */
async function within(connecting: Promise<Bus>, timeoutMs: number, signal: AbortSignal | undefined): Promise<Bus> {
  let timer: NodeJS.Timeout | undefined;
  let onAbort: (() => void) | undefined;
  const given = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new VgasError("TIMEOUT", `connecting timed out after ${timeoutMs} ms`)), timeoutMs);
    onAbort = () => reject(new VgasError("ABORTED", "connecting was aborted", { cause: signal?.reason }));
    if (signal?.aborted) onAbort();
    else signal?.addEventListener("abort", onAbort);
  });
  try {
    return await Promise.race([connecting, given]);
  } catch (error) {
    connecting.then((bus) => bus.close()).catch(() => undefined);
    throw error;
  } finally {
    clearTimeout(timer);
    if (onAbort !== undefined) signal?.removeEventListener("abort", onAbort);
  }
}
