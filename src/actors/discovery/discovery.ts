/**
 * Discovery: announces this node by mDNS on every usable interface, and tells which others are announced. It only locates; what is
 * found is not believed (the pin of the certificate decides), and who is alive is the heartbeat's business.
 *
 * Owns one Link per interface, the table of peers, one timer, and the telling of its charts.
 *
 * 1. Nothing that the network does or lacks throws out of here or takes the host down: one warning, state `off`, and interfaces are
 *    tried again quietly for as long as it runs.
 * 2. Interfaces are opened and closed one after the other (`#work`); what was opened after a stop is closed again.
 * 3. Strings from the network are kept, logged and told only if they have the form that ours have.
 */
import { createActor } from "xstate";
import type { Clock, Random, Timer } from "../../protocols/clock.ts";
import {
  DISCOVERY_PROTOCOL,
  type DiscoveryReport,
  isAnnounceable,
  type MdnsCandidate,
  type Peer,
  type PeerState,
  type SelfDescription,
} from "../../protocols/discovery.ts";
import type { Logger } from "../../protocols/logger.ts";
import type { ActorDefinition } from "../runtime/definition.ts";
import { ANNOUNCED_TTL_S } from "./announcement.ts";
import { Candidates, candidateOf } from "./candidates.ts";
import { Charts } from "./charts.ts";
import { keyOf, type LocalInterface, usableInterfaces } from "./interfaces.ts";
import { Link } from "./link.ts";
import { type DiscoveryEffects, type DiscoveryEvent, discoveryMachine } from "./machine.ts";
import { MDNS_PORT, type Network, systemNetwork } from "./network.ts";
import { PeerTable } from "./peers.ts";
import { type DnsPacket, readResponse, type Sighting } from "./sightings.ts";
import { TokenBucket } from "./token-bucket.ts";

export interface DiscoveryOptions {
  readonly self: SelfDescription;
  /** Without it, it only looks for others. */
  readonly advertise: boolean;
  /** Names or addresses of the interfaces to use; empty: all that are no container's and no tunnel's. */
  readonly interfaces: readonly string[];
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** A peer is new, in another state, or announces something else. */
  readonly onPeer?: (peer: Peer) => void;
  /** Default: the machine's. */
  readonly network?: Network;
  /** How long our announcement holds, seconds. Default 120. */
  readonly ttlS?: number;
}

const TICK_MS = 1_000;
/** Interfaces are looked at every so many ticks. */
const TICKS_PER_POLL = 3;
/** A goodbye that cannot be sent holds nobody up. */
const GOODBYE_MS = 1_000;
/** Questions for the rest of what was announced in parts. */
const PARTIAL = { perSecond: 4, burst: 8 };
const MAX_OWN_ADDRESSES = 64;
const HAS_OUR_ID = "has our id";

export class Discovery implements DiscoveryEffects {
  readonly #options: DiscoveryOptions;
  readonly #network: Network;
  readonly #peers: PeerTable;
  readonly #candidates = new Candidates();
  readonly #partial: TokenBucket;
  readonly #links = new Map<string, Link>();
  readonly #charts = new Charts();
  /** Addresses that we have had: an echo of ours comes from one of them. */
  readonly #ownAddresses = new Set<string>();
  #self: SelfDescription;
  #advertise: boolean;
  #chart: { stop(): void } | undefined;
  #timer: Timer | undefined;
  #ticks = 0;
  #work: Promise<void> = Promise.resolve();
  #why = "not started";
  #warned = false;
  #stopped = false;

  constructor(options: DiscoveryOptions) {
    const { clock, self, advertise, network = systemNetwork } = options;
    this.#options = options;
    this.#network = network;
    this.#self = self;
    this.#advertise = advertise;
    this.#partial = new TokenBucket(PARTIAL, clock);
    this.#peers = new PeerTable({ clock, onChange: (...change) => this.#changed(...change) });
  }

  /** What `ActorSystem.spawn` takes, once there is a bus. */
  definition(): ActorDefinition<typeof DISCOVERY_PROTOCOL, typeof discoveryMachine> {
    return { machine: discoveryMachine, protocol: DISCOVERY_PROTOCOL, scope: "node", input: this };
  }

