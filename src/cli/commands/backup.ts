/** `vgas backup`: a whole home in one file. */
import type { Command } from "commander";
import type { Cli } from "../cli.ts";
import { addExamples } from "../examples.ts";
import { addHomeOption } from "../options.ts";
import { commandConfig } from "../swarm.ts";
import { bytes, plural } from "../table.ts";

interface Flags {
  readonly home?: string;
  readonly json?: boolean;
}

export function addBackup(program: Command, cli: Cli): void {
  const command = addHomeOption(program.command("backup"))
    .summary("put a whole home into one file")
    .description(
      "Writes a home into one .tar.gz that only you can read: identity, credentials, certificates, tokens, vault, and the store with tasks and " +
        "results. The node must have stopped. Whoever has the file can be that node: keep it as you keep keys.",
    )
    .argument("<file>", "the file; it must not be there yet")
    .option("--json", "data and errors as JSON")
    .action(async (file: string, flags: Flags) => {
      // Only here: no other command needs it.
      const { createBackup } = await import("../../bus/home/backup/create.ts");
      const made = await createBackup(commandConfig(cli, flags).home, file, Date.now());
      if (flags.json) cli.terminal.data(JSON.stringify(made));
      else
        cli.terminal.note(`Node ${made.hostId}: ${plural(made.files, "file")}, ${bytes(made.bytes)}, in ${made.file}.`);
    });
  addExamples(command, [
    ["vgas backup vgas.tar.gz", "of ~/.vgas, after its node has stopped"],
    ["vgas backup node2.tar.gz --home ~/.vgas2", "of another home"],
  ]);
}
