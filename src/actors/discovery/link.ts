/**
 * mDNS on one interface: bonjour-service over a socket of ours, behind the screen.
 *
 * bonjour-service encodes, decodes and answers questions. It gets a socket that is open already, because it throws what goes wrong
 * with one of its own; and it is not let announce, because it would announce the addresses of all interfaces, and says on the console
 * that a name is taken.
 *
 * 1. Nothing throws into the socket's events, whatever the packet.
 * 2. `trouble` is told once; nothing is sent or heard after it or after `close`.
 */
import { EventEmitter } from "node:events";
import type { Bonjour } from "bonjour-service";
import type { Clock, Random } from "../../protocols/clock.ts";
import { SERVICE_DOMAIN, type SelfDescription } from "../../protocols/discovery.ts";
import { announcementOf, type ServiceClass } from "./announcement.ts";
import { keyOf, type LocalInterface } from "./interfaces.ts";
import type { GroupSocket, Network } from "./network.ts";
import { Screen } from "./screen.ts";
import type { DnsPacket } from "./sightings.ts";

export interface LinkOptions {
  readonly on: LocalInterface;
  readonly hostId: string;
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly ttlS: number;
  /** See Screen. */
  readonly isKnown: (address: string) => boolean;
  readonly response: (packet: DnsPacket, source: string) => void;
  readonly trouble: (error: Error) => void;
}

type Records = ReturnType<typeof announcementOf>;

/** The parts of bonjour-service's server that its types keep private. */
interface MdnsServer {
  register(records: Records): void;
  unregister(records: Records): void;
  readonly mdns: EventEmitter & {
    query(name: string, type: string, done: (error?: Error | null) => void): void;
    respond(answers: Records, done: (error?: Error | null) => void): void;
  };
}

/** RFC 6762, 8.3: announcements at growing intervals. */
const ANNOUNCEMENTS = 7;
const FIRST_INTERVAL_MS = 1_000;
/** An answer may be lost twice before a peer that is alive has expired. */
const MAX_ASK_INTERVAL_MS = 50_000;
const JITTER = 0.2;
/** Not more often than this is anything sent because somebody made us. */
const MIN_INTERVAL_MS = 1_000;

export class Link {
  readonly #options: LinkOptions;
  readonly #server: MdnsServer;
  readonly #service: ServiceClass;
  readonly #socket: EventEmitter;
  readonly #port: GroupSocket;
  #records: Records = [];
  #announcementsLeft = 0;
  #announceAt = Number.POSITIVE_INFINITY;
  #announcedAt = Number.NEGATIVE_INFINITY;
  #askAt = 0;
  #askedAt = Number.NEGATIVE_INFINITY;
  #askIntervalMs = FIRST_INTERVAL_MS;
  #over = false;

