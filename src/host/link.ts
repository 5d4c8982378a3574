/** How a node reaches NATS: with a credential that a swarm gave it, on an external system, or on a broker of its own. */
import { readFile } from "node:fs/promises";
import type { ConnectOptions } from "../bus/connection.ts";
import type { ResolvedConnection } from "../bus/credentials/connection-file.ts";
import { readSeed } from "../bus/credentials/user-records.ts";
import { diskError } from "../bus/home/files.ts";
import type { Home } from "../bus/home/home.ts";
import { readMembership } from "../bus/home/membership.ts";
import { type NatsServer, startNatsServer } from "../bus/nats-server/server.ts";
import type { Config } from "../config.ts";
import { VgasError } from "../protocols/errors.ts";
import type { Logger } from "../protocols/logger.ts";
import { isNodeRole, type UserRole } from "../protocols/roles.ts";
import { inboxPrefix } from "../protocols/subjects.ts";
import type { Lan } from "./lan.ts";
import type { Stop } from "./stopping.ts";

export interface Link {
  readonly hostId: string;
  /** The node's credential: it signs what the node asks of the vault, and the grants that it gives. */
  readonly user: string;
  readonly seed: Uint8Array;
  /** What the node's credential must be able to do. */
  readonly role: UserRole;
  readonly connection: Omit<ConnectOptions, "logger">;
  /** This node's credential may make streams. */
  readonly ownsTopology: boolean;
  /** The broker, if it is this node's own. */
  readonly server: NatsServer | undefined;
}

export interface LinkOptions {
  readonly config: Config;
  /** The swarm is there: the node makes no streams. */
  readonly joins: boolean;
  /** What the swarm gave the node. */
  readonly connection: ResolvedConnection | undefined;
  readonly home: Home;
  /** What the broker needs to be reached from other machines; undefined for one that listens on loopback only. */
  readonly lan: Lan | undefined;
  readonly logger: Logger;
  /** Called when the broker is given up. */
  readonly fail: (error: VgasError) => void;
}

/** Starts the broker if it is the node's own: what stops it is added to `stops`. @throws VgasError CONFIG, BROKER_FAILED */
export async function openLink(options: LinkOptions, stops: Stop[]): Promise<Link> {
  const { config, connection } = options;
  if (connection !== undefined) return given(config, connection);
  return config.natsUrl === undefined ? await own(options, stops) : await external(config.natsUrl, options);
}

function given({ roles }: Config, connection: ResolvedConnection): Link {
  const { url, user, seed, inboxPrefix, ca, serverName } = connection;
  if (roles.includes("vault")) {
    const message =
      "the vault can only be on the node that owns the swarm's credentials (`vgas up`): leave it out of --roles";
    throw new VgasError("CONFIG", message);
  }
  return {
    ...{ hostId: user, user, seed, ownsTopology: false, server: undefined },
    role: roles.includes("dispatcher") ? "dispatcher" : "worker",
    connection: { url, seed, inboxPrefix, ca, serverName, name: user },
  };
}

async function external(url: string, { config, home, joins }: LinkOptions): Promise<Link> {
  const { hostId } = home;
  // The external system knows no users of ours; the node's own credential signs what it asks of the vault.
  await home.credentials.prepare();
  const { user, seed } = await home.credentials.read("system");
  const { natsSeedFile, natsCaFile } = config;
  return {
    ...{ hostId, user, seed, ownsTopology: !joins, server: undefined },
    role: config.roles.includes("dispatcher") ? "dispatcher" : "worker",
    connection: {
      url,
      seed: natsSeedFile === undefined ? undefined : await readSeed(natsSeedFile),
      ca: natsCaFile === undefined ? undefined : await readPem(natsCaFile),
      inboxPrefix: inboxPrefix(hostId),
      name: hostId,
    },
  };
}

async function own({ config, home, lan, logger, fail }: LinkOptions, stops: Stop[]): Promise<Link> {
  await refuseMember(home);
  const server = await startNatsServer({
    home,
    port: config.natsPort,
    durability: config.durability,
    logger,
    onExit: fail,
    ...(lan && { host: "0.0.0.0", tls: { certificate: lan.certificate, authority: lan.authority } }),
  });
  stops.push(() => server.stop());
  await tellOddities(home, config, logger);
  const { user, seed, inboxPrefix } = await home.credentials.read("system");
  const { hostId } = home;
  return {
    ...{ hostId, user, seed, role: "system", ownsTopology: true, server },
    connection: {
      url: server.url,
      seed,
      inboxPrefix,
      ca: lan?.authority.caPem,
      serverName: lan?.authority.serverName,
      name: hostId,
    },
  };
}

/** What is allowed, and hardly meant. */
async function tellOddities(home: Home, config: Config, logger: Logger): Promise<void> {
  const members = config.lan
    ? 0
    : (await home.credentials.list()).filter(({ registered }) => registered === true).length;
  if (members > 0) logger.warn({ members }, "machines have joined this swarm, and without --lan they cannot reach it");
  if (config.lan && !config.roles.includes("http"))
    logger.warn({}, "without role http there is no door: nobody can join");
}

/** Two swarms on one home: commands would speak to the one or the other. @throws VgasError CONFIG */
async function refuseMember({ dir, layout }: Home): Promise<void> {
  const membership = await readMembership(layout);
  if (membership === undefined) return;
  const { swarmId, role } = membership;
  const message = `the home ${dir} is a member of the swarm ${swarmId}, which another machine leads, in role ${role}`;
  const instead = isNodeRole(role) ? "`vgas join` starts its node; " : "";
  throw new VgasError(
    "CONFIG",
    `${message}: ${instead}to lead a swarm of its own give another --home, or remove ${layout.membership.dir}`,
  );
}

async function readPem(path: string): Promise<string> {
  return await readFile(path, "utf8").catch((error: unknown) => {
    throw diskError(error, `read ${path}`);
  });
}
