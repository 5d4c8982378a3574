/** A world of faults as those who strike it see it: real processes on this machine, an observer, and what they wrote down. */
import type { Bus } from "../../src/bus/bus.ts";
import type { Failpoint } from "../../src/failpoints/failpoints.ts";
import type { Machine } from "../support/network.ts";
import type { PrivateDisk } from "../support/private-disk.ts";
import type { TcpProxy } from "../support/proxy.ts";
import type { Entry, Evicted } from "./history.ts";

/**
 * `server`: one nats-server of the harness. `node`: a master with its embedded one. `cluster`: three with replicas 3. `network`:
 * nodes in network namespaces. `small-disk`: the store is on a small file system.
 */
export type WorldKind = "server" | "node" | "cluster" | "network" | "small-disk";

/** A process of the world that is started again and again, under one name. */
export interface Member {
  readonly name: string;
  /** Of the process that runs, or ran last. */
  readonly pid: number;
  readonly alive: boolean;
  signal(signal: NodeJS.Signals): void;
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>;
  /** SIGTERM; resolves with the exit code, or the signal's name. */
  stop(): Promise<number | string>;
  /** Starts it again, with the same home or store; resolves when it is ready. */
  start(environment?: Readonly<Record<string, string>>): Promise<void>;
}

/** A dispatcher or a host. */
export interface NodeMember extends Member {
  readonly hostId: string;
  /** What this start wrote to stderr. */
  log(): string;
  /** Gives the life that runs an order for its failpoints (src/failpoints). Resolves with that life's pid. */
  order(text: string): Promise<number>;
  /** The life of that pid ended by itself before it was ready, since no swarm was there. */
  foundNoBroker(pid: number): boolean;
}

export interface BrokerMember extends Member {
  readonly url: string;
  readonly dir: string;
}

export interface World {
  readonly kind: WorldKind;
  readonly dir: string;
  readonly brokers: readonly BrokerMember[];
  /** The node that started the broker, in a world of kind `node`: a dispatcher and a host besides the others. */
  readonly master: NodeMember | undefined;
  readonly dispatchers: readonly NodeMember[];
  readonly hosts: readonly NodeMember[];
  /** Between a member and the brokers, by its name; `client` is that of the load. None where nothing stands between. */
  readonly proxies: ReadonlyMap<string, TcpProxy>;
  /** The machine of each member, by its name, in a world of kind `network`. */
  readonly machines: ReadonlyMap<string, Machine>;
  /** What the store is on, in a world of kind `small-disk`. */
  readonly disk: PrivateDisk | undefined;
  /** The observer's own connection, which rides out what strikes the brokers. */
  readonly bus: Bus;
  record(entry: Entry): void;
  /** How often the place was passed so far, over all processes of the world, or by `member` in all its lives. */
  passed(name: Failpoint, member?: Member): number;
  /** Hosts that dispatchers put out of the rotation so far, as their logs say. */
  readonly evictions: readonly Evicted[];
  /** Results that the observer has seen so far. */
  readonly results: number;
  /** Ids of the tasks that this life of the host has begun and not ended. */
  running(host: NodeMember): readonly string[];
  /** Whether the newest roster of every lane that has agents names the host in its present life. */
  inRotation(hostId: string): boolean;
  /**
   * Runs `work` with one of `members` that runs and that no other strike has, chosen at random; waits for one. So strikes that
   * overlap do not get into each other's way.
   */
  take<M extends Member>(
    members: readonly M[],
    random: () => number,
    work: (member: M) => Promise<void>,
  ): Promise<void>;
  /** Waits until `condition` holds. The bound is only there to end what hangs. */
  until(what: string, condition: () => boolean | Promise<boolean>): Promise<void>;
}
