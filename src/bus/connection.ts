/** Connects to NATS with the options that a swarm needs. */
import { setTimeout as pause } from "node:timers/promises";
import {
  type Authenticator,
  AuthorizationError,
  type ConnectionOptions,
  connect,
  type NatsConnection,
  TimeoutError,
  UserAuthenticationExpiredError,
} from "@nats-io/transport-node";
import { VgasError } from "../protocols/errors.ts";
import type { Logger } from "../protocols/logger.ts";
import { Bus } from "./bus.ts";
import { signerOf } from "./sealed/signing.ts";
import {
  hostOf,
  isCertificateError,
  isMissedHandshake,
  isOutsideItsTime,
  isWithoutTls,
  type ServerIdentity,
  tlsOptions,
} from "./tls-options.ts";

/** Plain data but for `logger`: it is handed to threads too. */
export interface ConnectOptions extends ServerIdentity {
  /** `nats://host:port` or `tls://host:port`; several, separated by commas, for a cluster or a machine's addresses. */
  readonly url: string;
  /** Seed of the nkey credential; undefined only where the server asks for none. */
  readonly seed: Uint8Array | undefined;
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
/** Of one try. A server that reads its users again can forget who connects at that moment: another try then helps. */
const CONNECT_TIMEOUT_MS = 3_000;
const SILENT_MS = 6_000;
/** A reload takes milliseconds, and machines that join one after the other make one after the other. */
const REFUSED_MS = 2_000;
/** For a message only. */
const LOOK_MS = 2_000;
const DEFAULT_PORT = 4222;

/**
 * Connects once; after that the bus reconnects by itself, for ever. With `ca`, `serverName` or a `tls://` address nothing
 * is said to a server before it has proven itself.
 *
 * @throws VgasError CONFIG if `ca` is none; NO_SWARM if nothing answers at `url`, CERTIFICATE_MISMATCH if what answers is not the server that is
 *   meant, PERMISSION_DENIED if the credential is refused
 */
export async function connectBus(options: ConnectOptions): Promise<Bus> {
  const { url, seed, inboxPrefix } = options;
  const servers = url.split(",").map((part) => part.trim());
  const tls = tlsOptions(servers, options);
  const settings: ConnectionOptions = {
    servers,
    // The one that proved itself last is the first.
    noRandomize: options.serverName !== undefined,
    name: options.name,
    inboxPrefix,
    timeout: CONNECT_TIMEOUT_MS,
    pingInterval: options.pingIntervalMs ?? PING_INTERVAL_MS,
    maxPingOut: MAX_PINGS_OUT,
    maxReconnectAttempts: -1,
    ...reconnectPace(),
    // A credential that is refused while the server reloads its users must not end the node.
    ignoreAuthErrorAbort: true,
    // Each request would otherwise capture a stack.
    noAsyncTraces: true,
    ...(tls !== undefined && { tls }),
    ...(seed !== undefined && { authenticator: authenticatorOf(seed) }),
  };
  const connection = await connectPatiently(settings).catch(async (cause: unknown) => {
    throw isOutsideItsTime(cause) ? await outsideItsTime(servers, options, cause) : failure(url, cause);
  });
  return new Bus(connection, { inboxPrefix, ...(options.logger !== undefined && { logger: options.logger }) });
}

/**
 * A pause between two tries, whatever the wall clock does: the library counts from the wall clock's time of the last one, and
 * would wait for an hour after that was put back by one.
 */
function reconnectPace(): Pick<ConnectionOptions, "reconnectDelayHandler" | "reconnectToServer"> {
  let pauseMs = 0;
  let dueAt = 0;
  return {
    reconnectDelayHandler: () => (performance.now() < dueAt ? pauseMs : Number.NEGATIVE_INFINITY),
    // Called before each try; null leaves it to the library where it goes.
    reconnectToServer: () => {
      pauseMs = RECONNECT_WAIT_MS + Math.random() * RECONNECT_JITTER_MS;
      dueAt = performance.now() + pauseMs;
      return null;
    },
  };
}

/** Signs what the server gives it to sign; the library's own does it in JavaScript, which is most of what a new connection costs. */
function authenticatorOf(seed: Uint8Array): Authenticator {
  const { publicKey: nkey, sign } = signerOf("", seed);
  return (nonce = "") => ({ nkey, sig: Buffer.from(sign(Buffer.from(nonce))).toString("base64url") });
}

/**
 * A server that reads its users again refuses whoever comes in that moment, and one that stops or starts hangs up: so that is not the last
 * word.
 */
async function connectPatiently(settings: ConnectionOptions): Promise<NatsConnection> {
  const startedAt = performance.now();
  for (;;) {
    try {
      return await connect(settings);
    } catch (error) {
      const isPassing = isRefusal(error) || isHangUp(error);
      const patienceMs = isSilence(error) || isMissedHandshake(error) ? SILENT_MS : isPassing ? REFUSED_MS : 0;
      if (performance.now() - startedAt >= patienceMs) throw error;
      await pause(RECONNECT_WAIT_MS + Math.random() * RECONNECT_JITTER_MS);
    }
  }
}

function isSilence(error: unknown): boolean {
  return error instanceof TimeoutError;
}

function isRefusal(error: unknown): boolean {
  return error instanceof AuthorizationError || error instanceof UserAuthenticationExpiredError;
}

/** The connection was made and ended before the server had said anything. Where it ended in order, nats.js has no error to tell of. */
function isHangUp(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return error.message.includes("undefined error") || (error as NodeJS.ErrnoException).code === "ECONNRESET";
}

function failure(url: string, cause: unknown): VgasError {
  if (isRefusal(cause)) {
    return new VgasError(
      "PERMISSION_DENIED",
      `NATS at ${url} refused the credential: it was revoked, or is another system's; use one that this swarm issued (\`vgas connection\`, a token), or for a NATS system of your own --nats-seed`,
      { cause },
    );
  }
  const reason = (cause instanceof Error ? cause.message : String(cause)).trim();
  if (isWithoutTls(cause)) {
    return new VgasError(
      "CERTIFICATE_MISMATCH",
      `what answers at ${url} speaks no TLS: if it is the swarm's machine, its node runs without --lan (there: \`vgas up --lan\`); else it is another program, or somebody between you and the swarm`,
      { cause },
    );
  }
  if (isCertificateError(cause)) {
    return new VgasError(
      "CERTIFICATE_MISMATCH",
      `what answers at ${url} is not the server that is meant (${reason}): check the address, and that the authority (caFile, ca) is this swarm's; if both are right, somebody is between you and the swarm`,
      { cause },
    );
  }
  if (isHangUp(cause)) {
    return new VgasError(
      "NO_SWARM",
      `no NATS server answered at ${url} (the connection was closed before the server had said anything): if it is being started or stopped, try again in a moment; if that lasts, another program has this port, or what stands before the server (a proxy, a firewall) does not reach it`,
      { cause },
    );
  }
  return new VgasError(
    "NO_SWARM",
    `no NATS server answered at ${url} (${reason}): start a swarm with \`vgas up\`, or give the right address`,
    { cause },
  );
}

/** OpenSSL has found that the authority signed the certificate, and judged its time last; it does not tell that time. */
async function outsideItsTime(
  servers: readonly string[],
  { serverName }: ServerIdentity,
  cause: unknown,
): Promise<VgasError> {
  const { isNow, shownValidity, wrongTime } = await import("./certificates/pinned.ts");
  for (const server of serverName === undefined ? [] : servers) {
    const to = { host: hostOf(server), port: Number(/:(\d+)$/.exec(server)?.[1] ?? DEFAULT_PORT) };
    const shown = await shownValidity(to, serverName, { timeoutMs: LOOK_MS }).catch(() => undefined);
    if (shown !== undefined && !isNow(shown)) return wrongTime(server, shown, cause);
  }
  return wrongTime(servers.join(", "), undefined, cause);
}
