/**
 * The connections of the HTTP port: how many there may be, and how long each may take over what it does.
 *
 * Owns the table of connections and one timer for each.
 *
 * Invariants
 * 1. A connection has one deadline at any time, also before its first byte and within its TLS handshake: nobody holds a place
 *    by being slow.
 * 2. What comes from the network leaves places for the probes of this machine.
 * 3. An error of a connection ends that connection, and nothing else.
 */
import type { Socket } from "node:net";

export interface ConnectionLimits {
  readonly all: number;
  /** Of all that come from beyond loopback. */
  readonly remote: number;
  readonly perRemoteAddress: number;
}

export class Connection {
  readonly socket: Socket;
  /** Of the peer, an IPv4 one in its own form. */
  readonly address: string;
  readonly isLoopback: boolean;
  #timer: NodeJS.Timeout | undefined;

  constructor(socket: Socket, address: string) {
    this.socket = socket;
    this.address = address;
    this.isLoopback = isLoopback(address);
  }

  /** Ends the connection in `timeoutMs`, unless it is told again or closes before. */
  deadline(timeoutMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.socket.destroy(), timeoutMs);
    this.#timer.unref();
  }

  /** For the table. */
  ended(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

export class Connections {
  readonly #limits: ConnectionLimits;
  readonly #open = new Set<Connection>();
  /** By address, without loopback. */
  readonly #remote = new Map<string, number>();
  #remotes = 0;

  constructor(limits: ConnectionLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#open.size;
  }

  /** Undefined if there is no place; the socket is closed then. */
  take(socket: Socket): Connection | undefined {
    socket.on("error", () => socket.destroy());
    const connection = new Connection(socket, addressOf(socket));
    if (!this.#hasRoom(connection)) {
      socket.destroy();
      return undefined;
    }
    this.#open.add(connection);
    this.#count(connection, 1);
    socket.once("close", () => {
      this.#open.delete(connection);
      this.#count(connection, -1);
      connection.ended();
    });
    return connection;
  }

  destroyAll(): void {
    for (const { socket } of [...this.#open]) socket.destroy();
  }

  #hasRoom({ address, isLoopback }: Connection): boolean {
    // The peer was gone before it was looked at.
    if (address === "" || this.#open.size >= this.#limits.all) return false;
    if (isLoopback) return true;
    return this.#remotes < this.#limits.remote && (this.#remote.get(address) ?? 0) < this.#limits.perRemoteAddress;
  }

  #count({ address, isLoopback }: Connection, by: 1 | -1): void {
    if (isLoopback) return;
    this.#remotes += by;
    const count = (this.#remote.get(address) ?? 0) + by;
    if (count === 0) this.#remote.delete(address);
    else this.#remote.set(address, count);
  }
}

function addressOf({ remoteAddress = "" }: Socket): string {
  return remoteAddress.startsWith("::ffff:") ? remoteAddress.slice("::ffff:".length) : remoteAddress;
}

function isLoopback(address: string): boolean {
  return address === "::1" || address.startsWith("127.");
}
