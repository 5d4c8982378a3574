/**
 * One lane of one dispatcher: pulls what its agents can run, draws tickets for it, hands it over.
 *
 * Owns: the pulls, the hand (hand.ts), the rotation, the seats.
 *
 * 1. At most one write to the rotation is under way (pump.ts). What arrives meanwhile joins the next batch.
 * 2. Credit: messages asked of the broker are never more than the free slots of the lane's agents, less what is in hand,
 *    but for one message more of each priority that is not known to wait (levels.ts).
 * 3. A task is handed over only after the swap that drew its ticket is stored.
 * 4. Whatever leaves the hand is in the ledger, settled, or back in the stream.
 */
import type { Bus } from "../../bus/bus.ts";
import type { KvBucket } from "../../bus/kv.ts";
import type { PulledMessage, PullTrouble } from "../../bus/pull.ts";
import { failpoint } from "../../failpoints/failpoints.ts";
import type { LaneMeter } from "../../metrics/lane-meters.ts";
import type { Clock, Random } from "../../protocols/clock.ts";
import type { Logger } from "../../protocols/logger.ts";
import type { RateLimit } from "../../protocols/rate.ts";
import type { RosterRange } from "../../protocols/rotation.ts";
import type { LaneName, Names, Priority } from "../../protocols/subjects.ts";
import type { Bursts } from "./bursts.ts";
import type { Cancels } from "./cancels.ts";
import { type Dealt, dealtBy, NOTHING_DEALT } from "./dealt.ts";
import { type Draw, draw } from "./draw.ts";
import { dropExpired } from "./expiry.ts";
import { type HostView, RosterSeats } from "./fleet.ts";
import { Hand, type HandOptions } from "./hand.ts";
import { Intake } from "./intake.ts";
import { LanePulls } from "./lane-pulls.ts";
import type { Assigned, Ledger } from "./ledger.ts";
import type { Now } from "./now.ts";
import { Pace } from "./pace.ts";
import { Past, type PastOptions } from "./past.ts";
import { Pump } from "./pump.ts";
import { RosterUpkeep, type RosterUpkeepOptions } from "./roster-upkeep.ts";
import { Rotation } from "./rotation.ts";
import { pauseAfterLostSwap } from "./swap-pause.ts";
import type { TaskInHand } from "./task-in-hand.ts";

/** Most tasks in one swap: what one burst of 200-byte tasks carries, several times over. */
const MAX_BATCH = 4_096;

export interface LaneOptions
  extends Pick<PastOptions, "verdicts" | "results" | "attempts" | "stillRunning">,
    Pick<HandOptions, "giveBack" | "disown">,
    Pick<RosterUpkeepOptions, "wantedRoster"> {
  readonly lane: LaneName;
  readonly meter: LaneMeter;
  readonly cancels: Cancels;
  readonly now: Now;
  readonly bus: Bus;
  readonly bucket: KvBucket;
  readonly names: Names;
  readonly dispatcherId: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly nonce: () => string;
  readonly bursts: Bursts;
  readonly ledger: Ledger;
  readonly findHost: (host: string, run: string) => HostView | undefined;
  /** Every host of the roster was heard, is known not to be there, or had time enough: until then its turns would be skipped for nothing. */
  readonly knowsHosts: (ranges: readonly RosterRange[]) => boolean;
  /** Most tasks that may begin in some time, over the whole swarm. */
  readonly rateLimit: () => RateLimit | undefined;
  /** Makes the lane's durable consumers. */
  readonly ensureConsumers: () => Promise<void>;
  /** The lane began or stopped to have work it can, or cannot, hand over. */
  readonly onActivity: () => void;
  /** Another server may lead its consumer. */
  readonly onLeaderLost: () => void;
}

