/** A message taken from a consumer. What the server says about the delivery is read when it is first asked for. */
import type { BusMessage } from "./bus.ts";
import { type Delivery, parseDelivery } from "./delivery.ts";

export class PulledMessage {
  readonly #message: BusMessage;
  /** Opaque subject that acknowledges this delivery; see `ackTask`. */
  readonly ack: string;
  #delivery: Delivery | undefined;

  constructor(message: BusMessage, ack: string) {
    this.#message = message;
    this.ack = ack;
  }

  get subject(): string {
    return this.#message.subject;
  }

  get data(): Uint8Array {
    return this.#message.data;
  }

  /** Sequence in the stream. */
  get sequence(): number {
    return this.#info.sequence;
  }

  /** 1 for the first delivery. Not reliable over a restart of the server: it may be lower than what happened. */
  get deliveries(): number {
    return this.#info.deliveries;
  }

  /** When the message was stored, ms since the epoch. */
  get timestampMs(): number {
    return this.#info.timestampMs;
  }

  /** Messages that wait behind this one. */
  get pending(): number {
    return this.#info.pending;
  }

  header(name: string): string | undefined {
    return this.#message.header(name);
  }

  get #info(): Delivery {
    this.#delivery ??= parseDelivery(this.ack);
    return this.#delivery;
  }
}
