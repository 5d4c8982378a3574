/** A message as it came from the bus. Everything is read from the received bytes when it is asked for. */
import type { Msg } from "@nats-io/transport-node";

export interface BusMessage {
  readonly subject: string;
  /** A view on the received bytes; they are not reused. */
  readonly data: Uint8Array;
  /** Where an answer is wanted; untrusted: answer with `Bus.respond`. */
  readonly reply: string | undefined;
  /** NATS status such as 404 or 503, or 0. */
  readonly status: number;
  readonly statusText: string;
  header(name: string): string | undefined;
}

/** Wraps a nats.js message without decoding anything yet. */
export class NatsMessage implements BusMessage {
  readonly #message: Msg;

  constructor(message: Msg) {
    this.#message = message;
  }

  get subject(): string {
    return this.#message.subject;
  }

  get data(): Uint8Array {
    return this.#message.data;
  }

  get reply(): string | undefined {
    return this.#message.reply || undefined;
  }

  get status(): number {
    return this.#message.headers?.code ?? 0;
  }

  get statusText(): string {
    return this.#message.headers?.description ?? "";
  }

  header(name: string): string | undefined {
    return this.#message.headers?.get(name) || undefined;
  }
}
