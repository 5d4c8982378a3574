/**
 * Stores messages in streams, many at once: a window of publishes in flight, acknowledged over one inbox.
 *
 * Owns the inbox subscription, the publishes in flight and those waiting for room, and one timer for all of them.
 *
 * Invariants
 * 1. `done` is called exactly once for each message, never from within `send`.
 * 2. A message is handed on in the order of `send` among those that are stored `together`, and among all others; only a repetition can
 *    overtake.
 * 3. With `retry` the same bytes are sent again (lost answer, reconnect) until the server takes or refuses them: use it
 *    only where a second copy is harmless or refused (message id, one message per subject). Without it a lost answer is
 *    TIMEOUT, whether it was stored is unknown; sent again is only what is known not to be stored (`#tryLater`).
 * 4. Never more in flight than the window. Waiting messages are not bounded here: whoever sends without waiting is.
 * 5. What a batch holds has the answer of the batch only if that says that it is stored. Else each goes again by itself, as
 *    invariant 3 says, and has an answer of its own: so one that is refused refuses no other.
 */
import { failpoint, failpointOnceSent } from "../failpoints/failpoints.ts";
import { VgasError } from "../protocols/errors.ts";
import { type Batch, Batches } from "./batches.ts";
import type { Bus, BusMessage, Subscription } from "./bus.ts";
import type { Taken } from "./gathering.ts";
import type { EncodedHeaders, HeaderRecord } from "./headers.ts";
import { isClustered } from "./leader.ts";
import { isProgress, type PubAck, PubAckReader } from "./pub-ack.ts";
import { denied, isPassing, refusesBatches, shuttingDown, unknownOutcome } from "./publish-outcomes.ts";
import { isOverdue, mayChange } from "./publish-patience.ts";
import { type PendingPublish, PublishQueue } from "./publish-queue.ts";
import type { BusStatus } from "./status.ts";
import { type Stored, type StoreOptions, storeHeaders } from "./store-options.ts";

export { type PubAck, PublishRefused } from "./pub-ack.ts";
export type { Stored, StoreOptions } from "./store-options.ts";

export interface PublisherOptions {
  /** Messages in flight. More does not raise the rate, and costs memory and time after a reconnect. */
  readonly maxMessages?: number;
  /** Bytes in flight. */
  readonly maxBytes?: number;
  /** A message not acknowledged within this is sent again, or TIMEOUT. */
  readonly ackTimeoutMs?: number;
}

const DEFAULTS = { maxMessages: 4_096, maxBytes: 32 * 2 ** 20, ackTimeoutMs: 5_000 } as const;
const SWEEP_MS = 250;
const NO_RESPONDERS = 503;

export class Publisher {
  readonly #bus: Bus;
  readonly #queue: PublishQueue;
  readonly #ackTimeoutMs: number;
  readonly #acks = new PubAckReader();
  readonly #batches = new Batches();
  readonly #replyPrefix: string;
  readonly #subscription: Subscription;
  readonly #stopListening: () => void;
  readonly #idleWaiters: (() => void)[] = [];
  #sweeper: NodeJS.Timeout | undefined;
  #closed = false;
  #pumping = false;
  /** The server has said that it is about to stop: its streams are gone before its connections are. */
  #lame = false;

  constructor(bus: Bus, options: PublisherOptions = {}) {
    this.#bus = bus;
    this.#queue = new PublishQueue(options.maxMessages ?? DEFAULTS.maxMessages, options.maxBytes ?? DEFAULTS.maxBytes);
    this.#ackTimeoutMs = options.ackTimeoutMs ?? DEFAULTS.ackTimeoutMs;
    this.#replyPrefix = `${bus.inbox()}.`;
    this.#subscription = bus.subscribeNow(`${this.#replyPrefix}>`, (message) => this.#answered(message));
    this.#stopListening = bus.onStatus((status) => this.#onStatus(status));
  }

  /** Messages sent and not yet answered. */
  get inFlight(): number {
    return this.#queue.inFlight;
  }

