/** `vgas batch`: what became of tasks that were submitted together. */
import type { Command } from "commander";
import type { Cli } from "../cli.ts";
import { addExamples } from "../examples.ts";
import { EXIT } from "../failure.ts";
import { jsonLine } from "../json.ts";
import { type LimitFlags, limits } from "../limits.ts";
import { addPoolOption, addSwarmOptions, addTimeoutOption, type SwarmFlags } from "../options.ts";
import { withClient } from "../swarm.ts";

interface Flags extends SwarmFlags, LimitFlags {
  readonly follow?: true;
}

export function addBatch(program: Command, cli: Cli): void {
  const command = addPoolOption(addSwarmOptions(program.command("batch")))
    .summary("what became of tasks that were submitted together")
    .description(
      "Counts the tasks of a batch (submitMany of the client library) by what became of them. With --follow it prints each result as one " +
        "JSON line as it comes, until all are there. Exit 3 if some are not ok.",
    )
    .argument("<id>", "id of the batch; exit 4 if there is none")
    .option("--follow", "print the results, and wait for those to come");
  addTimeoutOption(command, "give up after this (default: 10s; with --follow never); exit 5").action(
    async (id: string, flags: Flags) => {
      const { terminal } = cli;
      await withClient(cli, flags, async (client) => {
        const batch = await client.batch(client.pool, id, limits(cli, flags));
        if (flags.follow) {
          for await (const result of batch.results(limits(cli, flags))) {
            if (!terminal.data(jsonLine(result))) await terminal.drained();
            if (terminal.readerGone.aborted) return;
          }
        }
        const counts = await batch.progress(limits(cli, flags));
        const text = Object.entries(counts).map(([name, value]) => `${value} ${name}`);
        if (flags.follow) terminal.note(`${text.join(", ")}.`);
        else terminal.data(flags.json ? JSON.stringify({ id, pool: batch.pool, ...counts }) : text.join(", "));
        if (counts.failed + counts.cancelled + counts.expired > 0) cli.exitCode = EXIT.someFailed;
      });
    },
  );
  addExamples(command, [
    ["vgas batch b7k2m", "how far it is"],
    ["vgas batch b7k2m --follow > results.jsonl", "every result of it"],
  ]);
}
