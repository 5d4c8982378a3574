/**
 * Takes messages from one durable consumer, never more than are wanted.
 *
 * The server answers a pull with at most as many messages as it asked for, and with a status when it ends before that.
 * A delivered message does not say which pull it answers, so credit is counted over all pulls of this subscription.
 *
 * Owns one inbox subscription at a time (a generation), the count of what is outstanding, and a timer while any is.
 *
 * Invariants
 * 1. Messages handed over since `want(n)` are at most n, plus what earlier pulls had asked for when n was lowered, plus
 *    what was on the way when a generation ended.
 * 2. Whatever makes the count uncertain (lost connection, silence, a status without a count) ends the generation: its
 *    inbox closes, so its pulls deliver nothing more. What was on the way is handed over and not handed back: it counts
 *    as delivered, and a second delivery is one of which nobody knows whether the first ran.
 * 3. Pulls older than their expiry are over on the server, so outstanding is never more than the younger ones asked for.
 * 4. After `consumer-gone` and `permission` nothing is asked for until `resume`.
 * 5. Where messages come, pulls are given up by letting them end, not by closing the inbox: what the server sends to an inbox that
 *    has just closed counts as delivered, and comes to somebody else as a second delivery.
 */
import { failpoint } from "../failpoints/failpoints.ts";
import { jsApi } from "../protocols/subjects.ts";
import type { Bus, BusMessage, Subscription } from "./bus.ts";
import { isAckSubject } from "./delivery.ts";
import { ELECTION_MS, isClustered } from "./leader.ts";
import { PullLedger } from "./pull-ledger.ts";
import { PulledMessage } from "./pulled-message.ts";
import type { BusStatus } from "./status.ts";

export { ackTask, nakTask, workingOnTask } from "./acks.ts";
export type { PulledMessage } from "./pulled-message.ts";

/**
 * `consumer-gone`: it was deleted, or never was; make it, then `resume`. `permission`: the credential does not open the
 * pull or its inbox. `lost`: pulls were lost and are being asked for again; for the log.
 */
export type PullTrouble = "consumer-gone" | "lost" | "permission";

export interface PullHandlers {
  onMessage(message: PulledMessage): void;
  onTrouble(reason: PullTrouble, detail: string): void;
}

export interface PullTiming {
  /** A pull ends by itself after this, so that a server never keeps one of a vanished client for long. */
  readonly expiresMs: number;
  /** How often the server says that a pull waits, at most half of `expiresMs`. */
  readonly heartbeatMs: number;
}

const DEFAULT_TIMING: PullTiming = { expiresMs: 30_000, heartbeatMs: 5_000 };
/** A leader that is killed takes the pulls with it and says nothing; the others begin to elect another after 4 to 9 s. */
const CLUSTER_TIMING: PullTiming = { expiresMs: 30_000, heartbeatMs: 2_000 };
/** A consumer is busy until nothing has come for so long; one that is new to us may be. */
const BUSY_MS = 5_000;
/** Of a busy consumer: its pulls end by themselves before anybody minds (invariant 5). */
const BUSY_EXPIRES_MS = 250;
const TICK_MS = 1_000;
/** A tick later than this means that this process stood still: silence was ours, not the server's. */
const STALL_MS = 2_500;
/** For the way of a heartbeat or status. */
const GRACE_MS = 1_000;
/** Of a stop. A broker that stands still for a while would send what it is still to send to an inbox that has closed (invariant 5). */
const STOP_MS = 5_000;
/** Largest batch of one pull. */
const MAX_BATCH = 10_000;
const MAX_CACHED_REQUESTS = 64;
const NANOS_PER_MS = 1_000_000;
const STATUS = { heartbeat: 100, badRequest: 400, conflict: 409, noResponders: 503 } as const;
const PENDING_MESSAGES = "Nats-Pending-Messages";

const encoder = new TextEncoder();

export class PullSubscription {
  readonly #bus: Bus;
  readonly #subject: string;
  readonly #handlers: PullHandlers;
  readonly #timing: PullTiming;
  /** Two heartbeats were missed. */
  readonly #silenceMs: number;
  readonly #ledger: PullLedger;
  readonly #requests = new Map<number, Uint8Array>();
  readonly #stopListening: () => void;
  #wanted = 0;
  #draining: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;
  #inbox: Subscription | undefined;
  #halted = false;
  #stopped = false;
  #ticker: NodeJS.Timeout | undefined;
  #lastTickAt = 0;
  #heardAt = 0;
  #deliveredAt = performance.now();
  /** When the last pull of those that wait for long ends. */
  #longUntil = 0;
  /** Resolves `stop` when nothing is outstanding any more. */
  #onNothing: (() => void) | undefined;
  /** Since when nobody answers for the consumer, or 0. */
  #leaderlessSince = 0;

