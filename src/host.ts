/**
 * The composition root of a node: config -> home -> certificate -> HTTP -> broker -> bus -> streams -> actors -> vault ->
 * dispatcher -> agents -> network, started in this order and stopped in reverse.
 *
 * 1. What was started is stopped, also when a later part fails to start.
 * 2. `stop` drains first: the dispatcher pulls no more, the agents finish within the grace, then everything closes (P8).
 * 3. A part that fails for good ends the node through `done`; the node never goes on half dead.
 */
import { randomBytes } from "node:crypto";
import { ActorHost } from "./actors/agent/actor-host.ts";
import type { AgentDefinition } from "./actors/agent/definition.ts";
import { Heartbeat } from "./actors/agent/heartbeat.ts";
import { IsolationPool } from "./actors/agent/isolation/pool.ts";
import { agentLogic } from "./actors/agent/machine.ts";
import { Dispatcher, type DispatcherStatus } from "./actors/gatling/dispatcher.ts";
import { dispatcherMachine } from "./actors/gatling/machine.ts";
import { HOST_INTENSITY, RestartIntensity } from "./actors/runtime/restart-intensity.ts";
import { ActorSystem } from "./actors/runtime/system.ts";
import { AttemptsLog } from "./bus/attempts.ts";
import type { Bus, BusState } from "./bus/bus.ts";
import { Checkpoints } from "./bus/checkpoints.ts";
import { connectBus } from "./bus/connection.ts";
import type { ResolvedConnection } from "./bus/credentials/connection-file.ts";
import { openHome } from "./bus/home/home.ts";
import type { Membership } from "./bus/home/membership.ts";
import { KvBucket } from "./bus/kv.ts";
import { serveDiscovery } from "./bus/micro-service.ts";
import { Objects } from "./bus/objects.ts";
import { Publisher } from "./bus/publisher.ts";
import { ResultStore } from "./bus/results.ts";
import type { Secret } from "./bus/sealed/secret.ts";
import { signerOf } from "./bus/sealed/signing.ts";
import { VaultCaller } from "./bus/sealed/vault-caller.ts";
import { TaskObjects } from "./bus/task-objects.ts";
import { ensureTopology } from "./bus/topology.ts";
import type { Config } from "./config.ts";
import { resolveAgents } from "./host/agents.ts";
import { checkCredential } from "./host/check-credential.ts";
import { watchForCopies } from "./host/copies.ts";
import { serveDrain } from "./host/draining.ts";
import { Lan } from "./host/lan.ts";
import { openLink } from "./host/link.ts";
import { joinNetwork } from "./host/network.ts";
import { nodePages } from "./host/pages.ts";
import { Reloading } from "./host/reloading.ts";
import { type Stop, stopAll } from "./host/stopping.ts";
import { TopologyKeeper } from "./host/topology-keeper.ts";
import { Troubles } from "./host/troubles.ts";
import { hostVault } from "./host/vault.ts";
import { startHttp } from "./http/server.ts";
import { LaneMeters } from "./metrics/lane-meters.ts";
import { systemClock } from "./protocols/clock.ts";
import { VgasError } from "./protocols/errors.ts";
import type { HostStats } from "./protocols/host-messages.ts";
import { type Logger, silentLogger, withFields } from "./protocols/logger.ts";
import { TOPOLOGY_DEFAULTS } from "./protocols/streams.ts";
import { Names } from "./protocols/subjects.ts";
import { VAULT } from "./protocols/vault/messages.ts";
import { packageVersion } from "./version.ts";

