/**
 * The broker of a home: one nats-server, kept running until it is stopped.
 *
 * Owns the process, its record in the home, and its restarts.
 *
 * 1. At most one nats-server runs on a home's store: the home is locked, and every broker left on it is adopted or ended
 *    before one is started.
 * 2. A restart listens on the same port, so clients find it again.
 * 3. When it ends unexpectedly more often than the budget allows, `onExit` is called once and it is not started again. What
 *    is not its own fault (a full disk, a port that somebody took meanwhile) is waited for instead.
 * 4. `stop` is idempotent and awaited, and whatever it finds half started has ended when it returns.
 * 5. When this process exits without `stop`, the broker is told to end; only a kill leaves it behind.
 * 6. One that hangs, or that cannot write its store any more, is ended and started again (watch.ts); the next one is not started
 *    before it is gone (1).
 */
import { failpoint } from "../../failpoints/failpoints.ts";
import { type Clock, systemClock } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import { type Logger, silentLogger } from "../../protocols/logger.ts";
import type { ServerCertificate } from "../certificates/server-certificate.ts";
import { readIfPresent } from "../home/files.ts";
import type { Home } from "../home/home.ts";
import { type BrokerAddress, removeBrokerRecord, writeBrokerRecord } from "./broker-record.ts";
import { Complaints } from "./complaints.ts";
import { type Configuration, configurationOf, type Durability, installConfiguration } from "./configuration.ts";
import { brokerFailure, logSize } from "./failure.ts";
import { locateNatsServer, type NatsServerBinary } from "./locate.ts";
import { adoptOrStop, requireNoOther } from "./orphans.ts";
import { pickPort, requirePort } from "./port.ts";
import { lookAt, probe } from "./probe.ts";
import { type BrokerProcess, spawnBroker, stopBroker } from "./process.ts";
import { RestartBudget } from "./restart-budget.ts";
import { Revival } from "./revival.ts";
import { migrateStore } from "./store-migration.ts";
import { storeRoom } from "./store-room.ts";
import { type BrokerTls, identityOf, installCertificate, installTls } from "./tls.ts";
import { BrokerWatch, WATCH_TIMING, type WatchTiming } from "./watch.ts";

export interface NatsServerOptions {
  /** Locked by this process. */
  readonly home: Home;
  /** 0 picks a free one and keeps it. */
  readonly port: number;
  /** Address to listen on, default 127.0.0.1; 0.0.0.0 for all. Another than loopback takes `tls`. */
  readonly host?: string;
  readonly durability: Durability;
  /** Demands TLS of every client, and proves the broker by this. Without it the broker is for loopback only. */
  readonly tls?: BrokerTls;
  readonly logger?: Logger;
  readonly clock?: Clock;
  /** Default: found as locate.ts says. */
  readonly binary?: NatsServerBinary;
  readonly restarts?: RestartBudget;
  readonly watching?: WatchTiming;
  /** Called once when the broker is given up: it ended too often. */
  readonly onExit: (error: VgasError) => void;
}

/** A large store is read before the server answers; a process that lives and reads is left to it for so long. */
const START_TIMEOUT_MS = 120_000;
const STOP_GRACE_MS = 10_000;
/** One that hangs does not use its grace, and clients wait meanwhile. */
const RENEW_GRACE_MS = 5_000;
const POLL_MS = 20;
const LOOPBACK = "127.0.0.1";
/** Tries to find a port that is still free when the server listens on it. */
const PORT_TRIES = 5;

/**
 * Starts the home's broker, or adopts the one that a killed predecessor left, and returns when it answers to this node's
 * credential.
 *
 * @throws VgasError CONFIG (port in use, disk), BROKER_FAILED with the end of its log
 */
export async function startNatsServer(options: NatsServerOptions): Promise<NatsServer> {
  const { home, host = LOOPBACK, durability, logger = silentLogger, clock = systemClock } = options;
  if (!home.locked) throw new VgasError("INTERNAL", "a broker is started on a home that this process has not locked");
  const binary = options.binary ?? (await locateNatsServer());
  const { layout, hostId } = home;
  const { tls } = options;
  if (tls === undefined && !/^(?:127\.|::1$)/.test(host)) {
    throw new VgasError("INTERNAL", `a broker is started on ${host} without TLS`);
  }
  const serverName = tls?.authority.serverName;
  const configuration = await configurationOf({ layout, binary, hostId, host, durability, serverName });
  await home.credentials.prepare();
  const { seed } = await home.credentials.read("system");
  const parts = {
    layout,
    binary,
    configuration,
    host,
    tls,
    seed,
    clock,
    logger,
    timing: options.watching ?? WATCH_TIMING,
  };
  const server = new NatsServer(parts, options.restarts ?? new RestartBudget(), options.onExit);
  await server.start(options.port);
  return server;
}

