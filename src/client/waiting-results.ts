/**
 * The results that a client waits for.
 *
 * Owns one subscription for all answers to `replyTo`, what listens for each result that is waited for without one, and a
 * timer for look-ups.
 *
 * Invariants
 * 1. An answer is found by the token of its `replyTo`, never by its id: it can overtake the acknowledgement that tells the id. The token is a
 *    number for a single task, `<number>-<place>` for one of many.
 * 2. An answer is sent once and may be lost; the result is stored. So whatever somebody waits for is looked up as well:
 *    after a reconnect at once, else after a while with growing pauses.
 * 3. What passes by on a result's subject only says that there is something to look up: subscribers get it before the
 *    server stores or refuses it, and only the stored one is the result (P2).
 * 4. What is settled, forgotten or failed holds no entry, no subscription and no timer. Many that nobody has a handle of hold nothing either.
 */
import type { Bus, BusMessage, Subscription } from "../bus/bus.ts";
import { decodeMirrored } from "../bus/codec/task.ts";
import { lastBySubjects } from "../bus/stored.ts";
import { type Clock, systemClock, type Timer } from "../protocols/clock.ts";
import { VgasError } from "../protocols/errors.ts";
import type { Logger } from "../protocols/logger.ts";
import type { TaskResult } from "../protocols/result.ts";
import type { Names } from "../protocols/subjects.ts";
import { ManyResults } from "./many-results.ts";
import { PendingResult } from "./pending-result.ts";

export interface WaitingResultsOptions {
  readonly bus: Bus;
  readonly names: Names;
  readonly logger: Logger;
  readonly clock?: Clock;
  /** Reads the newest message of each of these subjects that has one. Default: many in one request. */
  readonly read?: ReadStored;
  /** Default: a subscription for each result. */
  readonly announcements?: Announcements;
}

/** Calls `onResult` when a result of that task passes by on its subject. */
export interface Announcements {
  listen(pool: string, id: string, onResult: () => void): { unsubscribe(): void };
}

/** As `lastBySubjects` of src/bus/stored.ts. */
export type ReadStored = (
  bus: Bus,
  stream: string,
  subjects: readonly string[],
) => Promise<ReadonlyMap<string, { readonly data: Uint8Array }>>;

/** Answers are hardly ever lost, and a look-up costs the server more than an answer: 5 s, 10 s, 20 s, … 60 s. */
const FIRST_LOOK_UP_MS = 5_000;
const MAX_LOOK_UP_MS = 60_000;
const SWEEP_MS = 1_000;
/** Between a result on its subject and the same result in the stream lies the time that storing it takes. */
const ANNOUNCED_MS = 50;
/** Of a number in a `replyTo`. */
const TOKEN_BASE = 36;
/** Between the number of many results and the place of one of them. */
const PLACE = "-";
/** Looked up in one go, so that ten thousand waiting results do not hold up everything else. */
const BATCH = 1_024;

export class WaitingResults {
  readonly #bus: Bus;
  readonly #names: Names;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #read: ReadStored;
  readonly #announcements: Announcements;
  /** Of every `replyTo`; a token follows. */
  readonly #replyPrefix: string;
  readonly #entries = new Map<number, PendingResult>();
  /** Those that may still be asked for. */
  readonly #many = new Map<number, WeakRef<ManyResults>>();
  readonly #collected = new FinalizationRegistry<number>((token) => this.#many.delete(token));
  #next = 0;
  #answers: Subscription | undefined;
  #stopListening: (() => void) | undefined;
  #sweeper: Timer | undefined;
  #lookingUp = false;
  #onCut: (error: Error) => void = () => undefined;
  #closed: VgasError | undefined;