  /** Messages that wait for room in the window, or for the connection. */
  get waiting(): number {
    return this.#queue.waiting;
  }

  /** The one that was sent and has waited longest for its answer, and for how long; undefined if none waits. */
  get oldest(): { readonly subject: string; readonly ms: number } | undefined {
    let oldest: PendingPublish | undefined;
    for (const each of this.#queue.pick(({ sends }) => sends > 0))
      if (each.since < (oldest?.since ?? Infinity)) oldest = each;
    return oldest && { subject: oldest.subject, ms: performance.now() - oldest.since };
  }

  /**
   * Resolves when the message is stored.
   *
   * @throws PublishRefused with STREAM_FULL, LANE_FULL, CONFLICT, TOO_LARGE or INTERNAL; VgasError UNDELIVERABLE if no stream takes
   *   the subject, TOO_LARGE, INVALID, PERMISSION_DENIED, TIMEOUT (outcome unknown), ABORTED, SHUTTING_DOWN
   */
  publish(subject: string, data: Uint8Array, options: StoreOptions = {}): Promise<PubAck> {
    return new Promise((resolve, reject) => {
      const done: Stored = (error, ack) => {
        if (ack === undefined) reject(error);
        else resolve(ack);
      };
      this.send(subject, data, options.headers, done, options);
    });
  }

  /** As `publish` with a callback, for paths where a promise per message costs too much. `headers` stands for `options.headers`. */
  send(
    subject: string,
    data: Uint8Array,
    headers: HeaderRecord | undefined,
    done: Stored,
    options: StoreOptions = {},
  ): void {
    const { together, as = "atomic" } = options;
    let encoded: EncodedHeaders | undefined;
    try {
      if (this.#closed) throw shuttingDown();
      if (options.signal?.aborted) throw new VgasError("ABORTED", `publishing to ${subject} was aborted`);
      encoded = storeHeaders(headers, options);
    } catch (error) {
      queueMicrotask(() => done(error as VgasError, undefined));
      return;
    }
    const pending: PendingPublish = {
      token: 0,
      subject,
      data,
      headers: encoded,
      bytes: data.length + (encoded?.byteLength ?? 0),
      retry: options.retry ?? options.expectLastSubjectSequence === undefined,
      since: performance.now(),
      sentAt: 0,
      sends: 0,
      again: false,
      refusedAt: 0,
      settled: false,
      gathering: together === undefined ? undefined : this.#queue.gathering(together, as),
      batch: undefined,
      signal: options.signal,
      onAbort: undefined,
      done,
    };
    if (options.signal !== undefined) this.#listenToAbort(pending, options.signal);
    this.#queue.add(pending);
    this.#sweeper ??= setInterval(() => this.#sweep(), SWEEP_MS);
    if (pending.gathering === undefined) this.#pump();
    else this.#pumpSoon();
  }

  /** Resolves when nothing is in flight and nothing waits. */
  idle(): Promise<void> {
    if (this.#queue.isEmpty) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idleWaiters.push(resolve);
    });
  }

  /** Fails what is left with SHUTTING_DOWN. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stopListening();
    this.#subscription.unsubscribe();
    this.#failAll(shuttingDown);
    this.#stopSweeping();
  }

  /** Sends as much as the window takes. */
  #pump(): void {
    while (this.#bus.state === "connected") {
      const pending = this.#queue.next();
      if (pending !== undefined) {
        this.#transmit(pending);
        continue;
      }
      const taken = this.#queue.nextTaken();
      if (taken === undefined) return;
      this.#transmitTaken(taken);
    }
  }

