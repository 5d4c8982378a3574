/**
 * The Gatling dispatcher: deals the tasks of every lane that some host offers to its agents, in strict rotation.
 *
 * Owns: the monitor, one `Lane` per offered (pool, kind), the ledger. Holds nothing that matters: whatever it had in
 * its hands comes back by redelivery.
 *
 * 1. A lane exists from the moment a host offers it; a kind that nobody offers waits in the stream without a consumer.
 * 2. What a host was given when it is evicted goes back to the stream at once.
 * 3. While results cannot be stored nothing is pulled.
 */
import type { AttemptsLog } from "../../bus/attempts.ts";
import type { Bus } from "../../bus/bus.ts";
import { decode } from "../../bus/codec/codec.ts";
import type { KvBucket } from "../../bus/kv.ts";
import type { Publisher } from "../../bus/publisher.ts";
import type { ResultStore } from "../../bus/results.ts";
import { readRotations } from "../../bus/rotations.ts";
import type { Signer } from "../../bus/sealed/signing.ts";
import { ensureLaneConsumer, streamInfo } from "../../bus/topology.ts";
import type { Clock, Random, Timer } from "../../protocols/clock.ts";
import { type Receipt, type Settled, settled } from "../../protocols/host-messages.ts";
import type { Logger } from "../../protocols/logger.ts";
import { LANE_CONSUMER } from "../../protocols/streams.ts";
import type { LaneName, Names } from "../../protocols/subjects.ts";
import type { LocalActor } from "../runtime/refs.ts";
import { Bursts, type LocalHost } from "./bursts.ts";
import type { HostView } from "./fleet.ts";
import { Grants } from "./grants.ts";
import { Inquiries } from "./inquiries.ts";
import { Lane } from "./lane.ts";
import { type Assigned, Ledger } from "./ledger.ts";
import type { DispatcherEffects, dispatcherMachine } from "./machine.ts";
import { Monitor } from "./monitor.ts";
import { Requeue } from "./requeue.ts";
import { lanesOf, wantedRanges } from "./rosters.ts";
import type { TaskInHand } from "./task-in-hand.ts";
import { Verdicts } from "./verdicts.ts";

/** Three signs of life within `ack_wait`, so that one lost message takes nothing away. */
const KEEP_ALIVE_MS = LANE_CONSUMER.ackWaitMs / 3;

/** How long an assignment may be silent before its host is asked whether it still has it, ms. */
const SILENT_MS = 5_000;

/** How often the room left in the results stream is looked at, ms. */
const ROOM_CHECK_MS = 2_000;

/** Share of the results stream's size cap from which nothing more is pulled: what runs still finds room. */
const FULL_FROM = 0.95;

export interface DispatcherOptions {
  /** Differs after each start of the process: hosts tell the dispatcher's lives apart by it, and nonces are unique by it. */
  readonly dispatcherId: string;
  readonly bus: Bus;
  readonly publisher: Publisher;
  readonly results: ResultStore;
  readonly attempts: AttemptsLog;
  readonly rotation: KvBucket;
  readonly names: Names;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** The actor host of this process, if it has one: bursts for it need no bus. */
  readonly local?: LocalHost;
  /** Signs what agents that declare providers show the vault; without it they get no keys. */
  readonly signer?: Signer;
  /** Runs the chart under supervision. */
  readonly spawn: (effects: DispatcherEffects) => LocalActor<typeof dispatcherMachine>;
}

/** What a dispatcher is doing, for display. */
export interface DispatcherStatus {
  readonly state: string;
  readonly inHand: number;
  readonly assigned: number;
  readonly openBursts: number;
  readonly lanes: readonly {
    readonly pool: string;
    readonly kind: string;
    readonly index: number;
    readonly swaps: number;
    readonly conflicts: number;
  }[];
}

