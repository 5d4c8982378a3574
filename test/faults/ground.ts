/** What a kind of world stands on: its brokers, and how its nodes and clients reach them. */
import type { ConnectOptions } from "../../src/bus/connection.ts";
import type { ClientOptions } from "../../src/client/connect-to-swarm.ts";
import { BIN } from "../support/node.ts";
import { cluster } from "./grounds/cluster.ts";
import { network } from "./grounds/network.ts";
import { node } from "./grounds/node.ts";
import { server } from "./grounds/server.ts";
import { smallDisk } from "./grounds/small-disk.ts";
import type { Watcher } from "./member.ts";
import type { BrokerMember, NodeMember, World, WorldKind } from "./world.ts";

/** How a dispatcher or a host is started. */
export interface NodeStart {
  /** `up` or `join` with what names the swarm; the rest is added. */
  readonly args: readonly string[];
  /** The command line that runs another one where it is to run; without it on this machine. */
  enter?(argv: readonly string[]): readonly string[];
}

export interface Ground {
  readonly brokers: readonly BrokerMember[];
  /** The node that started the broker, where there is one. */
  readonly master: NodeMember | undefined;
  readonly proxies?: World["proxies"];
  readonly machines?: World["machines"];
  readonly disk?: World["disk"];
  node(name: string, role: "dispatcher" | "host"): Promise<NodeStart>;
  /** For the observer's own connection. */
  observer(): Promise<Omit<ConnectOptions, "name">>;
  /** For a client: plain data. */
  client(): ClientOptions;
  close(): Promise<void>;
}

/** What a ground is made with. */
export interface Site {
  readonly dir: string;
  readonly watcher: Watcher;
  /** Flags of a node that runs agents. */
  readonly agents: readonly string[];
  /** File for the log of a member. */
  logOf(name: string): string;
  /** A node, not started yet. */
  makeNode(name: string, role: "dispatcher" | "host" | "node", start: NodeStart, home: string): NodeMember;
}

/** Those that this harness has; further ones add themselves here. */
export const GROUNDS: { [Kind in WorldKind]?: (site: Site) => Promise<Ground> } = {
  server,
  node,
  cluster,
  network,
  "small-disk": smallDisk,
};

/** The command line of a node. */
export function nodeArgv({ args, enter = (argv) => argv }: NodeStart, home: string): readonly string[] {
  const common = ["--http-port", "0", "--home", home, "--log-level", "info", "--json"];
  return enter([process.execPath, BIN, ...args, ...common]);
}