  constructor(bus: Bus, stream: string, consumer: string, handlers: PullHandlers, timing?: PullTiming) {
    this.#bus = bus;
    this.#subject = jsApi.next(stream, consumer);
    this.#handlers = handlers;
    this.#timing = timing ?? (isClustered(bus) ? CLUSTER_TIMING : DEFAULT_TIMING);
    const { expiresMs, heartbeatMs } = this.#timing;
    this.#silenceMs = 2 * heartbeatMs + GRACE_MS;
    this.#ledger = new PullLedger(expiresMs + this.#silenceMs);
    this.#stopListening = bus.onStatus((status) => this.#onStatus(status));
  }

  /** Messages asked for and not yet delivered. */
  get outstanding(): number {
    return this.#ledger.outstanding;
  }

  /** Messages still wanted: the last `want` less what was delivered since. */
  get wanted(): number {
    return this.#wanted;
  }

  /**
   * Sets how many messages are wanted from now on, and asks for those that are not outstanding already. A lower number
   * than before asks for nothing; what is outstanding may still come.
   */
  want(total: number): void {
    this.#wanted = Math.max(0, Math.floor(total));
    this.#ask();
  }

  /**
   * Gives up what is outstanding and sets how many messages are wanted; what is on its way is handed over all the same. Of a busy
   * consumer it ends a moment later, and so long counts as outstanding.
   */
  restart(total: number): void {
    if (!this.#endsSoon()) this.#endGeneration();
    this.want(total);
  }

  /** Goes on after `consumer-gone` or `permission`. */
  resume(): void {
    this.#halted = false;
    this.#leaderlessSince = 0;
    this.#ask();
  }

  /** Asks for nothing more. Once it resolves no message comes any more; those on the way still do. Idempotent. */
  async stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    await this.#stopping;
  }

  async #stop(): Promise<void> {
    this.#stopped = true;
    this.#wanted = 0;
    if (this.#bus.state === "connected" && this.#endsSoon()) await this.#nothing();
    this.#stopListening();
    this.#endGeneration();
    await this.#draining;
  }

