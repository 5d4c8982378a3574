/**
 * The composition root of a node: config -> home -> HTTP -> broker -> bus -> streams -> actors -> vault -> dispatcher -> agents,
 * started in this order and stopped in reverse.
 *
 * 1. What was started is stopped, also when a later part fails to start.
 * 2. `stop` drains first: the dispatcher pulls no more, the agents finish within the grace, then everything closes (P8).
 * 3. A part that fails for good ends the node through `done`; the node never goes on half dead.
 */
import { randomBytes } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { ActorHost } from "./actors/agent/actor-host.ts";
import { builtinAgents } from "./actors/agent/builtin.ts";
import { type AgentDefinition, type ResolvedAgent, resolveAgent } from "./actors/agent/definition.ts";
import { Heartbeat } from "./actors/agent/heartbeat.ts";
import { agentMachine } from "./actors/agent/machine.ts";
import { Dispatcher, type DispatcherStatus } from "./actors/gatling/dispatcher.ts";
import { dispatcherMachine } from "./actors/gatling/machine.ts";
import { HOST_INTENSITY, RestartIntensity } from "./actors/runtime/restart-intensity.ts";
import { ActorSystem } from "./actors/runtime/system.ts";
import { AttemptsLog } from "./bus/attempts.ts";
import type { Bus } from "./bus/bus.ts";
import { type ConnectOptions, connectBus } from "./bus/connection.ts";
import type { ResolvedConnection } from "./bus/credentials/connection-file.ts";
import { type Home, openHome } from "./bus/home/home.ts";
import { KvBucket } from "./bus/kv.ts";
import { serveDiscovery } from "./bus/micro-service.ts";
import { startNatsServer } from "./bus/nats-server/server.ts";
import { Publisher } from "./bus/publisher.ts";
import { ResultStore } from "./bus/results.ts";
import type { Secret } from "./bus/sealed/secret.ts";
import { signerOf } from "./bus/sealed/signing.ts";
import { VaultCaller } from "./bus/sealed/vault-caller.ts";
import { ensureTopology } from "./bus/topology.ts";
import type { Config } from "./config.ts";
import { hostVault } from "./host/vault.ts";
import { startHttp } from "./http.ts";
import { loadAgents } from "./modules.ts";
import { systemClock } from "./protocols/clock.ts";
import { VgasError } from "./protocols/errors.ts";
import type { HostStats } from "./protocols/host-messages.ts";
import { type Logger, silentLogger } from "./protocols/logger.ts";
import { TOPOLOGY_DEFAULTS } from "./protocols/streams.ts";
import { Names } from "./protocols/subjects.ts";
import { VAULT } from "./protocols/vault/messages.ts";
import { packageVersion } from "./version.ts";

export interface HostOptions {
  readonly config: Config;
  /** Attach to this swarm. Without it the node starts a nats-server of its own, or uses `config.natsUrl`. */
  readonly connection?: ResolvedConnection | undefined;
  /** Agents besides the built-in ones and those of `config.modules`. */
  readonly agents?: readonly AgentDefinition[];
  readonly logger?: Logger;
  /** Opens the vault at the start; wiped. */
  readonly vaultPassphrase?: Secret | undefined;
}

/** A running node. */
export interface Host {
  readonly hostId: string;
  /** Of the NATS system. */
  readonly url: string;
  /** Of the HTTP server, if the node has one. */
  readonly http: string | undefined;
  /** Hosts an actor of the user's own. */
  readonly spawn: ActorSystem["spawn"];
  status(): { readonly dispatcher: DispatcherStatus | undefined; readonly agents: HostStats | undefined };
  /** Drains within the grace and stops everything; idempotent. `graceMs` overrides the configured one. */
  stop(graceMs?: number): Promise<void>;
  /** Resolves when the node has stopped, with the error that ended it if it was not asked to. */
  readonly done: Promise<VgasError | undefined>;
}

/** What a part may take beyond the grace to close, ms. */
const STOP_MARGIN_MS = 3_000;

/** Stops one part; gets what is left of the grace, ms. */
type Stop = (leftMs: number) => Promise<void> | void;

/**
 * Starts a node and resolves when it takes tasks.
 *
 * @throws VgasError CONFIG, HOME_IN_USE, BROKER_FAILED, NO_SWARM, PERMISSION_DENIED, DRIFT; nothing is left running then
 */
export async function startHost(options: HostOptions): Promise<Host> {
  const stops: Stop[] = [];
  try {
    return await compose(options, stops);
  } catch (error) {
    await stopAll(stops, 0, options.logger ?? silentLogger);
    throw error;
  }
}

