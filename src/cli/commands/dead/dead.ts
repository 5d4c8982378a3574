import type { Command } from "commander";
import type { Cli } from "../../cli.ts";
import { addExamples } from "../../examples.ts";
import { addDeadList, addDeadShow } from "./look.ts";
import { addDeadPurge } from "./purge.ts";
import { addDeadReplay } from "./replay.ts";

export function addDead(program: Command, cli: Cli): void {
  const dead = program
    .command("dead")
    .summary("tasks that failed for good: look at them, repeat them, take them away")
    .description("Dead letters: a record of each task that failed for good, and of bytes that were no task.");
  addExamples(
    dead,
    [
      ["vgas dead list", "what failed, and why"],
      ["vgas dead show s1042", "one of them, with its task"],
      ["vgas dead replay s1042", "run it again, under a new id"],
      ["vgas dead purge --older-than 30d", "take old ones away; asks first"],
    ],
    "The result of a task is kept apart from its dead letter: `vgas results ID`.",
  );
  for (const add of [addDeadList, addDeadShow, addDeadReplay, addDeadPurge]) add(dead, cli);
}
