/** What commands that let machines in, or keep them out, work on: the home of the swarm's master, whether its node runs or not. */
import type { Command } from "commander";
import { type Home, openHome } from "../bus/home/home.ts";
import { readMembership } from "../bus/home/membership.ts";
import { resolveConfig } from "../config.ts";
import { VgasError } from "../protocols/errors.ts";
import type { Cli } from "./cli.ts";
import { addHomeOption } from "./options.ts";

export interface HomeFlags {
  readonly home?: string;
  readonly json?: boolean;
}

/** @throws VgasError CONFIG if the swarm is on an external NATS system, or is led by another machine */
export async function openMastersHome(cli: Cli, flags: HomeFlags): Promise<Home> {
  const config = resolveConfig({ home: flags.home }, cli.env);
  if (config.natsUrl !== undefined) {
    const message = `the swarm is on ${config.natsUrl}, an external NATS system, which lets nodes in itself`;
    throw new VgasError("CONFIG", `${message}: see docs/operations.md`);
  }
  const home = await openHome(config.home);
  const membership = await readMembership(home.layout);
  if (membership === undefined) return home;
  const message = `the home ${home.dir} is a member of the swarm ${membership.swarmId}, which another machine leads`;
  throw new VgasError("CONFIG", `${message}: give this command there (or the --home of the master)`);
}

/** A home is of one swarm: that of the node that it leads it with, or that which it joins. @throws VgasError CONFIG */
export async function refuseLeadersHome({ dir, credentials }: Home): Promise<void> {
  if ((await credentials.find("system")) === undefined) return;
  const message = `the home ${dir} has led a swarm of its own (\`vgas up\`), and that swarm's tasks and keys are in it`;
  throw new VgasError("CONFIG", `${message}; give another --home`);
}

/** Flags of such a command. */
export function addHomeFlags(command: Command): Command {
  return addHomeOption(command).option("--json", "data and errors as JSON");
}
