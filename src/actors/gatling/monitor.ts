/**
 * Judges which hosts are alive, by the arrival of their heartbeats on this process's monotonic clock.
 *
 * 1. A host is evicted after `DEAD_AFTER_MS` of silence, or earlier when a heartbeat is missed and nobody has listened there for
 *    as long as a connection takes to come back (P6).
 * 2. A monitor that was itself stalled, or that was cut off, forgives everybody and begins to count anew (P7). A connection
 *    can stand and be deaf for longer than a host may be silent, so silence counts only after a round trip has worked. What
 *    cut us off may have cut off the others: of a host that was not heard since, only the whole silence counts.
 * 3. When more than half of the hosts fall silent at once, silence alone evicts nobody before `DOUBTFUL_AFTER_MS`:
 *    a fault of ours is likelier. That nobody listens there still does.
 * 4. Wall clocks, ours or theirs, decide nothing.
 */
import type { Bus } from "../../bus/bus.ts";
import { decode } from "../../bus/codec/codec.ts";
import { failpoint } from "../../failpoints/failpoints.ts";
import type { Clock, Timer } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import { type Heartbeat, heartbeat } from "../../protocols/host-messages.ts";
import type { Logger } from "../../protocols/logger.ts";
import type { Names } from "../../protocols/subjects.ts";
import { type HostState, HostView } from "./fleet.ts";
import { RollCall } from "./roll-call.ts";

/** Heartbeats come once a second. */
const HEARTBEAT_MS = 1_000;
/** A heartbeat is missed, so it is asked whether anybody listens there: a killed process's connections are closed at once. */
const PROBE_AFTER_MS = 1.1 * HEARTBEAT_MS;
/** A connection that is lost to a server that stands is back within it (connection.ts): whoever listens again by then was not dead. */
const RECONNECT_MS = 500;
const SUSPECT_AFTER_MS = 1.5 * HEARTBEAT_MS;
const DEAD_AFTER_MS = 3 * HEARTBEAT_MS;
const DOUBTFUL_AFTER_MS = 10 * HEARTBEAT_MS;
const TICK_MS = 250;
/** A tick this late means that we were stalled, and that heartbeats may be waiting unread. */
const STALLED_MS = 1_000;

export interface MonitorOptions {
  readonly bus: Bus;
  readonly names: Names;
  readonly clock: Clock;
  readonly logger: Logger;
  /** A host joined, or its groups or usability changed. */
  readonly onChange: () => void;
  /** A host is out: its silence, its successor, its stall or its own word says so. */
  readonly onEvicted: (host: HostView, why: string) => void;
  /** A heartbeat of a known host, for what it says of its load. */
  readonly onBeat: (host: HostView) => void;
}

export class Monitor {
  readonly #options: MonitorOptions;
  readonly #hosts = new Map<string, HostView>();
  readonly #probing = new Set<HostView>();
  readonly #rollCall: RollCall;
  #subscription: { unsubscribe(): void } | undefined;
  #timer: Timer | undefined;
  #tickedAt = 0;
  #connectedAt = 0;
  /** When everybody was last forgiven. */
  #forgivenAt = Number.NEGATIVE_INFINITY;
  #wasConnected = true;
  /** When the last proof that the bus works was begun. */
  #provenAt = 0;
  #proving = false;
  /** The bus did not answer when it was last tried, although the connection stands. */
  #cutOff = false;
  /** Heartbeats that could be read. */
  beats = 0;

  constructor(options: MonitorOptions) {
    this.#options = options;
    this.#rollCall = new RollCall({ ...options, onAbsent: options.onChange });
  }

  get hosts(): ReadonlyMap<string, HostView> {
    return this.#hosts;
  }

