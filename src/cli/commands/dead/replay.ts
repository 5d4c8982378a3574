/** `vgas dead replay`: submits what failed again. */
import { randomBytes } from "node:crypto";
import type { Command } from "commander";
import { checkReplayable, type KeptLetter, replay } from "../../../bus/dead-letters.ts";
import { Publisher } from "../../../bus/publisher.ts";
import { VgasError } from "../../../protocols/errors.ts";
import type { DeadLetter } from "../../../protocols/result.ts";
import { automaticId } from "../../../protocols/tokens.ts";
import type { Cli } from "../../cli.ts";
import { addExamples } from "../../examples.ts";
import { EXIT } from "../../failure.ts";
import { printable } from "../../style.ts";
import { type Swarm, withSwarm } from "../../swarm.ts";
import { plural } from "../../table.ts";
import { addLetterOptions, checkSelection, type LetterFlags, lettersOf, lettersWith } from "./letters.ts";

interface Flags extends LetterFlags {
  readonly all?: true;
}

/** Tasks on their way at once. */
const WINDOW = 256;
/** Refused letters that are told one by one. */
const MAX_TOLD = 20;

export function addDeadReplay(dead: Command, cli: Cli): void {
  const command = addLetterOptions(dead.command("replay"))
    .summary("run what failed again, under a new id")
    .description(
      "Submits the tasks of dead letters again and prints their new ids, one a line in the order of the letters. Each result has the former id in replayOf. The " +
        "letters stay: `vgas dead purge` takes them away. Bytes that were no task, and tasks with a wrong field, are refused.",
    )
    .argument("[ids...]", "ids of the tasks; if one is not there or cannot be repeated, none is")
    .option("--all", "all letters of the pool, or of --kind and --reason; exit 3 if some cannot be repeated")
    .action(async (ids: string[], flags: Flags) => {
      checkSelection(ids, flags, "Give the ids of tasks, or --all; `vgas dead list` shows them.");
      await withSwarm(cli, flags, "admin", async (swarm) => {
        const letters = ids.length > 0 ? await lettersWith(cli, flags, swarm, ids) : lettersOf(cli, flags, swarm);
        if (Array.isArray(letters)) for (const { letter } of letters as readonly KeptLetter[]) checkReplayable(letter);
        await replayAll(cli, flags, swarm, letters);
      });
    });
  addExamples(command, [
    ["vgas dead replay s1042", "prints the new id"],
    ["vgas dead replay --all --kind resize", "everything of one kind that failed"],
    ["vgas dead replay s1042 --json", "with the id that it had"],
  ]);
}

/** In windows, so that the new ids come in the order of the letters. */
async function replayAll(
  cli: Cli,
  flags: Flags,
  { bus, names }: Swarm,
  letters: Iterable<KeptLetter> | AsyncIterable<KeptLetter>,
): Promise<void> {
  const { terminal, interrupt } = cli;
  const publisher = new Publisher(bus);
  const attempt = randomBytes(9).toString("base64url");
  let [replayed, refused] = [0, 0];
  const submit = async (window: readonly DeadLetter[]): Promise<void> => {
    const sequences = await Promise.allSettled(window.map((letter) => replay(publisher, names, letter, attempt)));
    for (const [i, stored] of sequences.entries()) {
      const { id, pool, kind } = window[i] as DeadLetter;
      if (stored.status === "fulfilled") {
        replayed++;
        const newId = automaticId(stored.value);
        terminal.data(flags.json ? JSON.stringify({ id: newId, pool, kind, replayOf: id }) : newId);
      } else if (isLettersFault(stored.reason)) {
        if (++refused <= MAX_TOLD) terminal.note(printable(stored.reason.message));
      } else throw stored.reason;
    }
    terminal.progress(`replays: ${replayed}`);
    await terminal.drained();
  };
  try {
    let window: DeadLetter[] = [];
    for await (const { letter } of letters) {
      if (interrupt.signal.aborted) break;
      if (window.push(letter) < WINDOW) continue;
      await submit(window);
      window = [];
    }
    if (!interrupt.signal.aborted) await submit(window);
  } finally {
    publisher.close();
    terminal.progress(undefined);
  }
  const parts = [
    `${plural(replayed, "task")} submitted again`,
    ...(refused > 0 ? [`${plural(refused, "letter")} refused`] : []),
  ];
  if (flags.all || replayed > 1 || interrupt.signal.aborted) terminal.note(`${parts.join(", ")}.`);
  if (interrupt.signal.aborted) cli.exitCode = interrupt.exitCode;
  else if (refused > 0) cli.exitCode = EXIT.someFailed;
}

function isLettersFault(error: unknown): error is VgasError {
  return error instanceof VgasError && (error.code === "INVALID" || error.code === "TOO_LARGE");
}
