import type { BatchKind } from "./batches.ts";
import type { Bus } from "./bus.ts";
import { jsApiFind } from "./js-api.ts";
import { isClustered } from "./leader.ts";

/**
 * Which batches a stream takes: asked at the start and after each reconnect, and none until the answer is there.
 *
 * A batch is never sent to find out. A stream that refuses it stores nothing of it, but whoever listens on its subjects would hear each
 * message twice.
 */
export class BatchedStream {
  readonly #bus: Bus;
  readonly #stream: string;
  readonly #stopListening: () => void;
  #takes: BatchKind | undefined;

  constructor(bus: Bus, stream: string) {
    this.#bus = bus;
    this.#stream = stream;
    this.#stopListening = bus.onStatus(({ type }) => {
      if (type === "disconnected") this.#takes = undefined;
      if (type === "reconnected") void this.#ask();
    });
    void this.#ask();
  }

  get takes(): BatchKind | undefined {
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
      const config: { readonly allow_atomic?: boolean; readonly allow_batched?: boolean } | undefined = info?.config;
      if (config?.allow_atomic === true) this.#takes = "atomic";
      // In a cluster what became of each is worth an answer of its own: leaders change in the middle.
      else this.#takes = config?.allow_batched === true && !isClustered(this.#bus) ? "fast" : undefined;
    } catch {
      // Without the answer, or the right to ask, each message goes by itself.
      this.#takes = undefined;
    }
  }
}