  /** Whether everything outstanding ends by itself in a moment. */
  #endsSoon(): boolean {
    return this.#ledger.outstanding > 0 && performance.now() >= this.#longUntil;
  }

  /** Resolves when nothing is outstanding, or should be. */
  async #nothing(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#onNothing = resolve;
      timer = setTimeout(resolve, STOP_MS);
    });
    clearTimeout(timer);
    this.#onNothing = undefined;
  }

  #ask(): void {
    if (this.#halted || this.#stopped || this.#bus.state !== "connected") return;
    let missing = this.#wanted - this.#ledger.outstanding;
    while (missing > 0) {
      const batch = Math.min(missing, MAX_BATCH);
      missing -= batch;
      this.#pull(batch);
    }
  }

  #pull(batch: number): void {
    failpoint("pull.before");
    const now = performance.now();
    if (this.#ledger.outstanding === 0) this.#heardAt = now;
    this.#startTicking(now);
    this.#inbox ??= this.#openInbox();
    const reply = this.#inbox.subject.slice(0, -1) + this.#ledger.issue(batch, now);
    const busy = now - this.#deliveredAt < BUSY_MS;
    if (!busy) this.#longUntil = now + this.#timing.expiresMs;
    this.#bus.publish(this.#subject, this.#request(batch, busy), { reply });
  }

  #openInbox(): Subscription {
    const prefix = `${this.#bus.inbox()}.`;
    const inbox: Subscription = this.#bus.subscribeNow(`${prefix}*`, (message) => {
      if (isAckSubject(message.reply)) this.#delivered(inbox, message, message.reply);
      // Only statuses come to the inbox's own subject; anything else is somebody guessing it.
      else if (message.subject.startsWith(prefix) && inbox === this.#inbox)
        this.#statusOf(message.subject.slice(prefix.length), message);
    });
    return inbox;
  }

  #delivered(inbox: Subscription, message: BusMessage, ack: string): void {
    failpoint("pull.after");
    if (inbox !== this.#inbox) {
      // Invariant 2: the pull was given up, and what it brought is ours all the same.
      this.#handlers.onMessage(new PulledMessage(message, ack));
      return;
    }
    this.#heardAt = performance.now();
    this.#deliveredAt = this.#heardAt;
    this.#leaderlessSince = 0;
    this.#ledger.deliver();
    if (this.#wanted > 0) this.#wanted--;
    if (this.#ledger.outstanding === 0) this.#emptied();
    this.#handlers.onMessage(new PulledMessage(message, ack));
  }

  #statusOf(token: string, message: BusMessage): void {
    const { status, statusText } = message;
    this.#heardAt = performance.now();
    if (status === STATUS.noResponders) {
      this.#nobody(token);
      return;
    }
    this.#leaderlessSince = 0;
    if (status === STATUS.heartbeat || status === 0) return;
    const detail = `${status} ${statusText}`.trim();
    if (status === STATUS.conflict && /deleted|push based/i.test(statusText)) {
      this.#halt("consumer-gone", detail);
      return;
    }
    const left = message.header(PENDING_MESSAGES);
    if (left !== undefined) {
      this.#ledger.end(token, Number(left), this.#heardAt);
      if (this.#ledger.outstanding === 0) this.#emptied();
      // Ended in the usual way (expired, batch completed): what is still wanted is asked for anew.
      this.#ask();
    } else if (status === STATUS.badRequest || /exceeded/i.test(statusText)) {
      // Refused as a whole. The next tick asks again: the limit may be the number of pulls that wait.
      this.#ledger.refuse(token, this.#heardAt);
      this.#trouble("lost", detail);
    } else {
      this.#lose(detail);
    }
  }

  /** There is no such consumer; in a cluster nobody leads it, until that has lasted longer than an election. */
  #nobody(token: string): void {
    if (this.#leaderlessSince === 0) this.#leaderlessSince = this.#heardAt;
    // The next tick asks again.
    if (isClustered(this.#bus) && this.#heardAt - this.#leaderlessSince < ELECTION_MS)
      this.#ledger.refuse(token, this.#heardAt);
    else this.#halt("consumer-gone", "nobody answers for the consumer");
  }

  #tick(): void {
    const now = performance.now();
    if (now - this.#lastTickAt > STALL_MS) this.#heardAt = now;
    this.#lastTickAt = now;
    if (this.#bus.state !== "connected") return;
    this.#ledger.forgetExpired(now);
    if (this.#ledger.outstanding > 0 && now - this.#heardAt > this.#silenceMs)
      this.#lose(`no heartbeat within ${this.#silenceMs} ms`);
    else this.#ask();
    if (this.#ledger.outstanding === 0) this.#stopTicking();
  }

  #lose(detail: string): void {
    this.#endGeneration();
    this.#trouble("lost", detail);
    this.#ask();
  }

  #halt(reason: "consumer-gone" | "permission", detail: string): void {
    if (this.#halted) return;
    this.#halted = true;
    this.#endGeneration();
    this.#trouble(reason, detail);
  }

  #onStatus(status: BusStatus): void {
    if (status.type === "disconnected") {
      const had = this.#ledger.outstanding;
      this.#endGeneration();
      if (had > 0) this.#trouble("lost", `the connection was lost with ${had} outstanding`);
    } else if (status.type === "reconnected") {
      this.#ask();
    } else if (
      status.type === "denied" &&
      (status.subject === this.#subject || status.subject === this.#inbox?.subject)
    ) {
      this.#halt("permission", `the credential does not open ${status.subject}`);
    } else if (status.type === "closed") {
      void this.stop();
    }
  }

  /** Told from timers too, so what the handler throws must not leave here. */
  #trouble(reason: PullTrouble, detail: string): void {
    try {
      this.#handlers.onTrouble(reason, detail);
    } catch (error) {
      this.#bus.reportFailure(this.#subject, error);
    }
  }

  #endGeneration(): void {
    const inbox = this.#inbox;
    this.#inbox = undefined;
    this.#longUntil = 0;
    this.#ledger.clear();
    this.#emptied();
    // Until the server has processed the end of the subscription, messages may still arrive.
    if (inbox === undefined) return;
    if (this.#bus.state === "connected") this.#draining = inbox.drain();
    else inbox.unsubscribe();
  }

  #emptied(): void {
    this.#longUntil = 0;
    this.#stopTicking();
    this.#onNothing?.();
  }

  #startTicking(now: number): void {
    if (this.#ticker !== undefined) return;
    this.#lastTickAt = now;
    this.#ticker = setInterval(() => this.#tick(), TICK_MS);
  }

  #stopTicking(): void {
    clearInterval(this.#ticker);
    this.#ticker = undefined;
  }

  /** Requests of the same size are the same bytes. */
  #request(batch: number, busy: boolean): Uint8Array {
    const key = busy ? -batch : batch;
    let request = this.#requests.get(key);
    if (request === undefined) {
      const { expiresMs, heartbeatMs } = this.#timing;
      const waits = { expires: expiresMs * NANOS_PER_MS, idle_heartbeat: heartbeatMs * NANOS_PER_MS };
      // It is over before a heartbeat would say that it waits.
      const fields = { batch, ...(busy ? { expires: BUSY_EXPIRES_MS * NANOS_PER_MS } : waits) };
      request = encoder.encode(JSON.stringify(fields));
      if (this.#requests.size < MAX_CACHED_REQUESTS) this.#requests.set(key, request);
    }
    return request;
  }
}
