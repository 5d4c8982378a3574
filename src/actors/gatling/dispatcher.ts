/**
 * The Gatling dispatcher: deals the tasks of every lane that some host offers to its agents, in strict rotation.
 *
 * Owns: the monitor, the lanes, the ledger. Holds nothing that matters: whatever it had in its hands comes back by
 * redelivery; what a cluster loses all the same, it publishes again while it lives (strays.ts).
 *
 * 1. What a host was given when it is evicted goes back to the stream at once.
 * 2. While results cannot be stored nothing is pulled (results-room.ts), and nothing of a lane that is paused.
 */
import type { AttemptsLog } from "../../bus/attempts.ts";
import type { Bus } from "../../bus/bus.ts";
import { decode } from "../../bus/codec/codec.ts";
import { KvBucket } from "../../bus/kv.ts";
import { isClustered } from "../../bus/leader.ts";
import { watchPauses } from "../../bus/pauses.ts";
import type { Publisher } from "../../bus/publisher.ts";
import type { ResultStore } from "../../bus/results.ts";
import type { Signer } from "../../bus/sealed/signing.ts";
import type { TaskObjects } from "../../bus/task-objects.ts";
import { failpoint } from "../../failpoints/failpoints.ts";
import { LaneMeters } from "../../metrics/lane-meters.ts";
import type { Clock, Random, Timer } from "../../protocols/clock.ts";
import { type Receipt, type Settled, settled } from "../../protocols/host-messages.ts";
import type { Logger } from "../../protocols/logger.ts";
import { agentId } from "../../protocols/rotation.ts";
import { LANE_CONSUMER } from "../../protocols/streams.ts";
import type { Names } from "../../protocols/subjects.ts";
import type { LocalActor } from "../runtime/refs.ts";
import { BrokerClock } from "./broker-clock.ts";
import { Bursts, type LocalHost } from "./bursts.ts";
import { Cancels } from "./cancels.ts";
import { Desk } from "./desk.ts";
import { EvictedLives } from "./evicted-lives.ts";
import type { HostView } from "./fleet.ts";
import { Grants } from "./grants.ts";
import { Inquiries } from "./inquiries.ts";
import type { Lane } from "./lane.ts";
import { type LaneStatus, Lanes } from "./lanes.ts";
import { type Assigned, Ledger } from "./ledger.ts";
import { Leftovers } from "./leftovers.ts";
import type { DispatcherEffects, dispatcherMachine } from "./machine.ts";
import { Monitor } from "./monitor.ts";
import { Now } from "./now.ts";
import { Requeue } from "./requeue.ts";
import { ResultsRoom } from "./results-room.ts";
import { Strays } from "./strays.ts";
import type { TaskInHand } from "./task-in-hand.ts";
import { Verdicts } from "./verdicts.ts";

/** Three signs of life within `ack_wait`, so that one lost message takes nothing away. */
const KEEP_ALIVE_MS = LANE_CONSUMER.ackWaitMs / 3;

/** How long an assignment may be silent before its host is asked whether it still has it, ms. */
const SILENT_MS = 5_000;

/** Longest wait at the end for the rosters to be without the host of this process, ms: while nobody leads them that takes long. */
const LEAVE_MS = 2_000;

export interface DispatcherOptions {
  /** Differs after each start of the process: hosts tell the dispatcher's lives apart by it, and nonces are unique by it. */
  readonly dispatcherId: string;
  readonly bus: Bus;
  readonly publisher: Publisher;
  readonly results: ResultStore;
  readonly attempts: AttemptsLog;
  readonly objects: TaskObjects;
  readonly rotation: KvBucket;
  readonly names: Names;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** The actor host of this process, if it has one: bursts for it need no bus. */
  readonly local?: LocalHost;
  /** Signs what agents that declare providers show the vault; without it they get no keys. */
  readonly signer?: Signer;
  /** What the node counts of its lanes. */
  readonly meters?: LaneMeters;
  /** Runs the chart under supervision. */
  readonly spawn: (effects: DispatcherEffects) => LocalActor<typeof dispatcherMachine>;
}

/** What a dispatcher is doing, for display. */
export interface DispatcherStatus {
  readonly state: string;
  /** Why it pulls nothing; left out unless it is degraded. */
  readonly trouble?: string;
  readonly inHand: number;
  readonly assigned: number;
  readonly openBursts: number;
  /** How many hosts are known, by state. */
  readonly hosts: ReturnType<Monitor["states"]>;
  /** Heartbeats of hosts that were heard. */
  readonly heartbeats: number;
  readonly lanes: readonly LaneStatus[];
}

