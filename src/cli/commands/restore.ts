/** `vgas restore`: a home from a backup. */
import type { Command } from "commander";
import type { Cli } from "../cli.ts";
import { addExamples } from "../examples.ts";
import { addHomeOption } from "../options.ts";
import { commandConfig } from "../swarm.ts";
import { plural } from "../table.ts";

interface Flags {
  readonly home?: string;
  readonly json?: boolean;
}

export function addRestore(program: Command, cli: Cli): void {
  const command = addHomeOption(program.command("restore"))
    .summary("make a home of a backup")
    .description(
      "Checks every byte of a backup, then puts it into an empty home: `vgas up` goes on with the same node, tasks, results and vault. The " +
        "home that it is of must not run any more: two nodes with one id are refused.",
    )
    .argument("<file>", "what vgas backup wrote")
    .option("--json", "data and errors as JSON")
    .action(async (file: string, flags: Flags) => {
      // Only here: no other command needs it.
      const { restoreBackup } = await import("../../bus/home/backup/restore.ts");
      const restored = await restoreBackup(file, commandConfig(cli, flags).home);
      if (flags.json) cli.terminal.data(JSON.stringify(restored));
      else {
        const made = new Date(restored.at).toISOString();
        cli.terminal.note(
          `Node ${restored.hostId}, as of ${made}: ${plural(restored.files, "file")} in ${restored.dir}.`,
        );
      }
    });
  addExamples(command, [
    ["vgas restore vgas.tar.gz --home ~/.vgas", "then vgas up"],
    ["vgas restore vgas.tar.gz --home /srv/vgas", "on another disk or machine"],
  ]);
}
