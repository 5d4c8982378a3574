import type { Bus } from "./bus.ts";
import { jsApiFind } from "./js-api.ts";

/**
 * Whether a stream takes atomic batches: asked at the start and after each reconnect, and no until the answer is there.
 *
 * A batch is never sent to find out. A stream that refuses it stores nothing of it, but whoever listens on its subjects would hear each
 * message twice.
 */
export class BatchedStream {
  readonly #bus: Bus;
  readonly #stream: string;
  readonly #stopListening: () => void;
  #takes = false;

  constructor(bus: Bus, stream: string) {
    this.#bus = bus;
    this.#stream = stream;
    this.#stopListening = bus.onStatus(({ type }) => {
      if (type === "disconnected") this.#takes = false;
      if (type === "reconnected") void this.#ask();
    });
    void this.#ask();
  }

  get takes(): boolean {
    return this.#takes;
  }

  close(): void {
    this.#stopListening();
  }

  async #ask(): Promise<void> {
    try {
      const info = await jsApiFind(this.#bus, `reading how ${this.#stream} stores`, (manager) =>
        manager.streams.info(this.#stream),
      );
      this.#takes = info?.config.allow_atomic === true;
    } catch {
      // Without the answer, or the right to ask, each message goes by itself.
      this.#takes = false;
    }
  }
}
