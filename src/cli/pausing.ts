/** What `vgas pause` and `vgas resume` share. */
import type { Command } from "commander";
import { KvBucket } from "../bus/kv.ts";
import { Publisher } from "../bus/publisher.ts";
import { checkLane } from "../client/task-message.ts";
import type { LaneName } from "../protocols/subjects.ts";
import type { Cli } from "./cli.ts";
import { addPoolOption, addSwarmOptions, type SwarmFlags } from "./options.ts";
import { commandConfig, type Swarm, withSwarm } from "./swarm.ts";

export function laneCommand(program: Command, name: string): Command {
  return addPoolOption(addSwarmOptions(program.command(name))).argument("<kind>", "the kind, such as echo");
}

export function laneOf(cli: Cli, kind: string, flags: SwarmFlags): LaneName {
  return checkLane({ pool: commandConfig(cli, flags).pool, kind });
}

export async function withControl<T>(
  cli: Cli,
  flags: SwarmFlags,
  use: (bucket: KvBucket, swarm: Swarm) => Promise<T>,
): Promise<T> {
  return await withSwarm(cli, flags, "admin", async (swarm) => {
    const publisher = new Publisher(swarm.bus);
    try {
      return await use(new KvBucket(swarm.bus, publisher, swarm.names.buckets.control), swarm);
    } finally {
      publisher.close();
    }
  });
}