  private constructor(
    options: LinkOptions,
    parts: { bonjour: Bonjour; service: ServiceClass; port: GroupSocket; socket: EventEmitter },
  ) {
    this.#options = options;
    this.#service = parts.service;
    this.#socket = parts.socket;
    this.#port = parts.port;
    this.#server = parts.bonjour["server"];
    const { mdns } = this.#server;
    mdns.on("error", (error: Error) => this.#trouble(error));
    mdns.on("response", (packet: DnsPacket, from: { readonly address: string }) => {
      if (!this.#over) options.response(packet, from.address);
    });
    mdns.on("query", (packet: DnsPacket) => this.#heardQuestion(packet));
  }

  /** Opens the interface and asks who is there. @throws Error of the system if it cannot be opened, or nothing can be sent on it */
  static async open(options: LinkOptions): Promise<Link> {
    const { on, network, clock, hostId, isKnown } = options;
    const { Bonjour, Service } = await import("bonjour-service");
    const screen = new Screen({ on, hostId, clock, isKnown });
    const socket = new EventEmitter();
    let link: Link | undefined;
    const trouble = (error: Error): void => {
      if (link !== undefined) link.#trouble(error);
    };
    const port = await network.open(on, {
      message(bytes, from) {
        if (!screen.admits(bytes, from)) return;
        try {
          socket.emit("message", bytes, from);
        } catch {
          // A packet that a decoder or an answerer chokes on is a packet less.
        }
      },
      error: trouble,
    });
    const send = (
      ...[bytes, , , , , done]: [Buffer, number, number, number, string, (error: Error | null) => void]
    ) => {
      port.send(bytes, done);
    };
    const close = (done: () => void) => {
      port.close();
      done();
    };
    // `bind` and `multicast`: the socket is bound, and in the group.
    const given = { socket: Object.assign(socket, { send, close }), bind: false, multicast: false };
    const bonjour = new Bonjour(given as object, trouble);
    link = new Link(options, { bonjour, service: Service, port, socket });
    try {
      await link.#firstQuestion();
    } catch (error) {
      link.#end();
      throw error;
    }
    return link;
  }

  get key(): string {
    return keyOf(this.#options.on);
  }

  get address(): string {
    return this.#options.on.address;
  }

  /** Closed, or failed. */
  get over(): boolean {
    return this.#over;
  }

  /** Announces this from now on, in place of what was announced before. */
  announce(self: SelfDescription): void {
    const { on, ttlS } = this.#options;
    this.#server.unregister(this.#records);
    this.#records = announcementOf(this.#service, self, on, ttlS);
    this.#server.register(this.#records);
    this.#announcementsLeft = ANNOUNCEMENTS;
    this.#announceNow();
  }

  /** Says goodbye; resolves when that was sent, or could not be. */
  async withdraw(): Promise<void> {
    const records = this.#records;
    this.#records = [];
    this.#announceAt = Number.POSITIVE_INFINITY;
    if (records.length === 0 || this.#over) return;
    this.#server.unregister(records);
    const goodbyes = records
      // Others still announce the type.
      .filter(({ name, type }) => !(type === "PTR" && name !== SERVICE_DOMAIN))
      .map((record) => ({ ...record, ttl: 0 }));
    await new Promise<void>((resolve) => {
      this.#server.mdns.respond(goodbyes, () => resolve());
    });
  }

  /** Announces again soon: somebody has said goodbye in our name. */
  insist(): void {
    if (this.#records.length === 0) return;
    this.#announceAt = Math.min(this.#announceAt, this.#announcedAt + MIN_INTERVAL_MS);
    this.#announcementsLeft = Math.max(1, this.#announcementsLeft);
    this.tick(Number.POSITIVE_INFINITY);
  }

  /** Asks again soon; `atMs` on the monotonic clock. */
  askBy(atMs: number): void {
    this.#askAt = Math.min(this.#askAt, Math.max(atMs, this.#askedAt + MIN_INTERVAL_MS));
  }

  /** Asks for everything about one node. */
  askFor(id: string): void {
    this.#query(`${id}.${SERVICE_DOMAIN}`, "ANY");
  }

  /** Sends what is due. `refreshAt`: when a peer is to be asked for again. */
  tick(refreshAt: number): void {
    if (this.#over) return;
    const now = this.#options.clock.monotonic();
    this.askBy(refreshAt);
    if (now >= this.#announceAt) this.#announceNow();
    if (now >= this.#askAt) {
      this.#askIntervalMs = Math.min(this.#askIntervalMs * 2, MAX_ASK_INTERVAL_MS);
      this.#asked();
      this.#query(SERVICE_DOMAIN, "PTR");
    }
  }

  /** Nothing is sent or heard any more; a goodbye is `withdraw`'s business. */
  close(): void {
    this.#end();
  }

  #announceNow(): void {
    const { clock } = this.#options;
    this.#announcedAt = clock.monotonic();
    this.#announcementsLeft -= 1;
    const intervalMs = FIRST_INTERVAL_MS * 2 ** (ANNOUNCEMENTS - 1 - this.#announcementsLeft);
    this.#announceAt = this.#announcementsLeft > 0 ? this.#announcedAt + intervalMs : Number.POSITIVE_INFINITY;
    this.#server.mdns.respond(this.#records, (error) => this.#sent(error));
  }

  #firstQuestion(): Promise<void> {
    this.#asked();
    return new Promise((resolve, reject) => {
      this.#server.mdns.query(SERVICE_DOMAIN, "PTR", (error) => (error ? reject(error) : resolve()));
    });
  }

  #query(name: string, type: string): void {
    if (!this.#over) this.#server.mdns.query(name, type, (error) => this.#sent(error));
  }

  /** RFC 6762, 7.3: what somebody else has asked need not be asked again; all of us hear the answers. */
  #heardQuestion({ questions }: DnsPacket): void {
    if (questions.some(({ name, type }) => type === "PTR" && name.toLowerCase() === SERVICE_DOMAIN)) this.#asked();
  }

  #asked(): void {
    const { clock, random } = this.#options;
    this.#askedAt = clock.monotonic();
    this.#askAt = this.#askedAt + this.#askIntervalMs * (1 - JITTER / 2 + JITTER * random());
  }

  #sent(error: Error | null | undefined): void {
    if (error) this.#trouble(error);
  }

  #trouble(error: Error): void {
    if (this.#over) return;
    this.#end();
    this.#options.trouble(error);
  }

  #end(): void {
    this.#over = true;
    this.#port.close();
    this.#socket.removeAllListeners("message");
  }
}