async function compose(
  { config, connection, agents: extraAgents = [], logger = silentLogger, vaultPassphrase }: HostOptions,
  stops: Stop[],
): Promise<Host> {
  const names = new Names(config.prefix);
  const clock = systemClock;
  const random = Math.random;
  const run = randomBytes(6).toString("base64url");
  let fail: (error: VgasError) => void = () => undefined;
  const failed = new Promise<VgasError>((resolve) => {
    fail = resolve;
  });

  // A module that cannot be loaded is found before anything is started.
  const agents = await resolveAgents(config, extraAgents);

  const home = await openHome(config.home, { prefix: config.prefix });
  await home.lock();
  stops.push(() => home.release());

  // First of all: a port that is taken is found before a broker is started for nothing, and probes see that the node starts.
  let started: Bus | undefined;
  let stopping: Promise<void> | undefined;
  const http = config.roles.includes("http")
    ? await startHttp({
        port: config.httpPort,
        state: () => (stopping === undefined ? (started?.state ?? "starting") : "stopping"),
        logger,
      })
    : undefined;
  if (http) stops.push(() => http.stop());

  const link = await connectionOf(config, connection, home, logger, fail, stops);
  const hostId = link.hostId;
  const bus = await connectBus({ ...link.connection, logger });
  stops.push(() => bus.close());
  if (link.ownsTopology)
    await ensureTopology(bus, names, {
      ...TOPOLOGY_DEFAULTS,
      replicas: config.replicas,
      resultsTtlMs: config.resultsTtlMs,
    });

  const publisher = new Publisher(bus);
  stops.push(() => publisher.close());
  const results = new ResultStore({ bus, publisher, names, clock, logger });
  stops.push(() => results.close());
  const attempts = new AttemptsLog(new KvBucket(bus, publisher, names.buckets.attempts), names);

  const intensity = new RestartIntensity(clock, HOST_INTENSITY);
  const system = new ActorSystem({
    bus,
    names,
    owners: new KvBucket(bus, publisher, names.buckets.owners),
    hostId,
    run,
    clock,
    random,
    logger,
    onEscalate: (escalation) => {
      if (intensity.allow()) return "restart";
      fail(
        new VgasError(
          "INTERNAL",
          `actor ${escalation.name} failed too often; the node ends so that it can be started anew`,
        ),
      );
      return "stop";
    },
  });
  stops.push((leftMs) => system.stop({ graceMs: Math.min(leftMs, 5_000) }));

  const signer = signerOf(link.user, link.seed);
  const caller = new VaultCaller({ ask: (message, how) => system.ask(VAULT, message, how), signer, clock });
  if (config.roles.includes("vault")) {
    const shared = { hostId, bus, publisher, names, results, attempts, signer, clock, logger };
    stops.push(await hostVault({ ...shared, home, system, passphrase: vaultPassphrase }));
  }

  // Of this life only: a successor on the same home numbers its bursts and assignments from 1 again.
  const dispatcherId = `${hostId}_${run}`;
  const runsAgents = config.roles.includes("agents") && agents.length > 0;
  const deals = config.roles.includes("dispatcher");
  const shared = { run, bus, publisher, results, attempts, names, clock, random, logger };
  // The two know each other only by what they say: neither imports the other.
  let dispatcher: Dispatcher | undefined;
  const heartbeat = runsAgents
    ? new Heartbeat({
        ...shared,
        connection: { ...link.connection, name: `${link.connection.name} heartbeat` },
        hostId,
        roles: config.roles,
        groups: ActorHost.groups(agents),
        agents: agents.reduce((sum, { instances }) => sum + instances, 0),
      })
    : undefined;
  const host = heartbeat
    ? new ActorHost({
        ...shared,
        hostId,
        agents,
        heartbeat,
        vault: caller,
        spawn: (agent) => system.spawnLocal(`agent-${agent}`, agentMachine),
        local: deals ? { dispatcherId, deliver: (notice) => dispatcher?.onSettled(notice) } : undefined,
      })
    : undefined;
  if (deals) {
    dispatcher = new Dispatcher({
      ...shared,
      dispatcherId,
      signer,
      rotation: new KvBucket(bus, publisher, names.buckets.rotation),
      ...(host ? { local: host } : {}),
      spawn: (effects) => system.spawnLocal("gatling", dispatcherMachine, effects),
    });
  }
  const dealer = dispatcher;
  if (dealer) {
    await dealer.start();
    stops.push((leftMs) => dealer.stop(leftMs));
  }
  // After the dispatcher, which hears the host's first heartbeat so.
  if (host) {
    await host.start();
    stops.push(() => host.stop());
  }
  // Both at once: the dispatcher hears of the elements that the agents finish.
  stops.push(async (leftMs) => {
    const dealt = dealer?.drain();
    await host?.drain(leftMs);
    await dealt;
  });

  const service = await serveDiscovery(
    bus,
    {
      id: hostId,
      version: packageVersion(),
      roles: config.roles,
      started: new Date(clock.now()).toISOString(),
      statsSubject: names.host(hostId, "stats"),
    },
    () => heartbeat?.board.totals() ?? { started: 0, failed: 0 },
  );
  stops.push(() => service.stop());

  started = bus;
  bus.onStatus((status) => {
    if (status.type === "closed" && status.error)
      fail(new VgasError("NO_SWARM", `the connection ended for good: ${status.error.message}`));
  });
  const stop = (graceMs = config.graceMs): Promise<void> => {
    stopping ??= stopAll(stops, graceMs, logger);
    return stopping;
  };
  let end: (error: VgasError | undefined) => void = () => undefined;
  const done = new Promise<VgasError | undefined>((resolve) => {
    end = resolve;
  });
  void failed.then(async (error) => {
    if (stopping !== undefined) return;
    logger.error({ code: error.code }, error.message);
    await stop(0);
    end(error);
  });
  return {
    hostId,
    url: link.connection.url,
    http: http?.url,
    spawn: system.spawn.bind(system),
    status: () => ({ dispatcher: dealer?.status(), agents: host?.stats() }),
    stop: async (graceMs) => {
      await stop(graceMs);
      end(undefined);
    },
    done,
  };
}