interface Parts {
  readonly layout: Home["layout"];
  readonly binary: NatsServerBinary;
  readonly configuration: Configuration;
  readonly host: string;
  readonly tls: BrokerTls | undefined;
  readonly seed: Uint8Array;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly timing: WatchTiming;
}

export class NatsServer {
  readonly #parts: Parts;
  readonly #revival: Revival;
  readonly #listeners = new Set<() => void>();
  #tls: BrokerTls | undefined;
  #port = 0;
  #process: BrokerProcess | undefined;
  #adopted = false;
  #stopping = false;
  #stopped: Promise<void> | undefined;
  /** The start or restart under way. */
  #launching: Promise<void> | undefined;
  #watch: BrokerWatch | undefined;
  /** It was ended for this. */
  #renewing: string | undefined;

  /** Use `startNatsServer`. */
  constructor(parts: Parts, budget: RestartBudget, onExit: (error: VgasError) => void) {
    this.#parts = parts;
    this.#tls = parts.tls;
    this.#revival = new Revival({ ...parts, budget, launch: () => this.#launch(), giveUp: onExit });
  }

  /** Where processes of this machine reach it. */
  get url(): string {
    const { host } = this.#parts;
    const reachable = host === "0.0.0.0" ? LOOPBACK : host === "::" ? "::1" : host;
    return `${this.#tls === undefined ? "nats" : "tls"}://${reachable.includes(":") ? `[${reachable}]` : reachable}:${this.#port}`;
  }

  get port(): number {
    return this.#port;
  }

  /** Of the process that runs now; undefined between its end and its restart. */
  get pid(): number | undefined {
    return this.#process?.identity.pid;
  }

  get version(): string {
    return this.#parts.binary.version;
  }

  /** True if the first process was taken over from a killed predecessor. */
  get adopted(): boolean {
    return this.#adopted;
  }

  /** Why it does not do its work just now, a sentence without its end; undefined if it does. */
  get trouble(): string | undefined {
    return this.#revival.trouble ?? this.#watch?.trouble;
  }

  /** What the disk of its store had left lately, bytes; undefined if that is not known. */
  get freeBytes(): number | undefined {
    return this.#watch?.freeBytes;
  }

  /** How often it was started again. */
  get restarts(): number {
    return this.#revival.count;
  }

