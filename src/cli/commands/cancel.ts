/** `vgas cancel`: cancels tasks, whether they wait or run. */
import type { Command } from "commander";
import type { CancelReply } from "../../protocols/task-state.ts";
import type { Cli } from "../cli.ts";
import { addExamples } from "../examples.ts";
import { EXIT } from "../failure.ts";
import { type LimitFlags, limits } from "../limits.ts";
import { addPoolOption, addSwarmOptions, addTimeoutOption, type SwarmFlags } from "../options.ts";
import { withClient } from "../swarm.ts";

interface Flags extends SwarmFlags, LimitFlags {
  readonly kind?: string;
}

const STATE_TEXT: Readonly<Record<CancelReply["state"], string>> = {
  cancelled: "waited, and is cancelled",
  cancelling: "runs, and was told to end",
  finished: "had finished already",
  running: "runs, and was left alone",
  unknown: "is not known: it is gone, or never was there",
};

export function addCancel(program: Command, cli: Cli): void {
  const command = addPoolOption(addSwarmOptions(program.command("cancel")))
    .summary("cancel tasks")
    .description(
      "Cancels tasks that wait, and tells those that run to end. Each ends in one result all the same; `vgas results ID` shows it. Exit 4 if " +
        "one of them is unknown.",
    )
    .argument("<ids...>", "ids of the tasks")
    .option("--kind <kind>", "kind of the tasks, if it is known: for ids of your own that have not been seen yet");
  addTimeoutOption(command, "give up after this for each (default: 10s); exit 5").action(
    async (ids: string[], flags: Flags) => {
      const { kind } = flags;
      await withClient(cli, flags, async (client) => {
        for (const id of ids) {
          const options = { ...limits(cli, flags), ...(kind !== undefined && { kind }) };
          const { state } = await client.cancel(client.pool, id, options);
          cli.terminal.data(flags.json ? JSON.stringify({ id, state }) : `${id}  ${state}  it ${STATE_TEXT[state]}`);
          if (state === "unknown") cli.exitCode = EXIT.notFound;
        }
      });
    },
  );
  addExamples(command, [
    ["vgas cancel s1042", "whether it waits or runs"],
    ["vgas cancel report-7 report-8 --kind report", "tasks with ids of your own"],
  ]);
}