  /** When all that is sent in this turn is there: it may go as one batch. */
  #pumpSoon(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    queueMicrotask(() => {
      this.#pumping = false;
      this.#pump();
    });
  }

  #transmitTaken({ messages, batchOf }: Taken): void {
    if (batchOf === undefined) {
      for (const pending of messages) this.#transmit(pending);
      return;
    }
    const batch = this.#batches.open(messages, batchOf);
    const now = performance.now();
    let sent = 0;
    try {
      for (const pending of messages) {
        pending.sentAt = now;
        pending.sends++;
        this.#bus.publish(pending.subject, pending.data, this.#batches.options(batch, sent + 1, this.#replyPrefix));
        sent++;
      }
      failpointOnceSent("batch.sent");
    } catch {
      // Each by itself is told what is wrong with it. Without its last message nothing of an atomic batch is stored.
      this.#batches.dissolve(batch);
      for (const [i, pending] of messages.entries())
        if (i < sent && batchOf.kind === "fast") this.#repeat(pending, "may be stored with others");
        else this.#transmit(pending);
    }
  }

  #transmit(pending: PendingPublish): void {
    pending.sentAt = performance.now();
    pending.sends++;
    pending.again = false;
    const reply = this.#replyPrefix + pending.token.toString(36);
    try {
      const { subject, data, headers } = pending;
      this.#bus.publish(subject, data, headers === undefined ? { reply } : { reply, headers });
    } catch (error) {
      this.#settle(pending, error as VgasError, undefined);
    }
  }

  #answered(message: BusMessage): void {
    const token = message.subject.slice(this.#replyPrefix.length);
    if (Batches.isAnswer(token)) {
      const batch = this.#batches.answered(token);
      if (batch !== undefined) this.#batchAnswered(batch, message);
      return;
    }
    const pending = this.#queue.sent(Number.parseInt(token, 36));
    if (pending === undefined || failpoint("publish.answer")) return;
    const { data } = message;
    if (data.length === 0 && message.status === NO_RESPONDERS) {
      if (this.#tryLater(pending)) return;
      this.#settle(pending, new VgasError("UNDELIVERABLE", `no stream takes ${pending.subject}`), undefined);
    } else {
      const answer = this.#acks.read(pending.subject, data);
      if (!(answer instanceof VgasError)) this.#settle(pending, undefined, answer);
      else if (!isPassing(answer) || !this.#tryLater(pending)) this.#settle(pending, answer, undefined);
    }
    this.#pump();
  }

  #batchAnswered(batch: Batch, { status, data }: BusMessage): void {
    // Neither that it has begun nor how far it is ends it.
    if (isProgress(data) || failpoint("batch.answer")) return;
    const { messages, gathering } = batch;
    const last = messages.at(-1) as PendingPublish;
    const answer = data.length === 0 && status === NO_RESPONDERS ? undefined : this.#acks.readBatch(last.subject, data);
    if (answer === undefined || answer instanceof VgasError) {
      if (refusesBatches(answer)) this.#queue.refuse(gathering);
      failpoint("batch.refused");
      // Nothing of an atomic one is stored, and of a fast one what comes before the message that this answers.
      for (const pending of this.#batches.dissolve(batch))
        if (gathering.kind === "atomic") this.#transmit(pending);
        else this.#repeat(pending, "may be stored with others");
    } else if (answer.count === undefined) {
      // A server that knows no batches has stored each by itself, and answers only for the last.
      this.#queue.refuse(gathering);
      const left = this.#batches.dissolve(batch);
      if (gathering.kind === "atomic") this.#settle(last, undefined, answer);
      for (const pending of left) this.#repeat(pending, "was stored without an answer of its own");
    } else {
      failpoint("batch.stored");
      this.#storedUpTo(batch, answer.count, answer);
    }
    this.#pump();
  }

  /** The first `count` are stored. A fast one ends at the first that is not, which none behind it is either. */
  #storedUpTo(batch: Batch, count: number, { stream, sequence }: PubAck): void {
    const { messages, gathering } = batch;
    const atomic = gathering.kind === "atomic";
    const stored = messages.slice(0, count);
    if (count === messages.length) this.#batches.stored(batch);
    for (const [i, pending] of stored.entries())
      this.#settle(pending, undefined, {
        stream,
        sequence: atomic ? sequence - count + 1 + i : sequence,
        duplicate: false,
      });
    for (const pending of this.#batches.dissolve(batch)) this.#transmit(pending);
  }

  /** Invariant 3, for what was sent and has no answer. */
  #repeat(pending: PendingPublish, what: string): void {
    if (pending.settled) return;
    if (pending.retry) this.#transmit(pending);
    else this.#settle(pending, unknownOutcome(pending, what), undefined);
  }

  /** Marks a publish whose refusal may be different in a moment for another try by the sweep; false if that was hoped for long enough. */
  #tryLater(pending: PendingPublish): boolean {
    const now = performance.now();
    if (pending.refusedAt === 0) pending.refusedAt = now;
    if (!mayChange(pending, now, isClustered(this.#bus) || this.#lame)) return false;
    pending.again = true;
    return true;
  }

  #sweep(): void {
    const now = performance.now();
    for (const pending of this.#queue.pick((entry) => isOverdue(entry, now, this.#ackTimeoutMs))) {
      if (pending.batch !== undefined) this.#batches.dissolve(pending.batch);
      if (!pending.retry && !pending.again)
        this.#settle(pending, unknownOutcome(pending, `was not answered within ${this.#ackTimeoutMs} ms`), undefined);
      else if (pending.sends > 0 && this.#bus.state === "connected") this.#transmit(pending);
    }
    this.#pump();
    if (this.#queue.isEmpty) this.#stopSweeping();
  }

  #stopSweeping(): void {
    clearInterval(this.#sweeper);
    this.#sweeper = undefined;
  }

  #onStatus(status: BusStatus): void {
    switch (status.type) {
      case "disconnected":
        // Their answers would have come over the connection that is gone.
        this.#batches.dissolveAll();
        for (const pending of this.#queue.pick((entry) => !entry.retry && entry.sends > 0)) {
          this.#settle(pending, unknownOutcome(pending, "was cut off by a lost connection"), undefined);
        }
        return;
      case "reconnected":
        this.#lame = false;
        this.#queue.forgetRefusals();
        for (const pending of this.#queue.pick((entry) => entry.sends > 0)) this.#transmit(pending);
        this.#pump();
        return;
      case "denied":
        if (status.operation === "publish") this.#denied(status.subject);
        else if (status.subject === this.#subscription.subject) this.#failAll(() => denied(status.subject));
        return;
      case "closed":
        this.close();
        return;
      case "lame-duck":
        this.#lame = true;
        return;
      case "reconnecting":
      case "error":
      case "stale":
      case "slow-consumer":
      case "servers":
        return;
    }
  }

  #denied(subject: string): void {
    for (const pending of this.#queue.pick((entry) => entry.sends > 0 && entry.subject === subject)) {
      this.#settle(pending, denied(subject), undefined);
    }
    this.#pump();
  }

  #failAll(make: () => VgasError): void {
    for (const pending of this.#queue.pick(() => true)) this.#settle(pending, make(), undefined);
  }

  #settle(pending: PendingPublish, error: VgasError | undefined, ack: PubAck | undefined): void {
    if (!this.#queue.remove(pending)) return;
    if (pending.onAbort !== undefined) pending.signal?.removeEventListener("abort", pending.onAbort);
    if (error === undefined) this.#tell(pending, undefined, ack);
    // What fails on the spot (too large) must not call back from within `send`.
    else queueMicrotask(() => this.#tell(pending, error, undefined));
    if (this.#queue.isEmpty) for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }

  #tell(pending: PendingPublish, error: VgasError | undefined, ack: PubAck | undefined): void {
    try {
      pending.done(error, ack);
    } catch (thrown) {
      this.#bus.reportFailure(pending.subject, thrown);
    }
  }

  #listenToAbort(pending: PendingPublish, signal: AbortSignal): void {
    pending.onAbort = () => {
      this.#settle(
        pending,
        new VgasError("ABORTED", `publishing to ${pending.subject} was aborted`, { cause: signal.reason }),
        undefined,
      );
      this.#pump();
    };
    signal.addEventListener("abort", pending.onAbort);
  }
}