export interface HostOptions {
  readonly config: Config;
  /** Attach to this swarm. Without it the node starts a nats-server of its own, or uses `config.natsUrl`. */
  readonly connection?: ResolvedConnection | undefined;
  /** The swarm is there, so the node makes no streams; of itself with `connection`. */
  readonly joins?: boolean;
  /** The home's membership, whose credential `connection` is: the node follows its master to other addresses. */
  readonly membership?: Membership | undefined;
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
  /** With `lan`: the swarm's id, and where other machines find its door. */
  readonly lan: { readonly swarmId: string; readonly doors: readonly string[] } | undefined;
  /** Hosts an actor of the user's own. */
  readonly spawn: ActorSystem["spawn"];
  status(): { readonly dispatcher: DispatcherStatus | undefined; readonly agents: HostStats | undefined };
  /** Drains within the grace and stops everything; idempotent. `graceMs` overrides the configured one. */
  stop(graceMs?: number): Promise<void>;
  /** Resolves when the node has stopped, with the error that ended it if it was not asked to. */
  readonly done: Promise<VgasError | undefined>;
}

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
  {
    config,
    connection,
    membership,
    joins = false,
    agents: extraAgents = [],
    logger: log = silentLogger,
    vaultPassphrase,
  }: HostOptions,
  stops: Stop[],
): Promise<Host> {
  // Each line says which node writes it, from when that is known.
  const bindings: { node?: string } = {};
  const logger = withFields(log, bindings);
  const names = new Names(config.prefix);
  const clock = systemClock;
  const random = Math.random;
  const run = randomBytes(6).toString("base64url");
  let fail: (error: VgasError) => void = () => undefined;
  const failed = new Promise<VgasError>((resolve) => {
    fail = resolve;
  });

  // A module that cannot be loaded is found before anything is started.
  const agents = (await resolveAgents(config, extraAgents)).map((agent) => ({ ...agent }));

  const home = await openHome(config.home, { prefix: config.prefix });
  await home.lock();
  stops.push(() => home.release());

  if (config.lan && (connection ?? config.natsUrl) !== undefined)
    throw new VgasError("CONFIG", "lan: only a node with a nats-server of its own can let others in; leave --lan out");
  const lan = config.lan ? await Lan.open({ home, clock, logger }) : undefined;

  // First of all: a port that is taken is found before a broker is started for nothing, and probes see that the node starts.
  let started: Bus | undefined;
  let stopping: Promise<void> | undefined;
  const state = (): BusState | "starting" | "stopping" =>
    stopping === undefined ? (started?.state ?? "starting") : "stopping";
  let blocking: () => string | undefined = () => undefined;
  const http = config.roles.includes("http")
    ? await startHttp({
        port: config.httpPort,
        state,
        trouble: () => blocking(),
        logger,
        lan: lan?.http(() => state() === "connected"),
      })
    : undefined;
  if (http) stops.push(() => http.stop());

  const link = await openLink({ config, connection, joins, home, lan, logger, fail }, stops);
  const hostId = link.hostId;
  bindings.node = hostId;
  const bus = await connectBus({ ...link.connection, logger });
  stops.push(() => bus.close());
  await checkCredential(bus, names, link, logger);
  const runsAgents = config.roles.includes("agents") && agents.length > 0;
  stops.push(await watchForCopies({ bus, names, link, run, beats: runsAgents, clock, logger, fail }));
  let keeper: TopologyKeeper | undefined;
  if (link.ownsTopology) {
    const { replicas, resultsTtlMs, maxWaiting, durability } = config;
    // Of an external system another node may know that it forces every write.
    const batches = durability === "power" || (link.server === undefined ? undefined : false);
    const topology = { ...TOPOLOGY_DEFAULTS, replicas, resultsTtlMs, maxWaiting, batches };
    await ensureTopology(bus, names, topology);
    keeper = new TopologyKeeper({ bus, names, topology, clock, logger });
    keeper.start();
    stops.push(() => keeper?.stop());
  }

  const publisher = new Publisher(bus);
  stops.push(() => publisher.close());
  const results = new ResultStore({ bus, publisher, names, clock, logger });
  stops.push(() => results.close());
  const attempts = new AttemptsLog(new KvBucket(bus, publisher, names.buckets.attempts), names);
  const objects = new TaskObjects({ bus, publisher, names, logger });
  const checkpoints = new Checkpoints({
    bucket: new KvBucket(bus, publisher, names.buckets.checkpoints),
    objects: new Objects(bus, publisher, names),
    names,
    maxPayload: () => bus.maxPayload,
  });

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
  const deals = config.roles.includes("dispatcher");
  const meters = new LaneMeters();
  const shared = { run, bus, publisher, results, attempts, objects, names, clock, random, meters, logger };
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
  const isolation = agents.some(({ isolated }) => isolated)
    ? new IsolationPool({ clock, logger, vault: caller })
    : undefined;
  if (isolation) stops.push(() => isolation.stop());
  const host = heartbeat
    ? new ActorHost({
        ...shared,
        hostId,
        agents,
        checkpoints,
        heartbeat,
        vault: caller,
        isolation,
        spawn: (agent) => system.spawnLocal(`agent-${agent}`, agentLogic),
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
  if (host && config.watch) {
    const changed = (file: string): void => isolation?.retire(file);
    const reloading = new Reloading({ modules: config.modules, defaults: config, agents, changed, clock, logger });
    reloading.start();
    stops.push(() => reloading.stop());
  }
  // Both at once: the dispatcher hears of the elements that the agents finish.
  stops.push(async (leftMs) => {
    const dealt = dealer?.drain();
    await host?.drain(leftMs);
    await dealt;
  });

  const moveTo = (urls: readonly string[]): void => {
    bus.setServers(urls);
    heartbeat?.setServers(urls);
  };
  const network = { config, home, link, lan, membership, http, publisher, system, fail, moveTo };
  await joinNetwork({ ...network, bus, names, clock, random, logger }, stops);

  const status = (): ReturnType<Host["status"]> => ({ dispatcher: dealer?.status(), agents: host?.stats() });
  const parts = { bus, publisher, results, server: link.server, keeper };
  const troubles = new Troubles({ ...parts, dispatcher: () => dealer?.status() });
  blocking = () => troubles.blocking;
  const service = await serveDiscovery(
    bus,
    {
      id: hostId,
      version: packageVersion(),
      roles: config.roles,
      started: new Date(clock.now()).toISOString(),
      statsSubject: names.host(hostId, "stats"),
    },
    () => ({
      ...(heartbeat?.board.totals() ?? { started: 0, failed: 0 }),
      report: { v: 1, at: clock.now(), troubles: [...troubles.list()] },
    }),
  );
  stops.push(() => service.stop());

  http?.show(
    nodePages({
      ...{ bus, names, link, roles: config.roles, version: packageVersion(), meters, results, troubles, clock, status },
      groups: runsAgents ? ActorHost.groups(agents) : [],
    }),
  );

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
  const runsBroker = link.server !== undefined;
  const drain = async (): Promise<void> => {
    await stop();
    end(undefined);
  };
  stops.push(await serveDrain({ bus, names, hostId, runsBroker, logger, drain }));
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
    lan: lan && { swarmId: lan.authority.swarmId, doors: http === undefined ? [] : lan.doors(http.port) },
    spawn: system.spawn.bind(system),
    status,
    stop: async (graceMs) => {
      await stop(graceMs);
      end(undefined);
    },
    done,
  };
}
