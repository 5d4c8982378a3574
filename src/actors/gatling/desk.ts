/**
 * Where a dispatcher takes what clients ask: cancel, status and now. The dispatchers are one queue group: one of them answers.
 *
 * 1. About single tasks nothing is answered before every living host must have been heard: one could run where nobody asked.
 * 2. While draining nothing more is taken; what was taken is answered.
 */
import type { Bus, BusMessage, Subscription } from "../../bus/bus.ts";
import type { Clock, Timer } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import { DISPATCHERS } from "../../protocols/subjects.ts";
import { Canceller, type CancellerOptions, readCancelRequest } from "./canceller.ts";
import type { Monitor } from "./monitor.ts";
import type { Now } from "./now.ts";
import { Rounds } from "./rounds.ts";
import { TaskFinder } from "./task-finder.ts";
import { Whereabouts } from "./whereabouts.ts";

/** Longest wait for the hosts to be known, ms; after a start or a reconnect they are within three seconds. */
const SETTLE_MS = 5_000;
const SETTLE_LOOK_MS = 50;
/** Longest wait at the end for what was taken, ms: what the results stream does not take would hold up the stop for ever. */
const ANSWER_MS = 2_000;

export interface DeskOptions extends Omit<CancellerOptions, "finder" | "hosts"> {
  readonly monitor: Monitor;
  readonly now: Now;
}

export class Desk {
  readonly #bus: Bus;
  readonly #options: DeskOptions;
  readonly #subscriptions: Subscription[] = [];
  readonly #cancels: Rounds<ReturnType<typeof readCancelRequest>>;
  readonly #status: Rounds<unknown>;

  constructor(options: DeskOptions) {
    this.#options = options;
    this.#bus = options.bus;
    const { bus, names, monitor, clock } = options;
    const parts = { ...options, finder: new TaskFinder(bus, names), hosts: () => monitor.hosts.values() };
    const canceller = new Canceller(parts);
    const whereabouts = new Whereabouts(parts);
    this.#cancels = new Rounds({
      ...options,
      read: readCancelRequest,
      round: async (pool, asked) => {
        await settled(monitor, clock);
        await canceller.round(pool, asked);
      },
    });
    this.#status = new Rounds({
      ...options,
      // Whatever is said, it is where the task is that is asked.
      read: (body) => body,
      round: async (pool, asked) => {
        await settled(monitor, clock);
        await whereabouts.round(pool, asked);
      },
    });
  }

  async start(): Promise<void> {
    const { names, now } = this.#options;
    const take = async (subject: string, taker: { take(message: BusMessage): void }): Promise<void> => {
      const options = { queue: DISPATCHERS };
      this.#subscriptions.push(await this.#bus.subscribe(subject, (message) => taker.take(message), options));
    };
    await take(names.cancel("*", "*"), this.#cancels);
    await take(names.status("*", "*"), this.#status);
    await take(names.now("*", "*"), now);
  }

  /** Idempotent. */
  async stop(): Promise<void> {
    await Promise.all(this.#subscriptions.splice(0).map((subscription) => subscription.drain()));
    const answered = Promise.all([this.#cancels.idle(), this.#status.idle()]);
    let timer: Timer | undefined;
    const { clock } = this.#options;
    const late = new Promise<void>((resolve) => {
      timer = clock.setTimeout(resolve, ANSWER_MS);
    });
    await Promise.race([answered, late]);
    clock.clear(timer);
  }
}

async function settled(monitor: Monitor, clock: Clock): Promise<void> {
  const deadline = clock.monotonic() + SETTLE_MS;
  while (!monitor.settled) {
    if (clock.monotonic() > deadline)
      throw new VgasError("TIMEOUT", "the dispatcher does not know all hosts yet; try again");
    await new Promise<void>((resolve) => clock.setTimeout(resolve, SETTLE_LOOK_MS));
  }
}