export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #lanes: Lanes;
  readonly #ledger = new Ledger();
  readonly #bursts: Bursts;
  readonly #monitor: Monitor;
  readonly #requeue: Requeue;
  readonly #inquiries: Inquiries;
  readonly #room: ResultsRoom;
  readonly #leftovers: Leftovers;
  readonly #strays: Strays;
  readonly #cancels: Cancels;
  readonly #desk: Desk;
  readonly #now: Now;
  readonly #evicted = new EvictedLives();
  readonly #timers: Timer[] = [];
  #actor: LocalActor<typeof dispatcherMachine> | undefined;
  #nonces = 0;
  #stopListening: (() => void) | undefined;
  #stopWatching: (() => void) | undefined;
  #subscription: { unsubscribe(): void } | undefined;
  #draining: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;

  constructor(given: DispatcherOptions) {
    // What a grant says of time is judged by the vault's own clock, and that is as near to ours as to the broker's.
    const { clock: own, signer, meters = new LaneMeters() } = given;
    const clock = new BrokerClock(own);
    const options = { ...given, clock };
    this.#options = options;
    const nonce = (): string => this.#nonce();
    this.#room = new ResultsRoom({ ...options, actor: () => this.#actor });
    this.#leftovers = new Leftovers(options);
    this.#inquiries = new Inquiries(options);
    this.#requeue = new Requeue({ ...options, nonce });
    this.#strays = new Strays({
      ...options,
      requeue: this.#requeue,
      mayForget: () => isClustered(options.bus),
      held: () => this.#lanes.held(),
      stillRunning: (lane, ids) => this.#inquiries.stillRunning(this.#monitor.hosts.values(), lane, ids),
    });
    this.#bursts = new Bursts({
      ...options,
      grants: signer && new Grants(signer, own),
      onReceipt: (host, assigned, receipt) => this.#onReceipt(host, assigned, receipt),
      onNobody: (host) => this.#monitor.suspend(host),
    });
    this.#monitor = new Monitor({
      ...options,
      onChange: () => {
        if (this.#draining === undefined) this.#lanes.refresh();
      },
      onEvicted: (host) => this.#onEvicted(host),
      onBeat: (host) => this.#onBeat(host),
    });
    const { bus, publisher, names } = options;
    this.#cancels = new Cancels({
      ...options,
      bucket: new KvBucket(bus, publisher, names.buckets.cancels),
      onCancelled: () => this.#lanes.look(),
    });
    this.#now = new Now({ ...options, nonce, findLane: (lane) => this.#lanes.find(lane) });
    this.#desk = new Desk({
      ...options,
      now: this.#now,
      meters,
      cancels: this.#cancels,
      inquiries: this.#inquiries,
      monitor: this.#monitor,
    });
    this.#lanes = new Lanes({
      ...options,
      nonce,
      meters,
      cancels: this.#cancels,
      now: this.#now,
      verdicts: new Verdicts({ ...options, meters }),
      bursts: this.#bursts,
      ledger: this.#ledger,
      monitor: this.#monitor,
      requeue: this.#requeue,
      strays: this.#strays,
      inquiries: this.#inquiries,
      isEvicted: (host, run) => this.#evicted.has(host, run),
      onActivity: () => this.#reportActivity(),
    });
  }

  /** Subscribes, begins to listen for hosts, and opens the lanes that they offer. */
  async start(): Promise<void> {
    const { bus, publisher, names, dispatcherId, clock, logger, spawn } = this.#options;
    let ready = false;
    this.#actor = spawn({
      isReady: () => ready,
      openLanes: () => this.#lanes.open(),
      closeLanes: () => this.#lanes.close(),
    });
    this.#subscription = await bus.subscribe(names.settled(dispatcherId), ({ data }) => this.#onSettledBytes(data));
    this.#stopListening = bus.onStatus((status) => {
      if (status.type === "disconnected") this.#actor?.send({ type: "TROUBLE", why: "the bus is down" });
      if (status.type !== "reconnected") return;
      if (status.restarted) this.#lanes.brokerRestarted();
      if (status.restarted) this.#leftovers.look();
      this.#actor?.send({ type: "HEALTHY" });
    });
    // Before the first lane is opened: what is paused must not be pulled for a moment either.
    const control = new KvBucket(bus, publisher, names.buckets.control);
    this.#stopWatching = await watchPauses(control, names, (lane, paused) => {
      logger.info({ ...lane }, paused ? "the lane is paused" : "the lane goes on");
      this.#lanes.pause(lane, paused);
    });
    await this.#cancels.start();
    await this.#monitor.start();
    void this.#lanes.callRoll();
    await this.#desk.start();
    this.#timers.push(
      clock.setInterval(() => this.#lanes.keepAlive(), KEEP_ALIVE_MS),
      clock.setInterval(() => void this.#reconcile(), SILENT_MS),
    );
    await this.#room.start();
    this.#leftovers.look();
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
    this.#ledger.settle(host, notice, (assigned) => this.#giveBack([assigned]));
  }

  status(): DispatcherStatus {
    const snapshot = this.#actor?.snapshot();
    return {
      state: String(JSON.stringify(snapshot?.value ?? "stopped")).replaceAll('"', ""),
      ...(snapshot?.matches("degraded") && { trouble: snapshot.context.why }),
      inHand: this.#lanes.inHand,
      assigned: this.#ledger.size,
      openBursts: this.#bursts.open,
      hosts: this.#monitor.states(),
      heartbeats: this.#monitor.beats,
      lanes: this.#lanes.status(),
    };
  }

  async #drain(): Promise<void> {
    this.#actor?.send({ type: "DRAIN" });
    this.#stopListening?.();
    this.#stopWatching?.();
    await Promise.all([this.#desk.stop(), this.#lanes.stop()]);
    // What a receipt refuses comes back to hand, and is to be given back like the rest.
    while (this.#bursts.open > 0 || !this.#requeue.idle || !this.#lanes.settled) {
      await new Promise<void>((resolve) => this.#options.clock.setTimeout(resolve, 5));
    }
    // A NAK that does not leave costs its task the rest of ack_wait.
    if (this.#options.bus.state === "connected") await this.#options.bus.flush();
  }

  async #stop(graceMs: number): Promise<void> {
    const { clock } = this.#options;
    const deadline = clock.monotonic() + graceMs;
    await this.drain();
    // Elements are acknowledged by us, so their ends must be heard; single tasks are their hosts' business.
    while (this.#lanes.openArrays > 0 && clock.monotonic() < deadline) {
      await new Promise<void>((resolve) => clock.setTimeout(resolve, 20));
    }
    await this.#leave();
    for (const timer of this.#timers) clock.clear(timer);
    this.#room.stop();
    this.#leftovers.stop();
    this.#strays.stop();
    this.#cancels.stop();
    this.#monitor.stop();
    this.#subscription?.unsubscribe();
    this.#actor?.send({ type: "STOPPED" });
  }

  /** The host of this process has ended: nobody else may be there to take it out of the rosters. */
  async #leave(): Promise<void> {
    const { bus, clock, local } = this.#options;
    if (local === undefined || bus.state !== "connected") return;
    let timer: Timer | undefined;
    const late = new Promise<void>((resolve) => {
      timer = clock.setTimeout(resolve, LEAVE_MS);
    });
    await Promise.race([this.#lanes.leave(local.hostId), late]);
    clock.clear(timer);
  }

  #nonce(): string {
    return `${this.#options.dispatcherId}.${(this.#nonces++).toString(36)}`;
  }

  #reportActivity(): void {
    const { inHand, saturated } = this.#lanes;
    const state = saturated ? "saturated" : inHand > 0 ? "firing" : "idle";
    if (this.#actor?.snapshot()?.matches({ dealing: state }) === false) {
      this.#actor.send({ type: "ACTIVITY", inHand, saturated });
    }
  }

  #onReceipt(host: HostView, assigned: readonly Assigned[], receipt: Receipt): void {
    host.reportedAt = this.#options.clock.monotonic();
    const refused = receipt.refused.length > 0 ? new Set(receipt.refused) : undefined;
    const mayForget = isClustered(this.#options.bus);
    const back = new Map<Lane, TaskInHand[]>();
    for (const each of assigned) {
      if (!refused?.has(each.n)) {
        each.taken = true;
        if (each.task.now !== undefined) this.#now.accepted(each.task, agentId(host.id, each.agent.number));
        // The message stays in the stream until it is acknowledged, but for a cluster that loses it (strays.ts); an element is needed
        // again if its host vanishes.
        if (!each.task.array && !mayForget) each.task.body = NO_BYTES;
      } else if (this.#ledger.take(host, each.n)) {
        const lane = this.#lanes.of(each);
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

  #onEvicted(host: HostView): void {
    this.#evicted.add(host);
    const assigned = this.#ledger.takeAll(host);
    for (const _ of assigned) failpoint("task.reassigned");
    this.#giveBack(assigned);
  }

  #giveBack(assigned: readonly Assigned[]): void {
    const byLane = new Map<Lane, TaskInHand[]>();
    for (const each of assigned) {
      const lane = this.#lanes.of(each);
      const tasks = byLane.get(lane);
      if (tasks) tasks.push(each.task);
      else byLane.set(lane, [each.task]);
    }
    for (const [lane, tasks] of byLane) this.#requeue.uncertain(lane.name, tasks);
  }

  #onBeat(host: HostView): void {
    const { clock } = this.#options;
    // Receipts and notices are newer than a heartbeat, which comes by another connection: it counts only in their absence.
    if (host.openBursts > 0 || clock.monotonic() - host.reportedAt < SILENT_MS / 2) return;
    for (const agent of host.agents) agent.report(agent.slots - (host.heartbeat.running[agent.number] ?? 0));
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
        if (assigned?.task.array) this.#giveBack([assigned]);
      }
    }
  }
}

const NO_BYTES = new Uint8Array(0);