export class Lane {
  readonly name: LaneName;
  readonly rotation: Rotation;
  readonly #options: LaneOptions;
  readonly #intake: Intake;
  readonly #pulls: LanePulls;
  readonly #pace: Pace;
  readonly #hand: Hand;
  readonly #pump: Pump;
  readonly #upkeep: RosterUpkeep;
  #seats: RosterSeats;
  #open = false;
  #stopped = false;
  #paused = false;
  #loaded = false;
  #inTrouble = false;
  #consumersMade = false;
  #forgottenBelow: Dealt = NOTHING_DEALT;
  /** Moving average of tasks in a message, so that credit counts tasks while pulls count messages. */
  #tasksPerMessage = 1;

  constructor(options: LaneOptions) {
    this.#options = options;
    this.name = options.lane;
    const { bucket, names, lane, dispatcherId, nonce, logger } = options;
    this.#pump = new Pump({
      clock: options.clock,
      wanted: () => this.#open || this.#hand.size > 0,
      round: () => this.#step(),
      onFailure: (error) => logger.warn({ ...lane, error }, "the rotation could not be advanced, trying again"),
      onRest: options.onActivity,
    });
    const pause = (): Promise<void> => this.#pauseAfterLostSwap();
    this.rotation = new Rotation({ bucket, names, lane, by: dispatcherId, nonce, logger, pause });
    this.#upkeep = new RosterUpkeep({ ...options, rotation: this.rotation });
    this.#hand = new Hand({ ...options, keeps: () => !this.#stopped && !this.#paused });
    this.#pace = new Pace(options.clock, () => this.#pump.wake());
    this.#seats = new RosterSeats([], options.findHost, () => this.#pump.wake());
    this.#intake = new Intake({
      ...options,
      forgottenBelow: (priority) => this.#forgottenBelow[priority],
      past: new Past(options),
      generation: () => this.#hand.generation,
      accept: (tasks) => {
        this.#hand.add(tasks);
        this.#pump.wake();
      },
      onArray: (array) => this.#hand.addArray(array),
      onArraySettled: (array) => {
        this.#hand.removeArray(array);
        options.verdicts.settle({ ack: array.ack, array: undefined });
      },
      onArrayAbandoned: (array) => this.#hand.removeArray(array),
    });
    this.#pulls = new LanePulls({
      ...options,
      onMessage: (message, priority) => this.#take(message, priority),
      onTrouble: (reason, detail) => this.#onTrouble(reason, detail),
      onStale: () => this.#pump.wake(),
    });
  }

  /** Tasks pulled and not handed over. */
  get inHand(): number {
    return this.#hand.size + this.#intake.lookups;
  }

  /** Tasks that were pulled and not handed over, but for those that are looked up. */
  get tasksInHand(): readonly TaskInHand[] {
    return this.#hand.tasks;
  }

  /** Nothing is on its way to the hand or out of it. */
  get settled(): boolean {
    return !this.#pump.running && this.inHand === 0;
  }

  /** Arrays of which an element is not settled. */
  get openArrays(): number {
    return this.#hand.openArrays;
  }

  /** True if there is something to hand over and no slot for it. */
  get saturated(): boolean {
    return this.#hand.size > 0 && this.#seats.freeSlots === 0;
  }

  /** An agent has a free slot that nothing in hand is for. */
  get hasRoom(): boolean {
    return this.#open && this.#loaded && !this.#paused && this.#seats.freeSlots > this.inHand;
  }

  /** Tasks of high priority that are to come (`expect`). */
  get expected(): number {
    return this.#pulls.expected;
  }

  /** A task of high priority is to come within `forMs`, and to be looked at even if every slot is taken by then. */
  expect(forMs: number): void {
    if (this.#open && !this.#paused) this.#pulls.expect(forMs);
  }

  /** Begins, or begins again, to pull. What the broker may have forgotten since is judged by the record as it is now. */
  open(): void {
    this.#open = true;
    this.#loaded = false;
    this.#pump.wake();
  }

  /** Stops pulling; what is in hand stays. */
  close(): void {
    this.#open = false;
    // Nothing may be asked for again before the record says what was handed out.
    this.#pulls.close();
  }

  /** Paused, it pulls nothing and gives back what is in hand; what was handed over goes on. */
  pause(paused: boolean): void {
    if (paused === this.#paused) return;
    this.#paused = paused;
    if (paused) {
      this.#pulls.halt();
      this.#hand.giveBack();
    }
    this.#pump.wake();
  }

  /** The broker started anew and may have forgotten that it delivered what is in hand: it may come a second time. */
  brokerRestarted(): void {
    this.#hand.brokerRestarted();
  }

  /** A host came, went or changed. */
  refreshRoster(): void {
    this.#pace.limit = this.#options.rateLimit();
    this.#upkeep.look();
    this.#seats.dispose();
    this.#seats = this.#seat();
    this.#pump.wake();
  }

  /** Compares the roster in force with the wanted one: hosts may have gone that nobody alive has seen. */
  checkRoster(): void {
    this.#upkeep.look();
    this.#pump.wake();
  }

  /** Looks through the hand again: something in it may have been cancelled. */
  look(): void {
    if (this.#hand.size > 0) this.#pump.wake();
  }

  /** Puts refused tasks back at the head of the hand. */
  takeBack(tasks: readonly TaskInHand[]): void {
    this.#hand.putBack(tasks);
    this.#pump.wake();
  }

  /** Pulls no more, and gives back what is in hand and whatever comes to hand afterwards. Idempotent. */
  async stop(): Promise<void> {
    this.#open = false;
    this.#stopped = true;
    this.#pace.stop();
    this.#hand.giveBack();
    await this.#pulls.stop();
  }

  /** Takes `host` out of the roster. Once it is stopped and settled: then no round writes. */
  async leave(host: string): Promise<void> {
    if (this.#loaded && this.#stopped && this.settled) await this.#upkeep.takeOut(host);
  }

  /** Tells the broker that what is in hand is still wanted. Called more often than `ack_wait`. */
  keepAlive(): void {
    this.#intake.keepAlive();
    this.#hand.keepAlive();
  }

  #take(message: PulledMessage, priority: Priority): void {
    const tasks = this.#intake.take(message, priority);
    this.#tasksPerMessage += (Math.max(1, tasks) - this.#tasksPerMessage) / 8;
    // What turned out to be no task, or is only looked up, leaves its credit.
    this.#pump.wake();
  }

  /** One round: the roster if it is to change, then one batch, then the credit that is left. */
  async #step(): Promise<void> {
    if (!this.#loaded) await this.#load();
    this.#reseat();
    if (this.#upkeep.due) await this.#maintainRoster();
    if (!this.#options.knowsHosts(this.rotation.ranges)) return;
    const at = this.#options.clock.now();
    this.#siftNow(at);
    this.#hand.sift((tasks) => dropExpired(tasks, this.name, this.#options.verdicts, at));
    this.#hand.sift((tasks) => this.#options.cancels.drop(this.name, tasks, this.#options.verdicts));
    if (this.#hand.size > 0 && this.#seats.freeSlots > 0) await this.#fire();
    this.#siftNow(this.#options.clock.now());
    this.#askForMore();
  }

  async #load(): Promise<void> {
    if (!this.#consumersMade) await this.#options.ensureConsumers();
    this.#consumersMade = true;
    if (this.#inTrouble) failpoint("consumer.remade");
    this.#inTrouble = false;
    if (await this.rotation.load()) this.#forgottenBelow = this.rotation.dealt;
    this.#loaded = true;
    this.#reseat();
  }

  async #maintainRoster(): Promise<void> {
    await this.#upkeep.maintain();
    if (this.#upkeep.due) this.#pump.wake();
    this.#reseat();
  }

  async #fire(): Promise<void> {
    const { rotation } = this;
    const seats = this.#seats;
    const most = this.#pace.allowed(rotation.rate);
    if (most === 0) return;
    const drawn = draw(rotation.index, rotation.base, seats, Math.min(this.#hand.size, most, MAX_BATCH));
    const rate = this.#pace.after(rotation.rate, drawn.places.length);
    const tasks = this.#hand.takeForSwap(drawn.places.length);
    const unassign = (): void => {
      for (const place of drawn.places) seats.agent(place).unassign();
    };
    const { generation } = this.#hand;
    let won = false;
    try {
      won = (await rotation.advance(drawn.drawn, dealtBy(tasks), rate)) === "won";
    } finally {
      this.#hand.swapped();
      if (!won) {
        unassign();
        this.takeBack(tasks);
      }
    }
    if (won) failpoint("swap.after");
    if (won) this.#options.meter.tickets += drawn.drawn;
    if (won) this.#options.meter.skipped += drawn.drawn - tasks.length;
    if (won && generation === this.#hand.generation) this.#handOver(drawn, tasks, seats);
    else if (won) {
      unassign();
      this.takeBack(tasks);
    }
    if (rotation.ranges !== seats.ranges) this.#reseat();
    if (!won) await this.#pauseAfterLostSwap();
    if (this.#hand.size > 0 && this.#seats.freeSlots > 0) this.#pump.wake();
  }

  #handOver(drawn: Draw, tasks: readonly TaskInHand[], seats: RosterSeats): void {
    const { bursts, ledger, clock } = this.#options;
    const givenAt = clock.monotonic();
    const byHost = new Map<HostView, Assigned[]>();
    const stranded: TaskInHand[] = [];
    for (let i = 0; i < tasks.length; i++) {
      const task = tasks[i] as TaskInHand;
      const agent = seats.agent(drawn.places[i] as number);
      // Evicted while the swap was under way: the turn is skipped.
      if (!agent.host.usable) {
        agent.unassign();
        stranded.push(task);
        continue;
      }
      const assigned = ledger.add(task, agent, drawn.tickets[i] as number, givenAt);
      const ofHost = byHost.get(agent.host);
      if (ofHost) ofHost.push(assigned);
      else byHost.set(agent.host, [assigned]);
    }
    if (stranded.length > 0) this.takeBack(stranded);
    for (const [host, assigned] of byHost) bursts.send(this.name, drawn.base, host, assigned, seats.caps);
  }

  async #pauseAfterLostSwap(): Promise<void> {
    const { clock, random } = this.#options;
    this.#pump.wake();
    await pauseAfterLostSwap(this.rotation.lostInRow, clock, random);
  }

  /** What was to be taken at once, and cannot be, is refused. */
  #siftNow(at: number): void {
    if (!this.#hand.mixed) return;
    const full = this.#seats.freeSlots === 0 || this.#pace.allowed(this.rotation.rate) === 0;
    this.#hand.sift((tasks) => this.#options.now.sift(this.name.kind, tasks, full, at));
  }

  #askForMore(): void {
    if (!this.#open || !this.#loaded || this.#paused) return;
    // What the rate does not let begin soon is better kept where others can take it.
    const slots = Math.min(this.#seats.freeSlots, this.#pace.most);
    const free = slots - this.inHand;
    this.#pulls.ask(Math.ceil(free / this.#tasksPerMessage));
  }

  #reseat(): void {
    if (this.rotation.ranges === this.#seats.ranges) return;
    this.#seats.dispose();
    this.#seats = this.#seat();
  }

  #seat(): RosterSeats {
    return new RosterSeats(this.rotation.ranges, this.#options.findHost, () => this.#pump.wake());
  }

  #onTrouble(reason: PullTrouble, detail: string): void {
    const { bus, logger } = this.#options;
    // Each priority has one, and a lost connection is told by the bus.
    const level = this.#inTrouble || bus.state !== "connected" ? "debug" : "warn";
    logger[level]({ ...this.name, reason, detail }, "the lane's consumer is in trouble, it is looked at again");
    if (reason === "consumer-gone") this.#consumersMade = false;
    this.#loaded = false;
    this.#inTrouble = true;
    // Another server of a cluster may lead it now, and may have forgotten deliveries: the record tells, before more comes.
    this.#pulls.close();
    this.#options.onLeaderLost();
    this.#pump.wake();
  }
}