  /** Called after each restart, when the new process answers. Returns what takes the listener away. */
  onRestart(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** How processes of this machine reach it and know it. */
  get #address(): BrokerAddress {
    return { url: this.url, ...identityOf(this.#parts.layout, this.#tls) };
  }

  /**
   * Shows this certificate to whoever connects from now on; connections stay. It is of the same authority as the one before.
   *
   * @throws VgasError CONFIG of the disk; INTERNAL for a broker without TLS
   */
  async useCertificate(certificate: ServerCertificate): Promise<void> {
    if (this.#tls === undefined) throw new VgasError("INTERNAL", "a broker without TLS takes no certificate");
    this.#tls = { ...this.#tls, certificate };
    await installCertificate(this.#parts.layout, certificate);
    this.reload();
  }

  /** Reads the configuration, the users and the certificate again; connections stay. */
  reload(): void {
    this.#process?.signal("SIGHUP");
  }

  async start(port: number): Promise<void> {
    process.once("exit", this.#onProcessExit);
    this.#launching = this.#begin(port);
    try {
      await this.#launching;
    } catch (error) {
      await this.stop();
      throw error;
    } finally {
      this.#launching = undefined;
    }
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    this.#stopping = true;
    this.#watch?.stop();
    this.#revival.stop();
    if (this.#process !== undefined) await stopBroker(this.#process, STOP_GRACE_MS, this.#parts.clock);
    await this.#launching?.catch(() => undefined);
    if (this.#process !== undefined) await stopBroker(this.#process, STOP_GRACE_MS, this.#parts.clock);
    process.off("exit", this.#onProcessExit);
    await removeBrokerRecord(this.#parts.layout);
  }

  readonly #onProcessExit = (): void => {
    this.#process?.signal("SIGTERM");
  };

  async #begin(port: number): Promise<void> {
    const { layout, configuration, host, seed, clock, logger } = this.#parts;
    const identity = identityOf(layout, this.#tls);
    const wanted = { layout, configuration: configuration.digest, port, identity, seed, stopGraceMs: STOP_GRACE_MS };
    const adopted = await adoptOrStop(wanted, clock, logger);
    if (adopted !== undefined) {
      this.#port = adopted.record.port;
      this.#process = adopted.process;
      this.#adopted = true;
      failpoint("broker.adopted");
      // Its users and its certificate are those of its own start; ours may differ.
      await installTls(layout, this.#tls);
      this.reload();
      this.#attend(adopted.process);
      return;
    }
    if (port !== 0) {
      await requirePort(host, port);
      this.#port = port;
      return await this.#launch();
    }
    for (let attempt = 1; ; attempt++) {
      this.#port = await pickPort(host);
      try {
        return await this.#launch();
      } catch (error) {
        // Somebody took the port between the look and the start: CONFIG is "port in use" or a disk that fails again.
        if (attempt >= PORT_TRIES || !(error instanceof VgasError) || error.code !== "CONFIG" || this.#stopping)
          throw error;
      }
    }
  }

  /** Starts a process on the port and waits until it answers. On failure nothing of it is left. */
  async #launch(): Promise<void> {
    const { layout, binary, configuration, host, logger } = this.#parts;
    await requireNoOther(layout);
    await migrateStore(layout, logger);
    await installConfiguration(layout, configuration);
    await installTls(layout, this.#tls);
    const accounts = await readIfPresent(layout.nats.accounts);
    const run = { host, port: this.#port, logFrom: await logSize(layout) };
    if (this.#stopping) throw stoppedWhileStarting();
    const broker = await spawnBroker({
      binary: binary.path,
      config: layout.nats.config,
      stderr: layout.nats.stderr,
      directory: layout.nats.dir,
      environment: configuration.environment(this.#port),
      timerSlackNs: configuration.timerSlackNs,
    });
    if (typeof broker === "string") throw await brokerFailure(layout, broker, run);
    this.#process = broker;
    try {
      const record = {
        v: 1,
        process: broker.identity,
        port: this.#port,
        ...this.#address,
        version: binary.version,
        configuration: configuration.digest,
        store: layout.nats.store,
      } as const;
      await writeBrokerRecord(layout, { ...record, ready: false });
      const ended = await this.#untilReady(broker);
      if (ended !== undefined) throw await brokerFailure(layout, ended, run);
      await writeBrokerRecord(layout, { ...record, ready: true });
      // A credential issued while it started may have come after its look at the users.
      if ((await readIfPresent(layout.nats.accounts)) !== accounts) this.reload();
    } catch (error) {
      await stopBroker(broker, STOP_GRACE_MS, this.#parts.clock);
      this.#process = undefined;
      throw this.#stopping ? stoppedWhileStarting() : error;
    }
    this.#attend(broker);
  }

  /** Resolves when it answers to our credential; to how it ended if it did before. */
  async #untilReady(broker: BrokerProcess): Promise<string | undefined> {
    const { clock, seed, layout } = this.#parts;
    const deadline = clock.monotonic() + START_TIMEOUT_MS;
    let ended: string | undefined;
    void broker.ended.then((how) => {
      ended = how;
    });
    for (;;) {
      const reply = await probe(this.#address, seed);
      if (ended !== undefined) return ended;
      if (reply.answer === "accepted") {
        if (reply.info.auth_required === true && reply.info.jetstream === true) return undefined;
        throw new VgasError(
          "BROKER_FAILED",
          `the nats-server at ${this.url} runs without JetStream or without authentication`,
        );
      }
      if (clock.monotonic() > deadline) {
        throw new VgasError(
          "BROKER_FAILED",
          `starting the nats-server timed out after ${START_TIMEOUT_MS} ms; its log is ${layout.nats.log}`,
        );
      }
      await new Promise<void>((resolve) => clock.setTimeout(resolve, POLL_MS));
    }
  }

  #attend(broker: BrokerProcess): void {
    const { clock, logger, timing, layout, seed } = this.#parts;
    const { pid } = broker.identity;
    const complaints = new Complaints(layout.nats.log, pid);
    const watch = new BrokerWatch({
      senses: {
        look: () => lookAt(this.#address, seed, timing.timeoutMs),
        complaint: () => complaints.next(),
        room: (how) => storeRoom(layout.nats.store, how),
      },
      clock,
      logger,
      timing,
      renew: (why) => {
        logger.error({ brokerPid: pid, why }, "the nats-server is ended, to be started again");
        this.#renewing = why;
        void stopBroker(broker, RENEW_GRACE_MS, clock);
      },
    });
    this.#watch = watch;
    void broker.ended.then((how) => {
      watch.stop();
      if (this.#stopping || this.#process !== broker) return;
      this.#process = undefined;
      if (this.#renewing === undefined) logger.error({ brokerPid: pid, how }, "the nats-server ended unexpectedly");
      this.#launching = this.#restart(how).finally(() => {
        this.#launching = undefined;
      });
    });
  }

  /** Rejects only with what `onExit` throws. */
  async #restart(how: string): Promise<void> {
    const renewing = this.#renewing;
    this.#renewing = undefined;
    if (!(await this.#revival.run(how, renewing))) return;
    this.#parts.logger.warn({ brokerPid: this.pid, port: this.#port }, "the nats-server was restarted");
    failpoint("broker.restarted");
    for (const listener of this.#listeners) this.#tell(listener);
  }

  #tell(listener: () => void): void {
    try {
      listener();
    } catch (error) {
      this.#parts.logger.error({ error: String(error) }, "a listener of the nats-server's restarts threw");
    }
  }
}

function stoppedWhileStarting(): VgasError {
  return new VgasError("SHUTTING_DOWN", "the nats-server was stopped while it started");
}
