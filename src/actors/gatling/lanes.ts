/**
 * The lanes of one dispatcher.
 *
 * 1. A lane exists from the moment a host offers it; a kind that nobody offers waits in the stream without a consumer.
 * 2. A roster of a kind that nobody offers any more is taken over once, so that it is emptied.
 */
import { readRotations } from "../../bus/rotations.ts";
import { ensureLaneConsumers } from "../../bus/topology.ts";
import type { LaneMeters } from "../../metrics/lane-meters.ts";
import type { LaneName } from "../../protocols/subjects.ts";
import type { DispatcherOptions } from "./dispatcher.ts";
import type { Inquiries } from "./inquiries.ts";
import { Lane, type LaneOptions } from "./lane.ts";
import type { Assigned } from "./ledger.ts";
import type { Monitor } from "./monitor.ts";
import type { Requeue } from "./requeue.ts";
import { lanesOf, limitsOf, wantedRanges } from "./rosters.ts";
import { runningOfLeaving, sharedRanges } from "./shares.ts";
import type { Known, Strays } from "./strays.ts";
import type { TaskInHand } from "./task-in-hand.ts";

/** Pause between two looks whether everybody was heard, ms. */
const HEARD_LOOK_MS = 50;

export interface LanesOptions
  extends Omit<DispatcherOptions, "spawn" | "local" | "signer" | "publisher" | "meters">,
    Pick<LaneOptions, "verdicts" | "bursts" | "ledger" | "nonce" | "onActivity" | "cancels" | "now"> {
  readonly monitor: Monitor;
  readonly meters: LaneMeters;
  readonly requeue: Requeue;
  readonly inquiries: Inquiries;
  readonly strays: Pick<Strays, "remember">;
  /** That incarnation of a host was evicted by this dispatcher. */
  readonly isEvicted: (host: string, run: string) => boolean;
}

/** One lane, for display. */
export interface LaneStatus extends LaneName {
  readonly index: number;
  readonly swaps: number;
  readonly conflicts: number;
  readonly inHand: number;
}

export class Lanes {
  readonly #options: LanesOptions;
  readonly #lanes = new Map<string, Lane>();
  /** Names of lanes, whether or not they exist. */
  readonly #paused = new Set<string>();
  #pulling = false;
  #adopted = false;
  #adoptionFailed = false;

  constructor(options: LanesOptions) {
    this.#options = options;
  }

