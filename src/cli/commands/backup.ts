import type { Command } from "commander";
import type { BackupReport } from "../../bus/backup/backup.ts";
import { resolveConfig } from "../../config.ts";
import { VgasError } from "../../protocols/errors.ts";
import { packageVersion } from "../../version.ts";
import { addHomeFlags, type HomeFlags } from "../admission-home.ts";
import type { Cli } from "../cli.ts";
import { addExamples } from "../examples.ts";
import { UsageError } from "../failure.ts";
import { bytes, plural } from "../table.ts";

interface Flags extends HomeFlags {
  readonly force?: boolean;
}

export function addBackup(program: Command, cli: Cli): void {
  const command = addHomeFlags(program.command("backup"))
    .summary("save the home of a node that is stopped")
    .description(
      "Writes the whole home into one .tar.gz: identity, credentials, certificates, tokens, config.json, the vault with its audit trail, and " +
        "all that the nats-server stores. No node and no nats-server may use the home meanwhile: stop it first " +
        "(`vgas drain NODE --force`, or SIGTERM).",
    )
    .argument("<file>", "where to; it must not exist; - writes to standard output")
    .option("--force", "replace the file if it exists")
    .action(async (file: string, flags: Flags) => {
      const { home } = resolveConfig({ home: flags.home }, cli.env);
      const options = { version: packageVersion(), now: Date.now(), signal: cli.interrupt.signal };
      // Only here: no other command needs to read and write archives.
      const { backUpInto, backUpTo } = await import("../../bus/backup/backup.ts");
      const report =
        file === "-"
          ? await backUpInto(home, toStdout(cli), options)
          : await backUpTo(home, file, { ...options, force: flags.force ?? false });
      tell(cli, file, flags, report);
    });
  addExamples(
    command,
    [
      ["vgas backup vgas.tar.gz", "the home ~/.vgas"],
      ["vgas backup /backups/node.tar.gz --home /var/lib/vgas --force", "another home; replaces the last backup"],
      ["vgas backup - | ssh other 'cat > vgas.tar.gz'", "nothing is written on this machine"],
    ],
    "The file holds secrets: whoever has it is that node. The vault's keys in it stay\nsealed under the vault's passphrase, which is not in it. `vgas restore` makes a\nhome of it.",
  );
}

function toStdout({ terminal }: Cli): (chunk: Uint8Array) => Promise<void> {
  if (terminal.outColumns !== undefined) {
    throw new UsageError(
      "standard output is a terminal, and a backup is no text",
      "Send it to a file or a pipe, or name a file.",
    );
  }
  return async (chunk) => {
    if (!terminal.bytes(chunk)) await terminal.drained();
    if (terminal.readerGone.aborted) {
      throw new VgasError(
        "CONFIG",
        "standard output takes no more, so the backup is not complete: name a file, or look at what reads it",
      );
    }
  };
}

function tell({ terminal }: Cli, file: string, { json }: Flags, report: BackupReport): void {
  const say = (text: string): void => void (file === "-" ? terminal.note(text) : terminal.data(text));
  if (json) say(JSON.stringify({ file, ...report }));
  else
    say(
      `${file === "-" ? "Saved" : `${file}:`} node ${report.hostId}, ${plural(report.files, "file")}, ${bytes(report.bytes)} before packing.`,
    );
}
