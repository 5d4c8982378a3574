/** Logs what happens to a connection and tells whoever listens. A listener's failure is logged and goes no further. */
import type { Logger } from "../protocols/logger.ts";
import { type BusStatus, StatusLog } from "./status.ts";

export class StatusHub {
  readonly #logger: Logger;
  readonly #log: StatusLog;
  readonly #listeners = new Set<(status: BusStatus) => void>();

  constructor(logger: Logger) {
    this.#logger = logger;
    this.#log = new StatusLog(logger);
  }

  listen(listener: (status: BusStatus) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Resolves at the next status of one of these types. */
  next(...types: BusStatus["type"][]): Promise<void> {
    return new Promise((resolve) => {
      const stop = this.listen((status) => {
        if (!types.includes(status.type)) return;
        stop();
        resolve();
      });
    });
  }

  tell(status: BusStatus): void {
    this.#log.write(status);
    for (const listener of [...this.#listeners]) {
      try {
        listener(status);
      } catch (error) {
        this.#logger.error({ err: error, status: status.type }, "a listener to the connection's status failed");
      }
    }
  }
}
