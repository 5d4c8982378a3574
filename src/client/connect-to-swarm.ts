/** Finds the swarm that a client means, and connects to it. */
import type { Bus } from "../bus/bus.ts";
import type { ConnectOptions as BusConnectOptions } from "../bus/connection.ts";
import { type ConnectionDescription, parseConnection, resolveConnection } from "../bus/credentials/connection-file.ts";
import { type Config, resolveConfig } from "../config.ts";
import { VgasError } from "../protocols/errors.ts";
import { type Logger, silentLogger } from "../protocols/logger.ts";
import type { UserRole } from "../protocols/roles.ts";
import { externalConnection } from "./external-connection.ts";
import { connectionOfHome } from "./home-connection.ts";
import { type Member, reachSwarm } from "./reach.ts";

export interface ClientOptions {
  /** Home of the node on this machine whose swarm is meant. Default: `VGAS_HOME`, else `~/.vgas`. */
  readonly home?: string;
  /** What `vgas connection` printed, as text or parsed: reaches a swarm from anywhere. */
  readonly connection?: string | ConnectionDescription;
  /** An external NATS system, `nats://host:port` or `tls://host:port`. Default: `VGAS_NATS_URL`, else the home's swarm. */
  readonly url?: string;
  /** nkey seed for `url`. Default: `VGAS_NATS_SEED_FILE`, else no credential. */
  readonly seedFile?: string;
  /** PEM file of the certificate authority of `url`. Default: `VGAS_NATS_CA_FILE`, else the system's list. */
  readonly caFile?: string;
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

interface Target extends Pick<BusConnectOptions, "url" | "seed" | "inboxPrefix" | "ca" | "serverName">, SwarmNames {
  readonly member?: Member;
}

interface SwarmNames {
  readonly prefix: string;
  readonly pool: string;
  /** What the credential is for, where that is known. */
  readonly role: UserRole | undefined;
}

const CONNECT_TIMEOUT_MS = 10_000;

/** @throws VgasError NO_SWARM, CERTIFICATE_MISMATCH, PERMISSION_DENIED, CONFIG, TIMEOUT, ABORTED */
export async function connectToSwarm(options: ClientOptions): Promise<{ readonly bus: Bus } & SwarmNames> {
  const { logger = silentLogger, signal, timeoutMs = CONNECT_TIMEOUT_MS } = options;
  const config = configOf(options);
  const { prefix, pool, role, member, ...target } = await findSwarm(options, config);
  const over = new AbortController();
  const reached = reachSwarm({ ...target, name: "vgas client", logger }, { member, config, signal: over.signal });
  try {
    const bus = await within(
      reached.then((found) => found.bus),
      timeoutMs,
      signal,
    );
    return { bus, prefix, pool, role };
  } finally {
    over.abort();
  }
}

function configOf({ home, url, seedFile, caFile, prefix, pool }: ClientOptions): Config {
  // A home that the caller names is meant, whatever the environment says.
  const env = home === undefined ? process.env : { ...process.env, VGAS_NATS_URL: undefined };
  return resolveConfig({ home, prefix, pool, natsUrl: url, natsSeedFile: seedFile, natsCaFile: caFile }, env);
}

async function findSwarm({ connection, url, prefix }: ClientOptions, config: Config): Promise<Target> {
  const common = { prefix: config.prefix, pool: config.pool };
  if (connection !== undefined) {
    const description = typeof connection === "string" ? parseConnection(connection) : connection;
    const { url: described, seed, inboxPrefix, ca, serverName, role } = await resolveConnection(description);
    return { ...common, url: url ?? described, seed, inboxPrefix, ca, serverName, role };
  }
  if (config.natsUrl !== undefined) {
    return { ...common, ...(await externalConnection(config.natsUrl, config, "client")), role: undefined };
  }
  const found = await connectionOfHome(config.home);
  const { seed, inboxPrefix, role } = found.credential;
  const { url: address, ca, serverName, member } = found;
  const own = { ...common, prefix: prefix ?? found.prefix, role, ...(member && { member }) };
  return { ...own, url: address, seed, inboxPrefix, ca, serverName };
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