export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #lanes = new Map<string, Lane>();
  readonly #ledger = new Ledger();
  readonly #bursts: Bursts;
  readonly #monitor: Monitor;
  readonly #requeue: Requeue;
  readonly #inquiries: Inquiries;
  readonly #verdicts: Verdicts;
  readonly #evicted = new Set<string>();
  readonly #timers: Timer[] = [];
  #actor: LocalActor<typeof dispatcherMachine> | undefined;
  #pulling = false;
  #adopted = false;
  #nonces = 0;
  #stopListening: (() => void) | undefined;
  #subscription: { unsubscribe(): void } | undefined;
  #draining: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    const { clock, signer } = options;
    this.#verdicts = new Verdicts(options);
    this.#inquiries = new Inquiries(options);
    this.#requeue = new Requeue({ ...options, nonce: () => this.#nonce() });
    this.#bursts = new Bursts({
      ...options,
      grants: signer && new Grants(signer, clock),
      onReceipt: (host, assigned, receipt) => this.#onReceipt(host, assigned, receipt),
      onNobody: (host) => this.#monitor.suspend(host),
    });
    this.#monitor = new Monitor({
      ...options,
      onChange: () => this.#refreshLanes(),
      onEvicted: (host) => this.#onEvicted(host),
      onBeat: (host) => this.#onBeat(host),
    });
  }

  /** Subscribes, begins to listen for hosts, and opens the lanes that they offer. */
  async start(): Promise<void> {
    const { bus, names, dispatcherId, clock, spawn } = this.#options;
    let ready = false;
    this.#actor = spawn({
      isReady: () => ready,
      openLanes: () => this.#openLanes(),
      closeLanes: () => this.#closeLanes(),
    });
    this.#subscription = await bus.subscribe(names.settled(dispatcherId), ({ data }) => this.#onSettledBytes(data));
    this.#stopListening = bus.onStatus((status) => {
      if (status.type === "disconnected") this.#actor?.send({ type: "TROUBLE", why: "the bus is down" });
      if (status.type !== "reconnected") return;
      if (status.restarted) for (const lane of this.#lanes.values()) lane.brokerRestarted();
      this.#actor?.send({ type: "HEALTHY" });
    });
    await this.#monitor.start();
    this.#timers.push(
      clock.setInterval(() => this.#keepAlive(), KEEP_ALIVE_MS),
      clock.setInterval(() => void this.#reconcile(), SILENT_MS),
      clock.setInterval(() => void this.#checkRoom(), ROOM_CHECK_MS),
    );
    ready = true;
    this.#actor.send({ type: "READY" });
  }

  /** Stops pulling and gives back what was not handed over. Idempotent. */
  drain(): Promise<void> {
    this.#draining ??= this.#drain();
    return this.#draining;
  }

  /** Drains, waits up to `graceMs` for the array elements that hosts still run, and ends. Idempotent. */
  stop(graceMs: number): Promise<void> {
    this.#stopping ??= this.#stop(graceMs);
    return this.#stopping;
  }

  /** Notices of the actor host of this process. */
  onSettled(notice: Settled): void {
    const host = this.#monitor.hosts.get(notice.host);
    if (host?.run !== notice.run) return;
    host.report(notice.free);
    host.reportedAt = this.#options.clock.monotonic();
    this.#ledger.settle(host, notice, (assigned) => void this.#again(assigned));
  }

  status(): DispatcherStatus {
    const lanes = [...this.#lanes.values()];
    return {
      state: String(JSON.stringify(this.#actor?.snapshot()?.value ?? "stopped")).replaceAll('"', ""),
      inHand: lanes.reduce((sum, lane) => sum + lane.inHand, 0),
      assigned: this.#ledger.size,
      openBursts: this.#bursts.open,
      lanes: lanes.map(({ name, rotation }) => ({
        ...name,
        index: rotation.index,
        swaps: rotation.swaps,
        conflicts: rotation.conflicts,
      })),
    };
  }

  async #drain(): Promise<void> {
    this.#actor?.send({ type: "DRAIN" });
    this.#stopListening?.();
    await Promise.all([...this.#lanes.values()].map((lane) => lane.stop()));
    const lanes = [...this.#lanes.values()];
    // What a receipt refuses comes back to hand, and is to be given back like the rest.
    while (this.#bursts.open > 0 || !this.#requeue.idle || !lanes.every((lane) => lane.settled)) {
      await new Promise<void>((resolve) => this.#options.clock.setTimeout(resolve, 5));
    }
    // A NAK that does not leave costs its task the rest of ack_wait.
    if (this.#options.bus.state === "connected") await this.#options.bus.flush();
  }

  async #stop(graceMs: number): Promise<void> {
    const { clock } = this.#options;
    const deadline = clock.monotonic() + graceMs;
    await this.drain();
    const lanes = [...this.#lanes.values()];
    // Elements are acknowledged by us, so their ends must be heard; single tasks are their hosts' business.
    while (lanes.some((lane) => lane.openArrays > 0) && clock.monotonic() < deadline) {
      await new Promise<void>((resolve) => clock.setTimeout(resolve, 20));
    }
    for (const timer of this.#timers) clock.clear(timer);
    this.#monitor.stop();
    this.#subscription?.unsubscribe();
    this.#actor?.send({ type: "STOPPED" });
  }

  #nonce(): string {
    return `${this.#options.dispatcherId}.${(this.#nonces++).toString(36)}`;
  }

  #openLanes(): void {
    this.#pulling = true;
    for (const lane of this.#lanes.values()) lane.open();
  }

  #closeLanes(): void {
    this.#pulling = false;
    for (const lane of this.#lanes.values()) lane.close();
  }

  #refreshLanes(): void {
    if (this.#draining !== undefined) return;
    for (const host of this.#monitor.hosts.values()) {
      for (const name of lanesOf(host)) this.#ensureLane(name);
    }
    for (const lane of this.#lanes.values()) lane.refreshRoster();
  }

  #ensureLane(name: LaneName): void {
    const key = this.#options.names.consumer(name);
    if (this.#lanes.has(key)) return;
    const { bus, names, rotation } = this.#options;
    const lane = new Lane({
      ...this.#options,
      bucket: rotation,
      lane: name,
      verdicts: this.#verdicts,
      nonce: () => this.#nonce(),
      bursts: this.#bursts,
      ledger: this.#ledger,
      findHost: (host, run) => {
        const known = this.#monitor.hosts.get(host);
        return known?.run === run ? known : undefined;
      },
      knowsHosts: (ranges) => this.#monitor.settled || ranges.every(({ host }) => this.#monitor.hosts.has(host)),
      wantedRoster: (current) =>
        wantedRanges(
          name,
          current,
          this.#monitor.hosts,
          (host, run) => this.#monitor.settled || this.#evicted.has(`${host} ${run}`),
        ),
      ensureConsumer: () => ensureLaneConsumer(bus, names, name),
      giveBack: (of, tasks) => this.#requeue.unstarted(of, tasks),
      disown: (of, tasks) => this.#requeue.forgotten(of, tasks),
      stillRunning: (of, ids) => this.#inquiries.stillRunning(this.#monitor.hosts.values(), of, ids),
      onActivity: () => this.#reportActivity(),
    });
    this.#lanes.set(key, lane);
    if (this.#pulling) lane.open();
  }

  #reportActivity(): void {
    let inHand = 0;
    let saturated = false;
    for (const lane of this.#lanes.values()) {
      inHand += lane.inHand;
      saturated ||= lane.saturated;
    }
    const state = saturated ? "saturated" : inHand > 0 ? "firing" : "idle";
    if (this.#actor?.snapshot()?.matches({ dealing: state }) === false) {
      this.#actor.send({ type: "ACTIVITY", inHand, saturated });
    }
  }

  #onReceipt(host: HostView, assigned: readonly Assigned[], receipt: Receipt): void {
    host.reportedAt = this.#options.clock.monotonic();
    const refused = new Set(receipt.refused);
    const back = new Map<Lane, TaskInHand[]>();
    for (const each of assigned) {
      if (!refused.has(each.n)) {
        each.taken = true;
        // The message stays in the stream until it is acknowledged; an element is needed again if its host vanishes.
        if (!each.task.array) each.task.body = NO_BYTES;
      } else if (this.#ledger.take(host, each.n)) {
        const lane = this.#laneOf(each);
        const tasks = back.get(lane);
        if (tasks) tasks.push(each.task);
        else back.set(lane, [each.task]);
      }
    }
    for (const [lane, tasks] of back) lane.takeBack(tasks);
    if (receipt.gone) this.#monitor.replaced(host);
    else if (receipt.draining) this.#monitor.leave(host);
  }

  #onSettledBytes(data: Uint8Array): void {
    const notice = settled.parse(decode(data));
    const open = this.#monitor.hosts.get(notice.host)?.openBursts ?? 0;
    if (open === 0) this.onSettled(notice);
    // A receipt that came before it in the same packet is handled only when this turn's promises are: free slots are absolute,
    // so the older word must not come last.
    else setImmediate(() => this.onSettled(notice));
  }

  async #again(assigned: Assigned): Promise<void> {
    await this.#giveBack(assigned);
  }

  #onEvicted(host: HostView): void {
    this.#evicted.add(`${host.id} ${host.run}`);
    for (const assigned of this.#ledger.takeAll(host)) void this.#giveBack(assigned);
  }

  async #giveBack(assigned: Assigned): Promise<void> {
    try {
      await this.#requeue.uncertain(this.#laneOf(assigned).name, assigned.task);
    } catch (error) {
      // An element's array stays un-acknowledged and comes back by ack_wait.
      this.#options.logger.warn({ id: assigned.task.id, error: String(error) }, "a task could not be given back");
    }
  }

  #onBeat(host: HostView): void {
    const { clock } = this.#options;
    // Receipts and notices are newer than a heartbeat, which comes by another connection: it counts only in their absence.
    if (host.openBursts > 0 || clock.monotonic() - host.reportedAt < SILENT_MS / 2) return;
    for (const agent of host.agents) agent.report(agent.slots - (host.heartbeat.running[agent.number] ?? 0));
  }

  #keepAlive(): void {
    for (const lane of this.#lanes.values()) lane.keepAlive();
    if (!this.#monitor.settled) return;
    for (const lane of this.#lanes.values()) lane.checkRoster();
    void this.#adoptRosters();
  }

  /** Takes over rosters of kinds that nobody offers any more, so that they are emptied: once, when all hosts must be known. */
  async #adoptRosters(): Promise<void> {
    if (this.#adopted) return;
    this.#adopted = true;
    const { bus, names, rotation, logger } = this.#options;
    try {
      const { lanes, warnings } = await readRotations(bus, names);
      for (const warning of warnings) logger.warn({ bucket: rotation.name }, warning);
      for (const { pool, kind, ranges } of lanes) if (ranges.length > 0) this.#ensureLane({ pool, kind });
    } catch (error) {
      this.#adopted = false;
      logger.warn({ error: String(error) }, "the rosters could not be read, trying again");
    }
  }

  /** Asks hosts for assignments that have been silent for long: a lost notice must not hold an array for ever. */
  async #reconcile(): Promise<void> {
    const { clock, local } = this.#options;
    for (const host of this.#monitor.hosts.values()) {
      const ns = this.#ledger.olderThan(host, clock.monotonic() - SILENT_MS);
      if (ns.length === 0 || host.id === local?.hostId) continue;
      for (const n of await this.#inquiries.notOwned(host, ns)) {
        const assigned = this.#ledger.take(host, n);
        // A single task was acknowledged or comes back; an element is published again and found done if it is.
        if (assigned?.task.array) await this.#giveBack(assigned);
      }
    }
  }

  async #checkRoom(): Promise<void> {
    const { bus, results } = this.#options;
    if (bus.state !== "connected" || !this.#actor) return;
    try {
      const full = results.refused > 0 || (await this.#nearlyFull());
      const degraded = this.#actor.snapshot()?.matches("degraded") === true;
      if (full && !degraded) this.#actor.send({ type: "TROUBLE", why: "the results stream is full" });
      if (!full && degraded) this.#actor.send({ type: "HEALTHY" });
    } catch (error) {
      this.#options.logger.debug({ error: String(error) }, "the results stream could not be looked at");
    }
  }

  async #nearlyFull(): Promise<boolean> {
    const { bus, names } = this.#options;
    const state = await streamInfo(bus, names.streams.results);
    return state !== undefined && state.maxBytes > 0 && state.bytes > state.maxBytes * FULL_FROM;
  }

  #laneOf({ task, agent }: Assigned): Lane {
    const lane = this.#lanes.get(task.lane);
    if (!lane) throw new Error(`no lane ${task.lane} for agent ${agent.number}`);
    return lane;
  }
}

const NO_BYTES = new Uint8Array(0);
