/**
 * Asks hosts that a roster names, and that were never heard, to be heard at once: a dispatcher that starts knows nobody, and
 * heartbeats come once a second.
 *
 * 1. Who answers is heard in a moment. Where nobody listens, nobody is waited for: who was there is gone, or cut off and heard when
 *    it is back. It keeps its place in the roster, and what it may still run is left alone, until it had time enough to be heard.
 * 2. Each is asked once between two losses of the connection.
 */
import type { Bus } from "../../bus/bus.ts";
import { VgasError } from "../../protocols/errors.ts";
import type { Names } from "../../protocols/subjects.ts";

/** Who listens and does not answer is busy: its heartbeat comes within this by itself. */
const ASK_MS = 1_000;
const EMPTY = new Uint8Array(0);

export interface RollCallOptions {
  readonly bus: Bus;
  readonly names: Names;
  /** Nobody listens at a host that was asked about. */
  readonly onAbsent: () => void;
}

export class RollCall {
  readonly #options: RollCallOptions;
  /** Hosts that were asked, and whether nobody listened there. */
  #asked = new Map<string, boolean>();

  constructor(options: RollCallOptions) {
    this.#options = options;
  }

  /** Whether nobody is known to listen at `host`. It is asked if it was not. */
  isAbsent(host: string): boolean {
    const absent = this.#asked.get(host);
    if (absent !== undefined) return absent;
    this.#asked.set(host, false);
    void this.#ask(host, this.#asked);
    return false;
  }

  /** The connection was lost: what was found before it says nothing. */
  forget(): void {
    this.#asked = new Map();
  }

  async #ask(host: string, asked: Map<string, boolean>): Promise<void> {
    const { bus, names, onAbsent } = this.#options;
    try {
      await bus.request("host.beat", names.host(host, "beat"), EMPTY, { timeoutMs: ASK_MS });
    } catch (error) {
      if (!(error instanceof VgasError && error.code === "UNDELIVERABLE")) return;
      asked.set(host, true);
      if (asked === this.#asked) onAbsent();
    }
  }
}
