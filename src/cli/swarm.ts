/** Connects a command to the swarm that its flags mean. */
import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import type { Bus } from "../bus/bus.ts";
import { connectBus } from "../bus/connection.ts";
import { type ConnectionDescription, parseConnection, resolveConnection } from "../bus/credentials/connection-file.ts";
import { connectionOfHome } from "../client/home-connection.ts";
import { type Client, connect } from "../client.ts";
import { type Config, resolveConfig } from "../config.ts";
import { VgasError } from "../protocols/errors.ts";
import type { Logger } from "../protocols/logger.ts";
import type { SharedRole } from "../protocols/roles.ts";
import { inboxPrefix, Names } from "../protocols/subjects.ts";
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
 * @throws VgasError NO_SWARM, PERMISSION_DENIED, CONFIG, and what `use` throws
 */
export async function withSwarm<T>(
  cli: Cli,
  flags: SwarmFlags,
  role: SharedRole,
  use: (swarm: Swarm) => Promise<T>,
): Promise<T> {
  const config = commandConfig(cli, flags);
  const { prefix, vaultKey, ...target } = await findSwarm(cli, flags, config, role);
  const logger = commandLogger(cli, flags, config);
  const bus = await connectBus({ ...target, name: `vgas ${role}`, logger });
  try {
    return await use({ bus, names: new Names(prefix), url: target.url, seed: target.seed, vaultKey });
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

/** @throws VgasError NO_SWARM, PERMISSION_DENIED, CONFIG, ABORTED on a signal */
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
      ? config.natsUrl !== undefined && { url: config.natsUrl }
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

interface Target {
  readonly url: string;
  readonly seed: Uint8Array | undefined;
  readonly inboxPrefix: string;
  readonly caFile: string | undefined;
  readonly vaultKey?: string | undefined;
  readonly prefix: string;
}

async function findSwarm(cli: Cli, flags: SwarmFlags, config: Config, role: SharedRole): Promise<Target> {
  if (flags.connection !== undefined) {
    const description = await readConnection(flags.connection);
    const caFile = "caFile" in description ? description.caFile : undefined;
    return { ...(await resolveConnection(description)), caFile, prefix: config.prefix };
  }
  if (config.natsUrl !== undefined) {
    const { natsUrl: url, prefix } = config;
    return { url, seed: undefined, inboxPrefix: inboxPrefix(role), caFile: undefined, prefix };
  }
  const { url, prefix, credential } = await connectionOfHome(config.home, role);
  const wanted = flags.prefix ?? cli.env["VGAS_PREFIX"];
  return {
    url,
    seed: credential.seed,
    inboxPrefix: credential.inboxPrefix,
    caFile: undefined,
    prefix: wanted || prefix,
  };
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
