/** `vgas dead purge`: takes dead letters away for good. */
import type { Command } from "commander";
import { type KeptLetter, removeDeadLetter } from "../../../bus/dead-letters.ts";
import { Objects } from "../../../bus/objects.ts";
import { Publisher } from "../../../bus/publisher.ts";
import type { Cli } from "../../cli.ts";
import { confirmed } from "../../confirm.ts";
import { addExamples } from "../../examples.ts";
import { duration } from "../../options.ts";
import { type Swarm, withSwarm } from "../../swarm.ts";
import { plural } from "../../table.ts";
import { addLetterOptions, checkSelection, type LetterFlags, lettersOf, lettersWith, poolOf } from "./letters.ts";

interface Flags extends LetterFlags {
  readonly olderThan?: number;
  readonly yes?: true;
}

/** Removals on their way at once. */
const WINDOW = 64;

export function addDeadPurge(dead: Command, cli: Cli): void {
  const command = addLetterOptions(dead.command("purge"))
    .summary("take dead letters away for good")
    .description(
      "Takes dead letters away, and what their tasks have in the object store: they cannot be repeated any more. Results stay. Asks " +
        "first on a terminal; elsewhere it wants --yes.",
    )
    .argument("[ids...]", "ids of the tasks (default: all of the pool that the flags name)")
    .option("--older-than <time>", "only those written longer ago, such as 30d", duration)
    .option("--yes", "do not ask")
    .action(async (ids: string[], flags: Flags) => {
      checkSelection(ids, flags, undefined);
      await withSwarm(cli, flags, "admin", async (swarm) => {
        const letters = await chosen(cli, flags, swarm, ids);
        const what = `${plural(letters.length, "dead letter")} of pool ${poolOf(cli, flags)}`;
        if (letters.length > 0 && !(await confirmed(cli, `Take ${what} away for good?`, flags))) return;
        const removed = await remove(cli, swarm, letters);
        if (flags.json) cli.terminal.data(JSON.stringify({ removed }));
        else cli.terminal.note(`Took away ${plural(removed, "dead letter")}.`);
        if (removed < letters.length) cli.exitCode = cli.interrupt.exitCode;
      });
    });
  addExamples(command, [
    ["vgas dead purge s1042", "one; asks first"],
    ["vgas dead purge --older-than 30d --yes", "those of more than a month ago"],
    ["vgas dead purge --kind resize --reason invalid", "of one kind, that could never run"],
  ]);
}

async function chosen(cli: Cli, flags: Flags, swarm: Swarm, ids: readonly string[]): Promise<readonly KeptLetter[]> {
  if (ids.length > 0) return await lettersWith(cli, flags, swarm, ids);
  const { olderThan } = flags;
  const before = olderThan === undefined ? undefined : Date.now() - olderThan;
  const letters: KeptLetter[] = [];
  for await (const kept of lettersOf(cli, flags, swarm, before)) letters.push(kept);
  return letters;
}

/** How many were taken away: all, unless a signal came. */
async function remove(
  { terminal, interrupt }: Cli,
  { bus, names }: Swarm,
  letters: readonly KeptLetter[],
): Promise<number> {
  const publisher = new Publisher(bus);
  const objects = new Objects(bus, publisher, names);
  let removed = 0;
  try {
    while (removed < letters.length && !interrupt.signal.aborted) {
      const window = letters.slice(removed, removed + WINDOW);
      await Promise.all(window.map((kept) => removeDeadLetter(bus, names, objects, kept)));
      removed += window.length;
      terminal.progress(`taken away: ${removed} of ${letters.length}`);
    }
    return removed;
  } finally {
    publisher.close();
    terminal.progress(undefined);
  }
}