  /** Never rejects; resolves when every interface was tried once. Works without a bus. */
  async start(): Promise<void> {
    if (this.#stopped || this.#chart !== undefined) return await this.#work;
    const chart = createActor(discoveryMachine, { input: this });
    chart.subscribe({ error: (error) => this.#options.logger.error({ error }, "The chart of discovery has failed.") });
    this.#chart = chart;
    chart.start();
    await this.#work;
  }

  /** Says goodbye and closes everything, for good. Idempotent, never rejects. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#pause();
    await this.#work;
    this.#chart?.stop();
  }

  /** What is announced from now on, where it differs from before; starts announcing, unless told otherwise. */
  announce(self: Partial<SelfDescription>, advertise = true): void {
    this.#self = { ...this.#self, ...self };
    this.#advertise = advertise;
    for (const link of this.#links.values()) {
      if (this.#announces) link.announce(this.#self);
      else void link.withdraw();
    }
    this.#tell();
  }

  /** The addresses that we announce from. */
  get addresses(): readonly string[] {
    return [...this.#links.values()].map(({ address }) => address);
  }

  peers(): readonly Peer[];
  /** Answers the actor's message. */
  peers(mail: Parameters<DiscoveryEffects["peers"]>[0]): readonly Peer[];
  peers(mail?: Parameters<DiscoveryEffects["peers"]>[0]): readonly Peer[] {
    const peers = this.#peers.list();
    mail?.reply(this.report());
    return peers;
  }

  report(): DiscoveryReport {
    const state = this.#links.size > 0 ? "on" : "off";
    return { state, ...(state === "off" && { why: this.#why }), addresses: this.addresses, peers: this.#peers.list() };
  }

  /** What somebody who dials has found of a peer. One that is not announced is remembered if it has joined. */
  mark(id: string, state: PeerState, why?: string): void {
    if (id !== this.#self.hostId) this.#peers.mark(id, state, why);
  }

  /** The masters that are announced: those now known, and whatever comes or changes later. */
  asCandidates(): { watch(onCandidate: (candidate: MdnsCandidate) => void): () => void } {
    return {
      watch: (onCandidate) => {
        const now = this.#peers.list().flatMap((each) => candidateOf(each) ?? []);
        return this.#candidates.watch(onCandidate, now);
      },
    };
  }

  live(tell: (event: DiscoveryEvent) => void): () => void {
    this.#resume();
    this.#charts.add(tell);
    return () => {
      this.#charts.delete(tell);
      if (this.#charts.none) this.#pause();
    };
  }

  get #announces(): boolean {
    return this.#advertise && isAnnounceable(this.#self.hostId) && this.#self.httpPort > 0;
  }

  #resume(): void {
    if (this.#stopped || this.#timer !== undefined) return;
    this.#why = "starting";
    this.#tell();
    this.#timer = this.#options.clock.setInterval(() => this.#tick(), TICK_MS);
    this.#queue(() => this.#followInterfaces());
  }

  #pause(): void {
    if (this.#timer === undefined) return;
    this.#options.clock.clear(this.#timer);
    this.#timer = undefined;
    this.#queue(async () => {
      await Promise.all([...this.#links.values()].map((link) => this.#withdraw(link)));
      for (const link of this.#links.values()) link.close();
      this.#links.clear();
      this.#why = "stopped";
      this.#tell();
    });
  }

  #queue(work: () => Promise<void>): void {
    this.#work = this.#work.then(work).catch((error: unknown) => {
      this.#options.logger.error({ error }, "A step of discovery has failed.");
    });
  }

  async #withdraw(link: Link): Promise<void> {
    const { clock } = this.#options;
    let timer: Timer | undefined;
    const late = new Promise<void>((resolve) => {
      timer = clock.setTimeout(resolve, GOODBYE_MS);
    });
    await Promise.race([link.withdraw(), late]);
    clock.clear(timer);
  }

  #tick(): void {
    this.#ticks += 1;
    this.#peers.expire();
    this.#tell();
    const { refreshAt } = this.#peers;
    for (const link of this.#links.values()) link.tick(refreshAt);
    if (this.#ticks % TICKS_PER_POLL === 0) this.#queue(() => this.#followInterfaces());
  }

  /** Opens what has come, closes what has gone or changed, and tries again what did not work. */
  async #followInterfaces(): Promise<void> {
    if (this.#timer === undefined) return;
    const wanted = new Map(this.#interfaces().map((each) => [keyOf(each), each]));
    for (const [key, link] of this.#links) {
      if (wanted.has(key) && !link.over) continue;
      // Its address is gone: a goodbye would come from another one.
      link.close();
      this.#links.delete(key);
    }
    let failure: unknown;
    for (const [key, each] of wanted) {
      if (this.#links.has(key)) continue;
      try {
        await this.#open(key, each);
      } catch (error) {
        failure = error;
        this.#warn(error, `mDNS does not work on ${each.name} (${each.address})`);
      }
    }
    if (wanted.size === 0) this.#warn(undefined, this.#noInterface());
    if (this.#links.size === 0) this.#why = failure === undefined ? this.#noInterface() : reason(failure);
    this.#tell();
  }

  #interfaces(): readonly LocalInterface[] {
    try {
      return usableInterfaces(this.#network.interfaces(), this.#options.interfaces);
    } catch (error) {
      this.#warn(error, "the system does not tell its network interfaces");
      return [];
    }
  }

  async #open(key: string, on: LocalInterface): Promise<void> {
    const { clock, random, ttlS = ANNOUNCED_TTL_S, logger } = this.#options;
    for (const { address } of on.addresses) {
      if (this.#ownAddresses.size < MAX_OWN_ADDRESSES) this.#ownAddresses.add(address);
    }
    const link = await Link.open({
      ...{ on, network: this.#network, clock, random, ttlS, hostId: this.#self.hostId },
      isKnown: (address) => this.#peers.isKnown(address),
      response: (packet, source) => this.#heard(packet, source),
      trouble: (error) => {
        this.#links.delete(key);
        if (this.#links.size === 0) this.#why = reason(error);
        this.#warn(error, `mDNS no longer works on ${on.name} (${on.address})`);
        this.#tell();
      },
    });
    if (this.#timer === undefined || link.over) {
      link.close();
      return;
    }
    this.#links.set(key, link);
    logger.debug({ interface: on.name, address: on.address }, "mDNS works on an interface.");
    if (this.#announces) link.announce(this.#self);
  }

  #heard(packet: DnsPacket, source: string): void {
    const { sightings, goodbyes, partial } = readResponse(packet, source);
    for (const sighting of sightings) {
      if (sighting.text.id !== this.#self.hostId) this.#peers.sight(sighting);
      else if (!this.#isEcho(sighting)) this.#contest(sighting);
    }
    for (const id of goodbyes) {
      if (id !== this.#self.hostId) {
        this.#peers.goodbye(id);
        // Whoever is alive after a goodbye, forged perhaps, says so.
        for (const link of this.#links.values()) link.askBy(0);
      } else if (!this.#ownAddresses.has(source)) {
        for (const link of this.#links.values()) link.insist();
      }
    }
    for (const id of partial) {
      if (id === this.#self.hostId || !this.#partial.take()) continue;
      for (const link of this.#links.values()) link.askFor(id);
    }
    this.#tell();
  }

  /** Our own announcement, come back by the loop or by a reflector. */
  #isEcho({ source, addresses }: Sighting): boolean {
    return [source, ...addresses].some((address) => this.#ownAddresses.has(address));
  }

  #contest(sighting: Sighting): void {
    const { hostId } = this.#self;
    const first = this.#peers.state(hostId) === undefined;
    this.#peers.sight(sighting);
    this.#peers.mark(hostId, "rejected", HAS_OUR_ID);
    if (first && this.#peers.state(hostId) !== undefined) {
      const message =
        "Another machine announces this node's id: is its home a copy of ours? It is not let in as this node.";
      this.#options.logger.warn({ hostId, address: sighting.source }, message);
    }
  }

  #changed(peer: Peer, announced: boolean): void {
    const { onPeer, logger } = this.#options;
    const candidate = peer.id === this.#self.hostId ? undefined : candidateOf(peer);
    try {
      onPeer?.(peer);
      // What the network says makes a candidate, not how far we have come with it.
      if (candidate !== undefined && announced) this.#candidates.emit(candidate);
    } catch (error) {
      logger.error({ error }, "A listener to discovery threw.");
    }
  }

  /** Tells the charts what is true now. */
  #tell(): void {
    const { hostId } = this.#self;
    const on = this.#links.size > 0;
    const twin = this.#peers.state(hostId);
    this.#charts.update({
      on,
      why: on ? "" : this.#why,
      announced: this.#announces,
      contested: twin !== undefined && twin !== "lost",
      found: this.#peers.hasOthers(hostId),
    });
  }

  #noInterface(): string {
    const { interfaces } = this.#options;
    return interfaces.length > 0
      ? `there is no interface with an IPv4 address among ${interfaces.join(", ")}`
      : "there is no network interface with an IPv4 address, apart from those of containers and tunnels";
  }

  /** Once: what does not work is tried again for ever. */
  #warn(error: unknown, what: string): void {
    const { logger } = this.#options;
    const fields = { ...(error !== undefined && { why: reason(error) }) };
    const message = `Discovery: ${what}. Nodes there are not found by themselves: name them with --peer HOST:PORT, or silence this with --no-mdns.`;
    if (this.#warned) logger.debug(fields, message);
    else logger.warn(fields, message);
    this.#warned = true;
  }
}

function reason(error: unknown): string {
  const { code, message } = Object(error) as { readonly code?: unknown; readonly message?: unknown };
  if (code === "EADDRINUSE") return `EADDRINUSE: another program holds UDP port ${MDNS_PORT} for itself`;
  return typeof code === "string" ? code : String(message ?? error);
}
