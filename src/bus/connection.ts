/** Connects to NATS with the options that a swarm needs. */
import {
  AuthorizationError,
  type ConnectionOptions,
  connect,
  nkeyAuthenticator,
  UserAuthenticationExpiredError,
} from "@nats-io/transport-node";
import { VgasError } from "../protocols/errors.ts";
import type { Logger } from "../protocols/logger.ts";
import { Bus } from "./bus.ts";

export interface ConnectOptions {
  /** `nats://host:port` or `tls://host:port`; several, separated by commas, for a cluster. */
  readonly url: string;
  /** Seed of the nkey credential; undefined only where the server asks for none. */
  readonly seed: Uint8Array | undefined;
  /** Certificate authority of the server; given, TLS is demanded. */
  readonly caFile?: string | undefined;
  /** Shown in the server's list of connections. */
  readonly name: string;
  /** `inboxPrefix(user)`: the only inboxes the credential opens. */
  readonly inboxPrefix: string;
  readonly pingIntervalMs?: number | undefined;
  readonly logger?: Logger | undefined;
}

/** A dead peer is noticed after two unanswered pings, in 10 to 15 s; the client's own default is 4 to 6 minutes. */
const PING_INTERVAL_MS = 5_000;
const MAX_PINGS_OUT = 2;
/** The broker of a node is back within a second of its death; the jitter keeps many nodes from knocking at once. */
const RECONNECT_WAIT_MS = 200;
const RECONNECT_JITTER_MS = 300;
const CONNECT_TIMEOUT_MS = 5_000;

/**
 * Connects once; after that the bus reconnects by itself, for ever.
 *
 * @throws VgasError NO_SWARM if nothing answers at `url`, PERMISSION_DENIED if the credential is refused
 */
export async function connectBus(options: ConnectOptions): Promise<Bus> {
  const { url, seed, inboxPrefix } = options;
  const servers = url.split(",").map((part) => part.trim());
  const tls =
    options.caFile !== undefined
      ? { caFile: options.caFile }
      : servers.some((server) => server.startsWith("tls://"))
        ? {}
        : undefined;
  const settings: ConnectionOptions = {
    servers,
    name: options.name,
    inboxPrefix,
    timeout: CONNECT_TIMEOUT_MS,
    pingInterval: options.pingIntervalMs ?? PING_INTERVAL_MS,
    maxPingOut: MAX_PINGS_OUT,
    maxReconnectAttempts: -1,
    reconnectTimeWait: RECONNECT_WAIT_MS,
    reconnectJitter: RECONNECT_JITTER_MS,
    reconnectJitterTLS: RECONNECT_JITTER_MS,
    // A credential that is refused while the server reloads its users must not end the node.
    ignoreAuthErrorAbort: true,
    // Each request would otherwise capture a stack.
    noAsyncTraces: true,
    ...(tls !== undefined && { tls }),
    ...(seed !== undefined && { authenticator: nkeyAuthenticator(seed) }),
  };
  try {
    return new Bus(await connect(settings), {
      inboxPrefix,
      ...(options.logger !== undefined && { logger: options.logger }),
    });
  } catch (cause) {
    if (cause instanceof AuthorizationError || cause instanceof UserAuthenticationExpiredError) {
      throw new VgasError(
        "PERMISSION_DENIED",
        `NATS at ${url} refused the credential: use one that this swarm issued (\`vgas connection\`)`,
        { cause },
      );
    }
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new VgasError(
      "NO_SWARM",
      `no NATS server answered at ${url} (${reason}): start a swarm with \`vgas up\`, or give the right address`,
      { cause },
    );
  }
}
