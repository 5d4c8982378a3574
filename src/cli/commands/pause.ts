/** `vgas pause`: starts nothing of a lane until it is resumed. */
import { userInfo } from "node:os";
import type { Command } from "commander";
import { pauseLane } from "../../bus/pauses.ts";
import type { Cli } from "../cli.ts";
import { addExamples } from "../examples.ts";
import type { SwarmFlags } from "../options.ts";
import { laneCommand, laneOf, withControl } from "../pausing.ts";

export function addPause(program: Command, cli: Cli): void {
  const command = laneCommand(program, "pause")
    .summary("start no more tasks of a kind, until it is resumed")
    .description(
      "Pauses a kind in the whole swarm: its tasks wait, what runs goes on. Tasks can be submitted all the same.",
    )
    .action(async (kind: string, flags: SwarmFlags) => {
      const lane = laneOf(cli, kind, flags);
      await withControl(cli, flags, (bucket, { names }) => pauseLane(bucket, names, lane, whoIAm()));
      if (flags.json) cli.terminal.data(JSON.stringify({ ...lane, paused: true }));
      else cli.terminal.note(`Kind ${kind} in pool ${lane.pool} is paused; \`vgas resume ${kind}\` ends that.`);
    });
  addExamples(command, [
    ["vgas pause resize", "no task of that kind is started any more"],
    ["vgas pause resize --pool night", "in another pool"],
  ]);
}

/** For those who ask later who it was. */
function whoIAm(): string {
  try {
    return userInfo().username;
  } catch {
    return "somebody";
  }
}
