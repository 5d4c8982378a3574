/** A link in memory: every datagram that is sent reaches every open socket, the sender's too, as multicast does. */
import type { NetworkInterfaceInfo } from "node:os";
// Loaded when the first interface is opened, which no test is to wait for.
import "bonjour-service";
import { onTestFinished } from "vitest";
import { Discovery, type DiscoveryOptions } from "../../../src/actors/discovery/discovery.ts";
import type { AllInterfaces } from "../../../src/actors/discovery/interfaces.ts";
import type { GroupSocket, Listener, Network } from "../../../src/actors/discovery/network.ts";
import type { Peer, SelfDescription } from "../../../src/protocols/discovery.ts";
import { ManualClock, turns } from "../../support/manual-clock.ts";
import { RecordingLogger } from "../../support/recording-logger.ts";

export function ipv4(address: string, netmask = "255.255.255.0", internal = false): NetworkInterfaceInfo {
  return { address, netmask, family: "IPv4", mac: "02:00:00:00:00:01", internal, cidr: null };
}

export class MemoryLink {
  readonly #listeners = new Set<Listener>();
  /** Every datagram, oldest first. */
  readonly sent: { readonly bytes: Buffer; readonly from: string }[] = [];
  /** Nothing that is sent arrives. */
  cut = false;

  /** What arrives from `from`. */
  deliver(bytes: Buffer, from: string, port = 5353): void {
    for (const listener of [...this.#listeners]) listener.message(bytes, { address: from, port });
  }

  get open(): number {
    return this.#listeners.size;
  }

  /** Every open socket fails with it. */
  fail(error: Error): void {
    for (const listener of [...this.#listeners]) listener.error(error);
  }

  join(from: string, listener: Listener): GroupSocket {
    this.#listeners.add(listener);
    return {
      send: (bytes, done) => {
        const copy = Buffer.from(bytes);
        this.sent.push({ bytes: copy, from });
        setImmediate(() => {
          if (!this.cut) this.deliver(copy, from);
          done(null);
        });
      },
      close: () => {
        this.#listeners.delete(listener);
      },
    };
  }
}

/** One machine on the link: its interfaces, and a Discovery on it. */
export class MemoryMachine implements Network {
  readonly link: MemoryLink;
  readonly logger = new RecordingLogger();
  readonly changes: Peer[] = [];
  readonly discovery: Discovery;
  /** What the system says of its interfaces; throws it if it is an error. */
  all: AllInterfaces | Error;
  /** What opening an interface fails with. */
  refuses: Error | undefined;

  constructor(
    link: MemoryLink,
    address: string,
    clock: ManualClock,
    options: Partial<DiscoveryOptions> & Pick<DiscoveryOptions, "self">,
  ) {
    this.link = link;
    this.all = { eth0: [ipv4(address)] };
    this.discovery = new Discovery({
      ...{ clock, random: () => 0.5, logger: this.logger, advertise: true, interfaces: [], network: this },
      onPeer: (peer) => this.changes.push(peer),
      ...options,
    });
  }

  interfaces(): AllInterfaces {
    if (this.all instanceof Error) throw this.all;
    return this.all;
  }

  open(on: { readonly address: string }, listener: Listener): Promise<GroupSocket> {
    return this.refuses ? Promise.reject(this.refuses) : Promise.resolve(this.link.join(on.address, listener));
  }

  get warnings(): readonly object[] {
    return this.logger.lines.filter(({ level }) => level === "warn" || level === "error");
  }

  state(id: string): string | undefined {
    return this.discovery.peers().find((peer) => peer.id === id)?.state;
  }
}

/** Lets everything inside the process arrive. */
export async function settle(): Promise<void> {
  for (let round = 0; round < 4; round++) await turns();
}

export const MASTER: SelfDescription = {
  hostId: "master",
  mode: "master",
  swarmId: "abcdefghij",
  pin: "0123456789abcdefGHIJ",
  httpPort: 8080,
  natsPort: 4222,
};
export const SLAVE: SelfDescription = { hostId: "slave", mode: "slave", httpPort: 8081 };

export async function started(
  link: MemoryLink,
  address: string,
  clock: ManualClock,
  options: Partial<DiscoveryOptions> & Pick<DiscoveryOptions, "self">,
): Promise<MemoryMachine> {
  const machine = new MemoryMachine(link, address, clock, options);
  onTestFinished(() => machine.discovery.stop());
  await machine.discovery.start();
  await settle();
  return machine;
}

/** A master and a slave that have seen each other. */
export async function pair() {
  const clock = new ManualClock();
  const link = new MemoryLink();
  const master = await started(link, "10.0.0.1", clock, { self: MASTER });
  const slave = await started(link, "10.0.0.2", clock, { self: SLAVE });
  return { clock, link, master, slave };
}
