/** A world of faults as those who strike it see it: real processes on this machine, an observer, and what they wrote down. */
import type { Bus } from "../../src/bus/bus.ts";
import type { Failpoint } from "../../src/failpoints/failpoints.ts";
import type { Entry } from "./history.ts";

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
}

export interface BrokerMember extends Member {
  readonly url: string;
  readonly dir: string;
}

export interface World {
  readonly kind: WorldKind;
  readonly dir: string;
  readonly brokers: readonly BrokerMember[];
  readonly dispatchers: readonly NodeMember[];
  readonly hosts: readonly NodeMember[];
  /** The observer's own connection, which rides out what strikes the brokers. */
  readonly bus: Bus;
  record(entry: Entry): void;
  /** How often the place was passed so far, over all processes of the world. */
  passed(name: Failpoint): number;
  /** Waits until `condition` holds. The bound is only there to end what hangs. */
  until(what: string, condition: () => boolean | Promise<boolean>): Promise<void>;
}
