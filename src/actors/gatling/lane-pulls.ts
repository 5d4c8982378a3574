/**
 * The pulls of one lane: one consumer for each priority, and the credit shared among them (levels.ts).
 *
 * Owns the pull subscriptions and the timer that looks again where what was asked for does not come.
 */
import type { Bus } from "../../bus/bus.ts";
import { type PulledMessage, PullSubscription, type PullTrouble } from "../../bus/pull.ts";
import type { Clock, Timer } from "../../protocols/clock.ts";
import { type LaneName, type Names, PRIORITIES, type Priority } from "../../protocols/subjects.ts";
import { Levels, RANK, STALE_MS } from "./levels.ts";

export interface LanePullsOptions {
  readonly bus: Bus;
  readonly names: Names;
  readonly lane: LaneName;
  readonly clock: Clock;
  readonly onMessage: (message: PulledMessage, priority: Priority) => void;
  readonly onTrouble: (reason: PullTrouble, detail: string) => void;
  /** The credit is to be looked at again. */
  readonly onStale: () => void;
}

export class LanePulls {
  readonly #options: LanePullsOptions;
  readonly #levels = new Levels();
  readonly #pulls: readonly PullSubscription[];
  readonly #outstanding: number[] = PRIORITIES.map(() => 0);
  #timer: Timer | undefined;
  /** One for each that is expected. */
  readonly #expiring = new Set<Timer>();
  #urgent: PullSubscription | undefined;
  #stopped = false;

  constructor(options: LanePullsOptions) {
    this.#options = options;
    this.#pulls = PRIORITIES.map((priority) => this.#subscribe(priority));
  }

  /** Asks for what is not outstanding yet of `credit` messages. */
  ask(credit: number): void {
    const { clock } = this.#options;
    for (const [rank, pull] of this.#pulls.entries()) this.#outstanding[rank] = pull.outstanding;
    const shares = this.#levels.share(credit, this.#outstanding, clock.monotonic());
    if (shares === undefined) return;
    for (const [rank, { want, restart }] of shares.entries()) {
      const pull = this.#pulls[rank] as PullSubscription;
      if (restart) pull.restart(want);
      else if (want > (this.#outstanding[rank] as number)) pull.want(want);
    }
    // Another dispatcher may have taken what was asked for: nothing would come, and nothing else would wake us.
    if (this.#levels.mixed) this.#timer ??= clock.setTimeout(() => this.#lookAgain(), STALE_MS);
  }

  /**
   * Asks for a task of high priority beyond the credit, which comes within `forMs`: it is answered, if only by a refusal, however
   * busy the agents are.
   */
  expect(forMs: number): void {
    if (this.#stopped) return;
    // Its own pulls: those of the priorities are shared out by credit.
    this.#urgent ??= this.#subscribe("high");
    const pull = this.#urgent;
    const timer = this.#options.clock.setTimeout(() => {
      this.#expiring.delete(timer);
      if (this.#expiring.size === 0) pull.restart(0);
    }, forMs);
    this.#expiring.add(timer);
    if (pull.outstanding < this.#expiring.size) pull.want(this.#expiring.size);
  }

  /** What was expected lately. */
  get expected(): number {
    return this.#expiring.size;
  }

  /** Asks for nothing more; what is outstanding may still come. */
  close(): void {
    for (const pull of this.#pulls) pull.want(0);
    this.#urgent?.want(0);
  }

  /** Gives up what is outstanding too; what is on its way still comes. */
  halt(): void {
    for (const pull of this.#pulls) pull.restart(0);
    this.#urgent?.restart(0);
  }

  /** Once it resolves no message comes any more. Idempotent. */
  async stop(): Promise<void> {
    this.#options.clock.clear(this.#timer);
    for (const timer of this.#expiring) this.#options.clock.clear(timer);
    this.#expiring.clear();
    this.#stopped = true;
    await Promise.all([...this.#pulls, ...(this.#urgent ? [this.#urgent] : [])].map((pull) => pull.stop()));
  }

  #subscribe(priority: Priority): PullSubscription {
    const { bus, names, lane, clock, onMessage, onTrouble } = this.#options;
    const rank = RANK[priority];
    const pull = new PullSubscription(bus, names.streams.tasks, names.consumer(lane, priority), {
      onMessage: (message) => {
        this.#levels.delivered(rank, message.pending, clock.monotonic());
        onMessage(message, priority);
      },
      onTrouble: (reason, detail) => {
        onTrouble(reason, detail);
        pull.resume();
      },
    });
    return pull;
  }

  #lookAgain(): void {
    this.#timer = undefined;
    this.#options.onStale();
  }
}
