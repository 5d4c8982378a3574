/** Subscribes so that nothing a handler throws reaches nats.js, where it would close the connection for good. */
import type { Msg, NatsConnection } from "@nats-io/transport-node";
import { type BusMessage, NatsMessage } from "./message.ts";
import { callError } from "./nats-errors.ts";

export type Handler = (message: BusMessage) => void | Promise<void>;

export interface SubscribeOptions {
  /** Members of a queue group share the messages. */
  readonly queue?: string;
}

export interface Subscription {
  readonly subject: string;
  /** True once it was ended, by us or by the server. */
  readonly closed: boolean;
  unsubscribe(): void;
  /** Takes nothing new; resolves when everything that had arrived was handed over. */
  drain(): Promise<void>;
}

/** @throws VgasError INVALID, SHUTTING_DOWN */
export function openSubscription(
  connection: NatsConnection,
  subject: string,
  handler: Handler,
  options: SubscribeOptions,
  onFailure: (error: unknown) => void,
): Subscription {
  const callback = (error: Error | null, message: Msg): void => {
    // The server refused the subscription: nats.js closes it, and tells it as a status too.
    if (error !== null) return;
    try {
      const running = handler(new NatsMessage(message));
      if (running !== undefined) running.catch(onFailure);
    } catch (thrown) {
      onFailure(thrown);
    }
  };
  try {
    return new NatsSubscription(connection.subscribe(subject, { ...options, callback }));
  } catch (error) {
    throw callError(subject, error);
  }
}

class NatsSubscription implements Subscription {
  readonly #inner: ReturnType<NatsConnection["subscribe"]>;

  constructor(inner: ReturnType<NatsConnection["subscribe"]>) {
    this.#inner = inner;
  }

  get subject(): string {
    return this.#inner.getSubject();
  }

  get closed(): boolean {
    return this.#inner.isClosed();
  }

  unsubscribe(): void {
    if (!this.#inner.isClosed()) this.#inner.unsubscribe();
  }

  async drain(): Promise<void> {
    // It rejects only if the connection is gone, and then nothing more arrives.
    if (!this.#inner.isClosed()) await this.#inner.drain().catch(() => undefined);
  }
}
