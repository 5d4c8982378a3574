/**
 * Shows guests the results of their tasks as they come.
 *
 * Owns the list of guests, and a subscription to all results as long as there are guests: without any it would be work for
 * nothing.
 *
 * Invariants
 * 1. A result is shown to the guest that its id names, and to nobody else.
 * 2. The list is read by one reading at a time; a change that is told during one makes another follow.
 * 3. A list that cannot be read changes nothing: the last one stands.
 */
import type { Bus, BusMessage, Subscription } from "../../bus/bus.ts";
import type { Clock, Timer } from "../../protocols/clock.ts";
import { guestOfId } from "../../protocols/guests.ts";
import type { Logger } from "../../protocols/logger.ts";
import type { Names } from "../../protocols/subjects.ts";

export interface LiveResultsOptions {
  readonly bus: Bus;
  readonly names: Names;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Names of the guests that there are. */
  readonly guests: () => Promise<Iterable<string>>;
  /** A result with an id of that guest's was heard. Must not throw. */
  readonly onResult: (guest: string, lane: { readonly pool: string; readonly id: string }) => void;
  /** The list was read. Must not throw. */
  readonly onGuests: (guests: ReadonlySet<string>) => void;
}

/** A guest that has not submitted anything since it came sees results of its tasks after this at the latest. */
const LOOK_MS = 30_000;

export class LiveResults {
  readonly #options: LiveResultsOptions;
  #guests: ReadonlySet<string> = new Set();
  #subscription: Subscription | undefined;
  #timer: Timer | undefined;
  #looking: Promise<void> | undefined;
  #changed = false;
  #failing = false;
  #stopped = false;
  #shown = 0;

  constructor(options: LiveResultsOptions) {
    this.#options = options;
  }

  /** Results that were shown. */
  get shown(): number {
    return this.#shown;
  }

  /** Resolves when the guests of now see their results. Never rejects. */
  async start(): Promise<void> {
    if (this.#stopped) return;
    this.#timer = this.#options.clock.setInterval(() => void this.look(), LOOK_MS);
    await this.look();
  }

  /** Reads the list anew; resolves when what it held at the call counts. Never rejects. */
  look(): Promise<void> {
    this.#changed = true;
    this.#looking ??= this.#lookUntilUnchanged();
    return this.#looking;
  }

  /** `guest` was heard of, so it exists: the list is read anew if it is not in it. */
  know(guest: string): void {
    if (!this.#guests.has(guest) && this.#looking === undefined) void this.look();
  }

  /** Idempotent. */
  stop(): void {
    this.#stopped = true;
    this.#options.clock.clear(this.#timer);
    this.#subscription?.unsubscribe();
    this.#subscription = undefined;
  }

  async #lookUntilUnchanged(): Promise<void> {
    // Not before the promise of this reading is known: a reading that ends at once would be kept for ever.
    await Promise.resolve();
    try {
      while (this.#changed && !this.#stopped) {
        this.#changed = false;
        await this.#readGuests();
      }
    } finally {
      this.#looking = undefined;
    }
  }

  async #readGuests(): Promise<void> {
    const { bus, names, guests, logger, onGuests } = this.#options;
    try {
      this.#guests = new Set(await guests());
      if (this.#stopped) return;
      onGuests(this.#guests);
      if (this.#guests.size === 0) {
        this.#subscription?.unsubscribe();
        this.#subscription = undefined;
      } else if (this.#subscription === undefined || this.#subscription.closed) {
        const subscription = await bus.subscribe(names.result("*", "*"), (message) => this.#show(message));
        if (this.#stopped) subscription.unsubscribe();
        else this.#subscription = subscription;
      }
      this.#failing = false;
    } catch (error) {
      if (!this.#failing && !this.#stopped)
        logger.warn({ error: String(error) }, "the list of guests could not be followed; tries again");
      this.#failing = true;
    }
  }

  #show({ subject, data }: BusMessage): void {
    const { bus, names, onResult } = this.#options;
    const parsed = names.parse(subject);
    if (parsed === undefined) return;
    const guest = guestOfId(parsed.kind);
    if (guest === undefined) return;
    onResult(guest, { pool: parsed.pool, id: parsed.kind });
    if (!this.#guests.has(guest)) return;
    bus.publish(names.guest(guest, "results", parsed.pool, parsed.kind), data);
    this.#shown++;
  }
}
