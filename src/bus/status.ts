/** What happens to a connection: every status event of nats.js as one discriminated union, and its one log line. */
import { PermissionViolationError, type Status } from "@nats-io/transport-node";
import type { Logger } from "../protocols/logger.ts";
import { connectionError } from "./nats-errors.ts";

export type BusStatus =
  | { readonly type: "disconnected" }
  | { readonly type: "reconnecting" }
  /** `restarted`: another server process answers than before, so nothing in its memory survived. */
  | { readonly type: "reconnected"; readonly serverId: string; readonly restarted: boolean }
  /** The server refused a publish, or ended a subscription: the credential does not open that subject. */
  | {
      readonly type: "denied";
      readonly operation: "publish" | "subscribe";
      readonly subject: string;
      readonly queue: string | undefined;
    }
  | { readonly type: "error"; readonly error: Error }
  /** Pings went unanswered; a disconnect follows. */
  | { readonly type: "stale" }
  /** The server is going to stop and asks its clients to leave. */
  | { readonly type: "lame-duck"; readonly server: string }
  | { readonly type: "slow-consumer"; readonly subject: string; readonly pending: number }
  /** The cluster's servers changed. */
  | { readonly type: "servers"; readonly added: readonly string[]; readonly deleted: readonly string[] }
  /** For good. `error` if nobody asked for it. */
  | { readonly type: "closed"; readonly error: Error | undefined };

/** Distinct denials that are logged; a client that is refused in a loop must not fill the log. */
const MAX_DENIALS_LOGGED = 1_000;

/** The union's form of a nats.js event; undefined for what says nothing, and for what the bus reports itself. */
export function toBusStatus(status: Status): BusStatus | undefined {
  switch (status.type) {
    case "disconnect":
      return { type: "disconnected" };
    case "reconnecting":
      return { type: "reconnecting" };
    case "staleConnection":
      return { type: "stale" };
    case "ldm":
      return { type: "lame-duck", server: status.server };
    case "slowConsumer":
      return { type: "slow-consumer", subject: status.sub.getSubject(), pending: status.pending };
    case "update": {
      const { added = [], deleted = [] } = status;
      // Told at each connection, mostly without news.
      return added.length + deleted.length > 0 ? { type: "servers", added, deleted } : undefined;
    }
    case "error":
      return status.error instanceof PermissionViolationError
        ? {
            type: "denied",
            operation: status.error.operation === "subscription" ? "subscribe" : "publish",
            subject: status.error.subject,
            queue: status.error.queue,
          }
        : { type: "error", error: connectionError(status.error) };
    // The bus knows the server's identity and why it closed, and reports these two itself.
    case "reconnect":
    case "close":
    case "ping":
    case "forceReconnect":
      return undefined;
  }
}

/** Writes each event once: attempts to reconnect and their error once per outage, denials once per subject. */
export class StatusLog {
  readonly #logger: Logger;
  readonly #denials = new Set<string>();
  #reconnecting = false;
  #lastError = "";

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  write(status: BusStatus): void {
    switch (status.type) {
      case "disconnected":
        this.#logger.warn({}, "lost the connection to NATS");
        return;
      case "reconnecting":
        if (!this.#reconnecting) this.#logger.info({}, "reconnecting to NATS");
        this.#reconnecting = true;
        return;
      case "reconnected":
        this.#reconnecting = false;
        this.#lastError = "";
        this.#logger.info({ serverId: status.serverId, restarted: status.restarted }, "connected to NATS again");
        return;
      case "denied": {
        const { operation, subject, queue } = status;
        const key = `${operation} ${subject} ${queue ?? ""}`;
        if (this.#denials.has(key) || this.#denials.size >= MAX_DENIALS_LOGGED) return;
        this.#denials.add(key);
        this.#logger.error({ operation, subject, queue }, "NATS refused: the credential does not open that subject");
        return;
      }
      case "error":
        if (status.error.message !== this.#lastError)
          this.#logger.error({ err: status.error }, "NATS reported an error");
        this.#lastError = status.error.message;
        return;
      case "stale":
        this.#logger.warn({}, "NATS does not answer pings");
        return;
      case "lame-duck":
        this.#logger.warn({ server: status.server }, "the NATS server is about to stop");
        return;
      case "slow-consumer":
        this.#logger.warn({ subject: status.subject, pending: status.pending }, "messages wait to be handled");
        return;
      case "servers":
        this.#logger.debug({ added: status.added, deleted: status.deleted }, "the servers of the NATS cluster changed");
        return;
      case "closed":
        if (status.error === undefined) this.#logger.debug({}, "closed the connection to NATS");
        else this.#logger.error({ err: status.error }, "the connection to NATS is closed for good");
        return;
    }
  }
}