  /** How many hosts are known, by state. */
  states(): Readonly<Record<Exclude<HostState, "out">, number>> {
    const states = { up: 0, suspended: 0, leaving: 0 };
    for (const { state } of this.#hosts.values()) if (state !== "out") states[state]++;
    return states;
  }

  /** True once every living host must have been heard: whoever is in a roster and not known by now is gone. */
  get settled(): boolean {
    return this.#wasConnected && this.#options.clock.monotonic() - this.#connectedAt > DEAD_AFTER_MS;
  }

  /** Whether everybody who lives of the hosts that a roster names was heard, or had time enough to be. */
  heard(roster: Iterable<{ readonly host: string }>): boolean {
    if (this.settled) return true;
    for (const { host } of roster) if (!this.#hosts.has(host)) return false;
    return true;
  }

  /** As `heard`, but where nobody listens nobody is waited for. Who was not heard is asked, and `onChange` tells what came of it. */
  knows(roster: Iterable<{ readonly host: string }>): boolean {
    if (this.settled) return true;
    let all = true;
    // To the end: they are asked at the same time.
    for (const { host } of roster) if (!this.#hosts.has(host) && !this.#rollCall.isAbsent(host)) all = false;
    return all;
  }

  async start(): Promise<void> {
    const { bus, names, clock } = this.#options;
    this.#tickedAt = clock.monotonic();
    this.#connectedAt = this.#tickedAt;
    this.#subscription = await bus.subscribe(names.heartbeat("*"), ({ data }) => this.#hear(data));
    this.#timer = clock.setInterval(() => this.#tick(), TICK_MS);
  }

  stop(): void {
    this.#subscription?.unsubscribe();
    this.#options.clock.clear(this.#timer);
    this.#timer = undefined;
  }

  /** Nobody listened at `host` when something was sent to it: it gets nothing until a probe is answered. */
  suspend(host: HostView): void {
    host.nobodySince ??= this.#options.clock.monotonic();
    if (host.state === "up") host.state = "suspended";
  }

  /** `host` takes nothing more and finishes what it has. */
  leave(host: HostView): void {
    if (host.state === "out" || host.state === "leaving") return;
    host.state = "leaving";
    this.#options.onChange();
  }

  /** Another incarnation answered for `host`. */
  replaced(host: HostView): void {
    this.#evict(host, "it started again");
  }

  #hear(data: Uint8Array): void {
    const { logger, clock } = this.#options;
    let beat: Heartbeat;
    try {
      beat = heartbeat.parse(decode(data));
    } catch (error) {
      logger.warn({ error: String(error) }, "a heartbeat was not readable");
      return;
    }
    this.beats++;
    const now = clock.monotonic();
    const known = this.#hosts.get(beat.host);
    if (beat.stalled) {
      if (known) this.#evict(known, "a task blocks it past its deadline");
      return;
    }
    if (known?.run === beat.run) {
      known.heardAt = now;
      known.heartbeat = beat;
      if (beat.draining) this.leave(known);
      this.#options.onBeat(known);
      return;
    }
    if (known) this.#evict(known, "it started again");
    const host = new HostView(beat, now);
    this.#hosts.set(beat.host, host);
    logger.info({ host: beat.host, agents: beat.running.length }, "a host joined");
    this.#options.onChange();
  }

  #tick(): void {
    const { bus, clock } = this.#options;
    const now = clock.monotonic();
    const late = now - this.#tickedAt > STALLED_MS;
    const connected = bus.state === "connected";
    const reconnected = connected && !this.#wasConnected;
    this.#tickedAt = now;
    this.#wasConnected = connected;
    if (late || reconnected) this.#forgive();
    if (!connected || late || reconnected) return;
    for (const host of this.#hosts.values())
      if (host.state === "suspended" || now - host.heardAt > PROBE_AFTER_MS) void this.#probe(host);
    if (this.#cutOff) {
      void this.#prove();
      return;
    }
    const silent = [...this.#hosts.values()].filter((host) => now - host.heardAt > SUSPECT_AFTER_MS);
    const manyAtOnce = silent.length * 2 > this.#hosts.size;
    for (const host of silent) {
      void this.#prove();
      // Silence counts only if the bus is known to have worked meanwhile.
      if (this.#provenAt < host.heardAt + SUSPECT_AFTER_MS) continue;
      const silentMs = now - host.heardAt;
      if (silentMs > (manyAtOnce ? DOUBTFUL_AFTER_MS : DEAD_AFTER_MS)) this.#evict(host, "it fell silent");
      else if (silentMs > DEAD_AFTER_MS) failpoint("monitor.doubted");
    }
  }

  /** Tries whether the bus answers us. If it did not and does again, what we missed is forgiven, as after a reconnect. */
  async #prove(): Promise<void> {
    if (this.#proving) return;
    const { bus, clock } = this.#options;
    const began = clock.monotonic();
    this.#proving = true;
    try {
      await bus.flush(HEARTBEAT_MS);
      if (this.#cutOff) this.#forgive();
      this.#cutOff = false;
      this.#provenAt = began;
    } catch {
      this.#cutOff = true;
    } finally {
      this.#proving = false;
    }
  }

  #forgive(): void {
    failpoint("monitor.forgave");
    const now = this.#options.clock.monotonic();
    this.#connectedAt = now;
    this.#forgivenAt = now;
    this.#rollCall.forget();
    for (const host of this.#hosts.values()) {
      host.heardAt = now;
      host.nobodySince = undefined;
    }
  }

  async #probe(host: HostView): Promise<void> {
    if (this.#probing.has(host)) return;
    const { bus, names, clock } = this.#options;
    const asked = clock.monotonic();
    this.#probing.add(host);
    try {
      await bus.request("host.probe", names.host(host.id, "stats"), EMPTY, { timeoutMs: HEARTBEAT_MS });
      host.nobodySince = undefined;
      if (host.state === "suspended") host.state = "up";
    } catch (error) {
      // No answer proves little, since a host judged by its heartbeat is late with it: but somebody listens.
      if (error instanceof VgasError && error.code === "UNDELIVERABLE") this.#onNobody(host, asked);
      else host.nobodySince = undefined;
    } finally {
      this.#probing.delete(host);
    }
  }

  /** A probe that was sent at `asked` found nobody. */
  #onNobody(host: HostView, asked: number): void {
    const { bus, clock } = this.#options;
    const silentMs = clock.monotonic() - host.heardAt;
    // We were cut off meanwhile, and what was found before that is forgiven.
    if (bus.state !== "connected" || asked < this.#forgivenAt) return;
    host.nobodySince ??= asked;
    const heard = host.heardAt > this.#forgivenAt;
    if (silentMs <= (heard ? PROBE_AFTER_MS : DEAD_AFTER_MS)) return;
    if (asked - host.nobodySince >= RECONNECT_MS) this.#evict(host, "nobody listens there");
  }

  #evict(host: HostView, why: string): void {
    if (this.#hosts.get(host.id) !== host) return;
    this.#hosts.delete(host.id);
    host.state = "out";
    failpoint("host.evicted");
    this.#options.logger.warn({ host: host.id, why }, "a host is out of the rotation");
    this.#options.onEvicted(host, why);
    this.#options.onChange();
  }
}

const EMPTY = new Uint8Array(0);
