/** A nats-server of a world, with a store and a port that stay the same for all its lives. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { findNatsServer } from "../support/nats-binary.ts";
import { ChildMember, type Watcher } from "./member.ts";
import type { BrokerMember } from "./world.ts";

export interface BrokerOptions {
  readonly name: string;
  /** Its configuration and its store. */
  readonly dir: string;
  readonly logFile: string;
  readonly watcher: Watcher;
  readonly port: number;
  /** Default: loopback. */
  readonly address?: string;
  /** Where the store is. Default: in `dir`. */
  readonly store?: string;
  /** Appended to its configuration. */
  readonly config?: string;
  /** The command line that runs another one where it is to run. */
  enter?(argv: readonly string[]): readonly string[];
}

export class NatsBroker extends ChildMember implements BrokerMember {
  readonly dir: string;
  readonly url: string;

  constructor(options: BrokerOptions) {
    const { dir, address = "127.0.0.1", port, enter = (argv) => argv } = options;
    const file = join(dir, "nats.conf");
    super({
      ...{ name: options.name, role: "broker", logFile: options.logFile, watcher: options.watcher },
      argv: () => {
        mkdirSync(dir, { recursive: true });
        writeFileSync(file, configuration(options, address));
        return enter([findNatsServer(), "-c", file]);
      },
      ready: (line) => line.includes("Server is ready"),
    });
    this.dir = dir;
    this.url = `nats://${address}:${port}`;
  }
}

function configuration({ dir, store = join(dir, "store"), port, config = "" }: BrokerOptions, address: string): string {
  return [
    `listen: "${address}:${port}"`,
    // In lame duck it lets its clients go one by one, a second between them.
    "lame_duck_grace_period: 500ms, lame_duck_duration: 30s",
    `jetstream { store_dir: ${JSON.stringify(store)}, max_file_store: 16TB, max_memory_store: 64MB, strict: true }`,
    config,
  ].join("\n");
}
