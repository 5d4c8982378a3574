/** A bus without a server: what is published is kept, and the test says what comes back. For timers of minutes, with fake timers. */
import type { Bus, BusMessage } from "../../src/bus/bus.ts";
import type { BusStatus } from "../../src/bus/status.ts";
import type { Handler } from "../../src/bus/subscription.ts";

const EMPTY = new Uint8Array(0);

interface Answer {
  readonly status?: number;
  readonly data?: Uint8Array;
  /** Makes it a delivery, to be acknowledged there. */
  readonly ack?: string;
}

interface Published {
  readonly subject: string;
  readonly data: Uint8Array;
  readonly reply: string;
}

export class FakeBus {
  readonly published: Published[] = [];
  readonly native: { readonly info: { readonly cluster?: string } };
  state = "connected";
  readonly #handlers = new Map<string, Handler>();
  readonly #listeners = new Set<(status: BusStatus) => void>();
  #inboxes = 0;

  /** `cluster`: the server is one of several. */
  constructor({ cluster = false } = {}) {
    this.native = { info: cluster ? { cluster: "c" } : {} };
  }

  get bus(): Bus {
    return this as unknown as Bus;
  }

  inbox(): string {
    return `_INBOX.fake.${this.#inboxes++}`;
  }

  subscribeNow(subject: string, handler: Handler) {
    this.#handlers.set(subject, handler);
    const unsubscribe = (): void => void this.#handlers.delete(subject);
    return { subject, closed: false, unsubscribe, drain: async () => unsubscribe() };
  }

  publish(subject: string, data: Uint8Array, { reply = "" }: { readonly reply?: string } = {}): void {
    this.published.push({ subject, data, reply });
  }

  onStatus(listener: (status: BusStatus) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  reportFailure(_subject: string, error: unknown): void {
    throw error;
  }

  /** What the connection says of itself. */
  say(status: BusStatus): void {
    for (const listener of this.#listeners) listener(status);
  }

  /** Comes to the inbox that `reply` is of. */
  answer(reply: string, { status = 0, data = EMPTY, ack }: Answer): void {
    const message: BusMessage = {
      ...{ subject: reply, data, reply: ack, status, statusText: "" },
      header: () => undefined,
    };
    for (const [subject, handler] of this.#handlers)
      if (/\.[*>]$/.test(subject) && reply.startsWith(subject.slice(0, -1))) void handler(message);
  }

  /** Answers each publish that has come since the last call, and says how many there were. */
  answerAll(answer: Answer): number {
    const all = this.published.splice(0);
    for (const { reply } of all) this.answer(reply, answer);
    return all.length;
  }
}
