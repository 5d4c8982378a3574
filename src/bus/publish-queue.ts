/** Publishes in flight and waiting, in order, within a window of messages and bytes. No effects. */
import type { VgasError } from "../protocols/errors.ts";
import type { Batch, BatchKind } from "./batches.ts";
import { Gathering, type Taken } from "./gathering.ts";
import type { EncodedHeaders } from "./headers.ts";
import type { PubAck } from "./pub-ack.ts";
import { WaitingPublishes } from "./waiting-publishes.ts";

export interface PendingPublish {
  /** Names the answer; given when it enters the window. */
  token: number;
  readonly subject: string;
  readonly data: Uint8Array;
  readonly headers: EncodedHeaders | undefined;
  readonly bytes: number;
  readonly retry: boolean;
  /** When it was handed in, and last sent; ms of a monotonic clock. */
  readonly since: number;
  sentAt: number;
  sends: number;
  /** To be sent again by the next sweep. */
  again: boolean;
  /** When it was first answered with what a moment can change, or 0. */
  refusedAt: number;
  settled: boolean;
  /** Those that it may be stored together with; undefined if it goes by itself. */
  gathering: Gathering | undefined;
  /** The batch that it is in flight with. */
  batch: Batch | undefined;
  readonly signal: AbortSignal | undefined;
  onAbort: (() => void) | undefined;
  readonly done: (error: VgasError | undefined, ack: PubAck | undefined) => void;
}

/** More lanes than anybody submits to so fast that it matters; each is remembered as long as the publisher. */
const MAX_GATHERINGS = 1_000;

export class PublishQueue {
  readonly #maxMessages: number;
  readonly #maxBytes: number;
  readonly #sent = new Map<number, PendingPublish>();
  readonly #waiting = new WaitingPublishes();
  readonly #gatherings = { atomic: new Map<string, Gathering>(), fast: new Map<string, Gathering>() } as const;
  /** Those of them in which something waits. */
  readonly #gathered = new Set<Gathering>();
  #waitingCount = 0;
  #bytes = 0;
  #nextToken = 1;

  constructor(maxMessages: number, maxBytes: number) {
    this.#maxMessages = maxMessages;
    this.#maxBytes = maxBytes;
  }

  get inFlight(): number {
    return this.#sent.size;
  }

  get waiting(): number {
    return this.#waitingCount;
  }

  get isEmpty(): boolean {
    return this.#sent.size === 0 && this.#waitingCount === 0;
  }

  /** The one of this name, unless its stream refuses batches or there are too many. */
  gathering(name: string, kind: BatchKind): Gathering | undefined {
    const gatherings = this.#gatherings[kind];
    let gathering = gatherings.get(name);
    if (gathering === undefined) {
      if (gatherings.size >= MAX_GATHERINGS) return undefined;
      gathering = new Gathering(name, kind);
      gatherings.set(name, gathering);
    }
    return gathering.refused ? undefined : gathering;
  }

  add(pending: PendingPublish): void {
    this.#waitingCount++;
    const { gathering } = pending;
    if (gathering === undefined) {
      this.#waiting.add(pending);
    } else {
      gathering.add(pending);
      this.#gathered.add(gathering);
    }
  }

  /** Moves the first publish that waits by itself into the window and returns it, or undefined if none does or there is no room. */
  next(): PendingPublish | undefined {
    const pending = this.#waiting.first();
    if (pending === undefined || pending.bytes > this.#roomBytes || this.#room <= 0) return undefined;
    this.#waiting.drop();
    this.#enter(pending);
    return pending;
  }

  /** Moves what some gathering gives up now into the window, or undefined if none does. */
  nextTaken(): Taken | undefined {
    for (const gathering of this.#gathered) {
      const taken = gathering.take(this.#room, this.#roomBytes);
      if (gathering.isEmpty) this.#gathered.delete(gathering);
      if (taken.messages.length === 0) continue;
      for (const pending of taken.messages) this.#enter(pending);
      return taken;
    }
    return undefined;
  }

  /** What waits in it goes one by one from now on. */
  refuse(gathering: Gathering): void {
    if (gathering.refused) return;
    gathering.refused = true;
    this.#gathered.delete(gathering);
    for (const pending of gathering.takeAll()) {
      pending.gathering = undefined;
      this.#waiting.add(pending);
    }
  }

  /** Another server may take batches. */
  forgetRefusals(): void {
    for (const gatherings of Object.values(this.#gatherings))
      for (const gathering of gatherings.values()) gathering.refused = false;
  }

  /** The publish in flight that `token` names. */
  sent(token: number): PendingPublish | undefined {
    return this.#sent.get(token);
  }

  /** All that `test` picks, in order, those in flight first; a copy, so the caller may remove them. */
  pick(test: (pending: PendingPublish) => boolean): PendingPublish[] {
    const picked: PendingPublish[] = [];
    for (const pending of this.#sent.values()) if (test(pending)) picked.push(pending);
    for (const pending of this.#waiting) if (test(pending)) picked.push(pending);
    for (const { waiting } of this.#gathered) {
      for (const pending of waiting) if (test(pending)) picked.push(pending);
    }
    return picked;
  }

  /** Takes it out, wherever it is; false if that was done before. */
  remove(pending: PendingPublish): boolean {
    if (pending.settled) return false;
    pending.settled = true;
    const { gathering } = pending;
    if (this.#sent.delete(pending.token)) {
      this.#bytes -= pending.bytes;
      if (pending.batch === undefined) gathering?.singleEnded();
    } else {
      this.#waitingCount--;
      gathering?.gaveUp();
    }
    return true;
  }

  get #room(): number {
    return this.#maxMessages - this.#sent.size;
  }

  /** One larger than the whole window goes when nothing else is in flight. */
  get #roomBytes(): number {
    return this.#sent.size === 0 ? Number.POSITIVE_INFINITY : this.#maxBytes - this.#bytes;
  }

  #enter(pending: PendingPublish): void {
    this.#waitingCount--;
    pending.token = this.#nextToken++;
    this.#sent.set(pending.token, pending);
    this.#bytes += pending.bytes;
  }
}
