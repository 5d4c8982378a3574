/** Connects a command to the swarm that its flags mean. */
import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import type { Bus } from "../bus/bus.ts";
import type { ConnectOptions } from "../bus/connection.ts";
import { type ConnectionDescription, parseConnection, resolveConnection } from "../bus/credentials/connection-file.ts";
import type { ClientOptions } from "../client/connect-to-swarm.ts";
import { externalConnection } from "../client/external-connection.ts";
import { connectionOfHome } from "../client/home-connection.ts";
import { type Member, reachSwarm } from "../client/reach.ts";
import { type Client, connect } from "../client.ts";
import { type Config, resolveConfig } from "../config.ts";
import { VgasError } from "../protocols/errors.ts";
import type { Logger } from "../protocols/logger.ts";
import type { SharedRole } from "../protocols/roles.ts";
import { Names } from "../protocols/subjects.ts";
import type { Cli } from "./cli.ts";
import { createLogger } from "./logging.ts";
import { configInput, type NodeFlags, type SwarmFlags } from "./options.ts";

const STDIN = "-";

/** A connection that looks at the swarm. */
export interface Swarm {
  readonly bus: Bus;
  readonly names: Names;
  readonly url: string;
  /** Of the credential; undefined where NATS asks for none. */
  readonly seed: Uint8Array | undefined;
  /** Public nkey of the node that runs the vault, if a connection description says it. */
  readonly vaultKey: string | undefined;
}

/**
 * Runs `use` with a connection in `role`, and closes it.
 *
 * @throws VgasError NO_SWARM, CERTIFICATE_MISMATCH, PERMISSION_DENIED, CONFIG, ABORTED on a signal, and what `use` throws
 */
export async function withSwarm<T>(
  cli: Cli,
  flags: SwarmFlags,
  role: SharedRole,
  use: (swarm: Swarm) => Promise<T>,
): Promise<T> {
  const config = commandConfig(cli, flags);
  const { prefix, vaultKey, member, ...target } = await findSwarm(cli, flags, config, role);
  const logger = commandLogger(cli, flags, config);
  const { signal } = cli.interrupt;
  const { bus, url } = await reachSwarm({ ...target, name: `vgas ${role}`, logger }, { member, config, signal });
  try {
    return await use({ bus, names: new Names(prefix), url, seed: target.seed, vaultKey });
  } finally {
    await bus.close();
  }
}

/** As `withSwarm`, with a client. */
export async function withClient<T>(cli: Cli, flags: SwarmFlags, use: (client: Client) => Promise<T>): Promise<T> {
  const client = await connectClient(cli, flags);
  try {
    return await use(client);
  } finally {
    await client.close();
  }
}

/** @throws VgasError NO_SWARM, CERTIFICATE_MISMATCH, PERMISSION_DENIED, CONFIG, ABORTED on a signal */
export async function connectClient(cli: Cli, flags: SwarmFlags): Promise<Client> {
  const config = commandConfig(cli, flags);
  const prefix = flags.prefix ?? cli.env["VGAS_PREFIX"];
  return await connect({
    home: config.home,
    pool: config.pool,
    logger: commandLogger(cli, flags, config),
    signal: cli.interrupt.signal,
    ...(prefix && { prefix }),
    ...(flags.connection === undefined
      ? config.natsUrl !== undefined && external(config.natsUrl, config)
      : { connection: await readConnection(flags.connection) }),
  });
}

/** The configuration of a command that is no node: it logs only what goes wrong unless it is told otherwise. */
export function commandConfig(cli: Cli, flags: NodeFlags): Config {
  const logLevel = flags.logLevel ?? (cli.env["VGAS_LOG_LEVEL"] ? undefined : "warn");
  return resolveConfig({ ...configInput(flags), logLevel }, cli.env);
}

/** A command's log stands between lines for people, so it is made of such lines unless everything is to be JSON. */
export function commandLogger({ terminal }: Cli, { json }: SwarmFlags, { logLevel }: Config): Logger {
  return createLogger(terminal, logLevel, json ? "json" : "lines");
}

/**
 * Reads what `vgas connection` printed from `file`, or from standard input if it is `-`.
 *
 * @throws VgasError CONFIG
 */
export async function readConnection(file: string): Promise<ConnectionDescription> {
  return parseConnection(file === STDIN ? await text(process.stdin) : await readDescription(file));
}

function external(url: string, { natsSeedFile, natsCaFile }: Config): ClientOptions {
  return {
    url,
    ...(natsSeedFile !== undefined && { seedFile: natsSeedFile }),
    ...(natsCaFile !== undefined && { caFile: natsCaFile }),
  };
}

interface Target extends Pick<ConnectOptions, "url" | "seed" | "inboxPrefix" | "ca" | "serverName"> {
  readonly vaultKey?: string | undefined;
  readonly prefix: string;
  readonly member?: Member | undefined;
}

async function findSwarm(cli: Cli, flags: SwarmFlags, config: Config, role: SharedRole): Promise<Target> {
  if (flags.connection !== undefined) {
    const { url, seed, inboxPrefix, ca, serverName, vaultKey } = await resolveConnection(
      await readConnection(flags.connection),
    );
    return { url, seed, inboxPrefix, ca, serverName, vaultKey, prefix: config.prefix };
  }
  if (config.natsUrl !== undefined) {
    return { ...(await externalConnection(config.natsUrl, config, role)), prefix: config.prefix };
  }
  const { url, prefix, credential, ca, serverName, vaultKey, member } = await connectionOfHome(config.home, role);
  const { seed, inboxPrefix } = credential;
  const wanted = flags.prefix ?? cli.env["VGAS_PREFIX"];
  return { url, seed, inboxPrefix, ca, serverName, vaultKey, prefix: wanted || prefix, member };
}

async function readDescription(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
    const why = missing ? "there is no such file" : (error as Error).message;
    throw new VgasError("CONFIG", `--connection ${file} cannot be read: ${why}`, { cause: error });
  }
}