  constructor(options: WaitingResultsOptions) {
    const { bus, names, logger, clock = systemClock, read = lastBySubjects } = options;
    this.#bus = bus;
    this.#names = names;
    this.#logger = logger;
    this.#clock = clock;
    this.#read = read;
    this.#announcements = options.announcements ?? {
      listen: (pool, id, onResult) => bus.subscribeNow(names.result(pool, id), onResult),
    };
    this.#replyPrefix = `${bus.inbox()}.`;
  }

  /** @throws VgasError PERMISSION_DENIED if the credential does not open its inbox */
  async start(): Promise<void> {
    this.#answers = await this.#bus.subscribe(`${this.#replyPrefix}*`, (message) => this.#answered(message));
    this.#stopListening = this.#bus.onStatus((status) => {
      if (status.type === "disconnected") this.#onCut(new Error("the connection was cut"));
      else if (status.type === "reconnected") this.#expectLosses();
      else if (status.type === "closed")
        this.close(new VgasError("SHUTTING_DOWN", "the connection to the swarm is closed"));
    });
  }

  /** Results that are waited for. */
  get size(): number {
    return this.#entries.size;
  }

  /** For a submission about to be made: where the answer to its `replyTo` will be. */
  expect(pool: string, id: string | undefined): PendingResult {
    const pending = new PendingResult(this.#token(), pool, id);
    pending.lookUpAt = this.#firstLookUp();
    this.#add(pending);
    return pending;
  }

  /** The same for many tasks, which are taken one after the other by its `next`. */
  expectMany(pool: string): ManyResults {
    const token = this.#token();
    const replyPrefix = `${this.#replyPrefix}${token.toString(TOKEN_BASE)}${PLACE}`;
    const many = new ManyResults(pool, replyPrefix, this.#firstLookUp());
    this.#many.set(token, new WeakRef(many));
    this.#collected.register(many, token);
    return many;
  }

  /** One of many is asked for. */
  element(many: ManyResults, place: number, id: string): PendingResult {
    const come = many.get(place);
    if (come !== undefined) {
      if (come.outcome !== undefined) many.take(place);
      return come;
    }
    const pending = new PendingResult(this.#next++, many.pool, id);
    pending.lookUpAt = many.lookUpAt;
    if (this.#closed !== undefined) pending.settle(this.#closed);
    else {
      many.keep(place, pending);
      // What finds it is kept alive by it.
      pending.subscription = { unsubscribe: () => many.take(place) };
      this.#add(pending);
    }
    return pending;
  }

  /** Undefined for what no answer is asked for. */
  replyTo(pending: PendingResult | undefined): string | undefined {
    return pending && `${this.#replyPrefix}${pending.token.toString(TOKEN_BASE)}`;
  }

  /** For a task submitted by somebody else, or without `replyTo`: listens to its result's subject and looks it up at once. */
  watch(pool: string, id: string): PendingResult {
    const pending = new PendingResult(this.#token(), pool, id);
    pending.subscription = this.#subscribe(pending, id);
    this.#add(pending);
    return pending;
  }

  /** The submission was a repetition, so its `replyTo` may be unknown to the swarm: listens as `watch` does. */
  watchToo(pending: PendingResult, id: string): void {
    if (!this.#entries.has(pending.token)) return;
    pending.subscription = this.#subscribe(pending, id);
    pending.lookUpAt = this.#clock.monotonic();
  }

  /** Somebody waits for `pending` now: an overdue look-up is made at once. */
  want(pending: PendingResult): void {
    if (pending.lookUpAt <= this.#clock.monotonic()) void this.#lookUp();
  }

  /** Its result is known to be stored: if somebody waits for it, it is read now. */
  lookUp(pending: PendingResult): void {
    pending.announced = true;
    pending.lookUpAt = this.#clock.monotonic();
    void this.#lookUp();
  }

  /** The same for a task that is known by its id. */
  lookUpTask(pool: string, id: string): void {
    for (const pending of this.#entries.values()) {
      if (pending.id === id && pending.pool === pool) this.lookUp(pending);
    }
  }

  /** The stored results of these tasks, whether anybody waits for them or not. @throws VgasError as `lastBySubjects` */
  async read(pool: string, ids: readonly string[]): Promise<TaskResult[]> {
    const subjects = ids.map((id) => this.#names.result(pool, id));
    const found = await this.#read(this.#bus, this.#names.streams.results, subjects);
    return [...found.values()].map(({ data }) => decodeResult(data)).filter((result) => result !== undefined);
  }

  /** Nobody waits any more, or nothing will come. */
  forget(pending: PendingResult): void {
    if (!this.#entries.delete(pending.token)) return;
    pending.subscription?.unsubscribe();
    if (this.#entries.size > 0) return;
    this.#clock.clear(this.#sweeper);
    this.#sweeper = undefined;
  }

  /** Fails what is waited for. Idempotent. */
  close(error: VgasError): void {
    this.#closed ??= error;
    this.#stopListening?.();
    this.#answers?.unsubscribe();
    for (const pending of [...this.#entries.values()]) {
      this.forget(pending);
      pending.settle(error);
    }
  }

  /** Whole: a fraction would be an object of its own for each. */
  #firstLookUp(): number {
    return Math.ceil(this.#clock.monotonic()) + FIRST_LOOK_UP_MS;
  }

  #token(): number {
    if (this.#closed !== undefined) throw new VgasError("SHUTTING_DOWN", "the client is closed");
    return this.#next++;
  }

  #add(pending: PendingResult): void {
    this.#entries.set(pending.token, pending);
    this.#sweeper ??= this.#clock.setInterval(() => void this.#lookUp(), SWEEP_MS);
  }

  #subscribe({ pool, token }: PendingResult, id: string): PendingResult["subscription"] {
    return this.#announcements.listen(pool, id, () => this.#announced(token));
  }

  /** A result passed by on its subject. It may be a second one that the server refuses, so the stored one is read. */
  #announced(token: number): void {
    const pending = this.#entries.get(token);
    if (pending !== undefined) this.lookUp(pending);
  }

  #answered({ subject, data }: BusMessage): void {
    const [token = "", place] = subject.slice(this.#replyPrefix.length).split(PLACE);
    const number = Number.parseInt(token, TOKEN_BASE);
    if (place === undefined) this.#settle(number, data);
    else this.#settleElement(number, Number(place), data);
  }

  #settle(token: number, data: Uint8Array): void {
    const pending = this.#entries.get(token);
    const result = pending && this.#resultIn(data);
    if (pending === undefined || result === undefined) return;
    this.forget(pending);
    pending.settle(result);
  }

  #settleElement(token: number, place: number, data: Uint8Array): void {
    const many = this.#many.get(token)?.deref();
    if (many?.has(place) !== true) return;
    const asked = many.get(place);
    if (asked !== undefined) {
      this.#settle(asked.token, data);
      return;
    }
    const result = this.#resultIn(data);
    if (result === undefined) return;
    const come = new PendingResult(token, many.pool, result.id);
    come.settle(result);
    many.keep(place, come);
  }

  /** Bytes that are no result are left alone: whoever may publish to an inbox may send anything. */
  #resultIn(data: Uint8Array): TaskResult | undefined {
    const result = decodeResult(data);
    if (result === undefined)
      this.#logger.warn({ bytes: data.length }, "an answer is no result; it is looked up instead");
    return result;
  }

  #expectLosses(): void {
    const now = this.#clock.monotonic();
    for (const pending of this.#entries.values()) pending.lookUpAt = now;
    for (const many of this.#many.values()) {
      const alive = many.deref();
      if (alive !== undefined) alive.lookUpAt = now;
    }
    void this.#lookUp();
  }

  /** Looks up all that is due, a batch at a time. Never rejects. */
  async #lookUp(): Promise<void> {
    if (this.#lookingUp) return;
    this.#lookingUp = true;
    try {
      while (this.#bus.state === "connected") {
        const due = this.#due();
        if (due.size === 0) return;
        const reading = this.#read(this.#bus, this.#names.streams.results, [...due.keys()]);
        // An answer that a lost connection took is not waited for: it is all read again when the connection is back.
        const cut = new Promise<never>((_, reject) => {
          this.#onCut = reject;
        });
        const found = await Promise.race([reading, cut]);
        for (const [subject, tokens] of due) {
          const data = found.get(subject)?.data;
          for (const token of tokens) {
            if (data === undefined) this.#missed(token);
            else this.#settle(token, data);
          }
        }
      }
    } catch (error) {
      this.#logger.debug({ err: error }, "results could not be looked up; tries again");
    } finally {
      this.#lookingUp = false;
    }
  }

  /** Tokens by result subject. What is picked is not due again before its next pause is over. */
  #due(): Map<string, number[]> {
    const now = this.#clock.monotonic();
    const due = new Map<string, number[]>();
    for (const [token, pending] of this.#entries) {
      if (!pending.wanted || pending.id === undefined || pending.lookUpAt > now) continue;
      pending.lookUpAt = now + Math.min(MAX_LOOK_UP_MS, FIRST_LOOK_UP_MS * 2 ** pending.misses);
      const subject = this.#names.result(pending.pool, pending.id);
      due.set(subject, [...(due.get(subject) ?? []), token]);
      if (due.size >= BATCH) break;
    }
    return due;
  }

  #missed(token: number): void {
    const pending = this.#entries.get(token);
    if (pending === undefined) return;
    pending.misses++;
    if (!pending.announced) return;
    // It passed by and is not stored yet: that is a matter of moments.
    pending.announced = false;
    pending.lookUpAt = this.#clock.monotonic() + ANNOUNCED_MS;
    this.#clock.setTimeout(() => void this.#lookUp(), ANNOUNCED_MS);
  }
}

const STATUSES: ReadonlySet<unknown> = new Set(["ok", "failed", "cancelled", "expired"]);

/** The result in `data`, undefined if it is none. */
export function decodeResult(data: Uint8Array): TaskResult | undefined {
  try {
    const { value } = decodeMirrored(data);
    const { id, status } = (value ?? {}) as Partial<Record<"id" | "status", unknown>>;
    return typeof id === "string" && STATUSES.has(status) ? (value as TaskResult) : undefined;
  } catch {
    return undefined;
  }
}