interface Link {
  readonly hostId: string;
  /** The node's credential: it signs what the node asks of the vault, and the grants that it gives. */
  readonly user: string;
  readonly seed: Uint8Array;
  readonly connection: Omit<ConnectOptions, "logger">;
  /** This node's credential may make streams. */
  readonly ownsTopology: boolean;
}

async function connectionOf(
  config: Config,
  connection: ResolvedConnection | undefined,
  home: Home,
  logger: Logger,
  fail: (error: VgasError) => void,
  stops: Stop[],
): Promise<Link> {
  if (connection) {
    const { url, user, seed, inboxPrefix } = connection;
    if (config.roles.includes("vault")) {
      const message =
        "the vault can only be on the node that owns the swarm's credentials (`vgas up`): leave it out of --roles";
      throw new VgasError("CONFIG", message);
    }
    return { hostId: user, user, seed, ownsTopology: false, connection: { url, seed, inboxPrefix, name: user } };
  }
  if (config.natsUrl !== undefined) {
    const { hostId } = home;
    // The external system knows no users of ours; the node's own credential signs what it asks of the vault.
    await home.credentials.prepare();
    const { user, seed } = await home.credentials.read("system");
    return {
      ...{ hostId, user, seed },
      ownsTopology: true,
      connection: { url: config.natsUrl, seed: undefined, inboxPrefix: `_INBOX.${hostId}`, name: hostId },
    };
  }
  const server = await startNatsServer({
    home,
    port: config.natsPort,
    durability: config.durability,
    logger,
    onExit: fail,
  });
  stops.push(() => server.stop());
  const { user, seed, inboxPrefix } = await home.credentials.read("system");
  return {
    ...{ hostId: home.hostId, user, seed },
    ownsTopology: true,
    connection: { url: server.url, seed, inboxPrefix, name: home.hostId },
  };
}

async function resolveAgents(config: Config, extra: readonly AgentDefinition[]): Promise<readonly ResolvedAgent[]> {
  if (!config.roles.includes("agents")) return [];
  const builtin = config.agents > 0 ? [resolveAgent(builtinAgents(config.agents), config, "the built-in agents")] : [];
  const given = extra.map((agent, i) => resolveAgent(agent, config, `agent ${i}`));
  const agents = [...builtin, ...given, ...(await loadAgents(config.modules, config))];
  refuseTwice(agents);
  return agents;
}

/** Two behaviours for one kind would take its tasks in turns. @throws VgasError CONFIG naming both */
function refuseTwice(agents: readonly ResolvedAgent[]): void {
  const seen = new Map<string, string>();
  for (const { pool, kinds, source } of agents) {
    for (const kind of kinds) {
      const other = seen.get(`${pool}.${kind}`);
      if (other !== undefined)
        throw new VgasError(
          "CONFIG",
          `kind ${kind} in pool ${pool} is offered by ${other} and by ${source}: give one of them another kind or pool`,
        );
      seen.set(`${pool}.${kind}`, source);
    }
  }
}

async function stopAll(stops: Stop[], graceMs: number, logger: Logger): Promise<void> {
  const deadline = performance.now() + graceMs;
  for (const stop of stops.splice(0).reverse()) {
    const leftMs = Math.max(0, deadline - performance.now());
    try {
      await within(leftMs + STOP_MARGIN_MS, Promise.resolve(stop(leftMs)));
    } catch (error) {
      // The rest must be stopped whatever one part does.
      logger.warn({ error: String(error) }, "a part did not stop cleanly");
    }
  }
}

/** Waits for `work` that long and no longer: with a dead broker there are parts that would wait for ever. */
async function within(ms: number, work: Promise<void>): Promise<void> {
  const controller = new AbortController();
  const late = pause(ms, undefined, { signal: controller.signal }).then(
    () => Promise.reject(new VgasError("TIMEOUT", `host.stop: a part took longer than ${Math.round(ms)} ms`)),
    () => undefined,
  );
  try {
    await Promise.race([work, late]);
  } finally {
    controller.abort();
  }
}
