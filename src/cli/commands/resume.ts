/** `vgas resume`: ends the pause of a lane. */
import type { Command } from "commander";
import { resumeLane } from "../../bus/pauses.ts";
import type { Cli } from "../cli.ts";
import { addExamples } from "../examples.ts";
import type { SwarmFlags } from "../options.ts";
import { laneCommand, laneOf, withControl } from "../pausing.ts";

export function addResume(program: Command, cli: Cli): void {
  const command = laneCommand(program, "resume")
    .summary("start tasks of a paused kind again")
    .description("Ends the pause of a kind. One that was not paused stays as it is.")
    .action(async (kind: string, flags: SwarmFlags) => {
      const lane = laneOf(cli, kind, flags);
      const was = await withControl(cli, flags, (bucket, { names }) => resumeLane(bucket, names, lane));
      if (flags.json) cli.terminal.data(JSON.stringify({ ...lane, paused: false, was: was ? "paused" : "running" }));
      else cli.terminal.note(`Kind ${kind} in pool ${lane.pool} ${was ? "goes on" : "was not paused"}.`);
    });
  addExamples(command, [
    ["vgas resume resize", "its tasks are started again"],
    ["vgas resume resize --pool night", "in another pool"],
  ]);
}