  /** Tasks pulled and not handed over. */
  get inHand(): number {
    let sum = 0;
    for (const lane of this.#lanes.values()) sum += lane.inHand;
    return sum;
  }

  /** Some lane has tasks and no slot for them. */
  get saturated(): boolean {
    for (const lane of this.#lanes.values()) if (lane.saturated) return true;
    return false;
  }

  /** Nothing is on its way to a hand or out of it. */
  get settled(): boolean {
    return [...this.#lanes.values()].every((lane) => lane.settled);
  }

  /** Arrays of which an element is not settled. */
  get openArrays(): number {
    return [...this.#lanes.values()].reduce((sum, lane) => sum + lane.openArrays, 0);
  }

  find(name: LaneName): Lane | undefined {
    return this.#lanes.get(this.#options.names.consumer(name));
  }

  /** The lane that an assignment came from. */
  of({ task, agent }: Assigned): Lane {
    const lane = this.#lanes.get(task.lane);
    if (!lane) throw new Error(`no lane ${task.lane} for agent ${agent.number}`);
    return lane;
  }

  status(): readonly LaneStatus[] {
    return [...this.#lanes.values()].map(({ name, rotation, inHand }) => ({
      ...name,
      index: rotation.index,
      swaps: rotation.swaps,
      conflicts: rotation.conflicts,
      inHand,
    }));
  }

  open(): void {
    this.#pulling = true;
    for (const lane of this.#lanes.values()) lane.open();
  }

  close(): void {
    this.#pulling = false;
    for (const lane of this.#lanes.values()) lane.close();
  }

  /** Pulls no more and gives back what is in hand. Idempotent. */
  async stop(): Promise<void> {
    await Promise.all([...this.#lanes.values()].map((lane) => lane.stop()));
  }

  /** Takes `host` out of the rosters, once everything is stopped and settled. */
  async leave(host: string): Promise<void> {
    await Promise.all([...this.#lanes.values()].map((lane) => lane.leave(host)));
  }

  pause(name: LaneName, paused: boolean): void {
    const key = this.#options.names.consumer(name);
    if (paused) this.#paused.add(key);
    else this.#paused.delete(key);
    this.#lanes.get(key)?.pause(paused);
  }

  isPaused(name: LaneName): boolean {
    return this.#paused.has(this.#options.names.consumer(name));
  }

  brokerRestarted(): void {
    this.#options.strays.remember(this.#known());
    for (const lane of this.#lanes.values()) lane.brokerRestarted();
  }

  /** Ids of the tasks that are in a hand, or that a host was given. */
  held(): ReadonlySet<string> {
    const ids = new Set<string>();
    for (const { task } of this.#known()) ids.add(task.id);
    return ids;
  }

  /** Asks whoever a roster names to be heard at once: lanes are opened when somebody who offers them is. */
  async callRoll(): Promise<void> {
    const { bus, names, monitor, logger } = this.#options;
    try {
      const { lanes } = await readRotations(bus, names);
      for (const { ranges } of lanes) monitor.knows(ranges);
    } catch (error) {
      // They are heard within a second all the same, and a lane asks for those of its roster.
      logger.debug({ error: String(error) }, "the rosters could not be read at the start");
    }
  }

  /** Something was cancelled. */
  look(): void {
    for (const lane of this.#lanes.values()) lane.look();
  }

  /** A host came, went or changed. */
  refresh(): void {
    for (const host of this.#options.monitor.hosts.values()) {
      for (const name of lanesOf(host)) this.#ensure(name);
    }
    for (const lane of this.#lanes.values()) lane.refreshRoster();
  }

  /** Called more often than `ack_wait`. */
  keepAlive(): void {
    for (const lane of this.#lanes.values()) lane.keepAlive();
    if (!this.#options.monitor.settled) return;
    for (const lane of this.#lanes.values()) lane.checkRoster();
    void this.#adoptRosters();
  }

  #ensure(name: LaneName): void {
    const { bus, names, rotation, monitor, meters, isEvicted, requeue, strays, inquiries, now } = this.#options;
    const key = names.consumer(name);
    if (this.#lanes.has(key)) return;
    const { hosts } = monitor;
    const lane = new Lane({
      ...this.#options,
      bucket: rotation,
      lane: name,
      meter: meters.of(name),
      findHost: (host, run) => {
        const known = hosts.get(host);
        return known?.run === run ? known : undefined;
      },
      knowsHosts: (ranges) => monitor.knows(ranges),
      wantedRoster: (current) => {
        const gone = (host: string, run: string): boolean => monitor.settled || isEvicted(host, run);
        const wanted = wantedRanges(name, current, hosts, gone);
        const { concurrency } = limitsOf(name, hosts.values());
        return concurrency === undefined
          ? wanted
          : sharedRanges(wanted, current, concurrency, runningOfLeaving(name, hosts.values()));
      },
      rateLimit: () => limitsOf(name, hosts.values()).rate,
      ensureConsumers: () => ensureLaneConsumers(bus, names, name),
      giveBack: (of, tasks) => requeue.unstarted(of, now.sift(of.kind, tasks, true)),
      disown: (of, tasks) => {
        requeue.forgotten(of, tasks);
        strays.remember(tasks.map((task) => unstarted(of, task)));
      },
      onLeaderLost: () => strays.remember(this.#known()),
      stillRunning: async (of, ids) =>
        (await this.#heard(lane)) ? await inquiries.stillRunning(hosts.values(), of, ids) : undefined,
    });
    this.#lanes.set(key, lane);
    lane.pause(this.#paused.has(key));
    if (this.#pulling) lane.open();
  }

  /**
   * Waits until everybody in the lane's roster was heard or had time enough to be: where nobody listens somebody may be cut off, and run
   * what comes a second time. False if nothing is pulled any more.
   */
  async #heard({ rotation }: Lane): Promise<boolean> {
    const { monitor, clock } = this.#options;
    while (!monitor.heard(rotation.ranges)) {
      if (!this.#pulling) return false;
      await new Promise<void>((resolve) => clock.setTimeout(resolve, HEARD_LOOK_MS));
    }
    return true;
  }

  /** What is in the hands, and with hosts. */
  *#known(): Iterable<Known> {
    for (const lane of this.#lanes.values()) for (const task of lane.tasksInHand) yield unstarted(lane.name, task);
    for (const assigned of this.#options.ledger.all())
      yield { lane: this.of(assigned).name, task: assigned.task, attempts: assigned.task.attempt };
  }

  /** Takes over rosters of kinds that nobody offers any more, so that they are emptied: once, when all hosts must be known. */
  async #adoptRosters(): Promise<void> {
    if (this.#adopted) return;
    this.#adopted = true;
    const { bus, names, rotation, logger } = this.#options;
    try {
      const { lanes, warnings } = await readRotations(bus, names);
      for (const warning of warnings) logger.warn({ bucket: rotation.name }, warning);
      for (const { pool, kind, ranges } of lanes) if (ranges.length > 0) this.#ensure({ pool, kind });
    } catch (error) {
      this.#adopted = false;
      // Told once: tried again at each keep-alive.
      logger[this.#adoptionFailed ? "debug" : "warn"](
        { error: String(error) },
        "the rosters could not be read, trying again",
      );
      this.#adoptionFailed = true;
    }
  }
}

function unstarted(lane: LaneName, task: TaskInHand): Known {
  return { lane, task, attempts: task.attempt - 1 };
}
