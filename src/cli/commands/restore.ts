import { open } from "node:fs/promises";
import { resolve } from "node:path";
import type { Readable } from "node:stream";
import type { Command } from "commander";
import type { Manifest } from "../../bus/backup/manifest.ts";
import { diskError } from "../../bus/home/files.ts";
import { resolveConfig } from "../../config.ts";
import { addHomeFlags, type HomeFlags } from "../admission-home.ts";
import type { Cli } from "../cli.ts";
import { addExamples } from "../examples.ts";
import { printable } from "../style.ts";
import { bytes, plural } from "../table.ts";
import { time } from "./vault/text.ts";

export function addRestore(program: Command, cli: Cli): void {
  const command = addHomeFlags(program.command("restore"))
    .summary("make a home of a backup")
    .description(
      "Makes a home of what `vgas backup` wrote. All of it is checked before the home appears: every size and every hash, and that " +
        "nothing else is in the file. The home must not be there yet, or be an empty directory.",
    )
    .argument("<file>", "the backup; - reads it from stdin")
    .action(async (file: string, flags: HomeFlags) => {
      const { home } = resolveConfig({ home: flags.home }, cli.env);
      const { restoreHome } = await import("../../bus/backup/restore.ts");
      const source = file === "-" ? process.stdin : await opened(file);
      const manifest = await restoreHome(source, home, cli.interrupt.signal);
      tell(cli, resolve(home), flags, manifest);
    });
  addExamples(
    command,
    [
      ["vgas restore vgas.tar.gz --home ~/.vgas2", "then: vgas up --home ~/.vgas2"],
      ["ssh other 'cat vgas.tar.gz' | vgas restore -", "the home ~/.vgas"],
    ],
    "It is the same node again, under the same id: the home that was saved must not\nrun any more. docs/operations.md says what an older backup brings back.",
  );
}

async function opened(file: string): Promise<Readable> {
  const handle = await open(file).catch((error: unknown) => {
    throw diskError(error, `read ${file}`);
  });
  return handle.createReadStream();
}

function tell({ terminal }: Cli, home: string, { json }: HomeFlags, { hostId, madeAt, vgas, files }: Manifest): void {
  const size = files.reduce((sum, file) => sum + file.bytes, 0);
  if (json) {
    terminal.data(JSON.stringify({ home, hostId, madeAt, vgas, files: files.length, bytes: size }));
    return;
  }
  const has = (start: string): boolean => files.some(({ path }) => path.startsWith(start));
  const what = `${plural(files.length, "file")}, ${bytes(size)}, saved ${time(madeAt)} by vgas ${printable(vgas)}`;
  terminal.data(`${home}: node ${hostId}, ${what}.`);
  terminal.note("The home that was saved must not run any more: this is the same node, under the same id.");
  terminal.note(
    "What happened since then is not in it: tasks that have ended since run again, and tokens, nodes and keys are as they were; revoke again what was revoked.",
  );
  if (has("vault/vault.bin")) {
    terminal.note(
      "The vault has the passphrase of that time. If it does not open with VAULT_ROLLED_BACK, a newer one was used with the same NATS system: `vgas vault unseal --accept-rollback`.",
    );
  }
}
