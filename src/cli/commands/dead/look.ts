/** `vgas dead list` and `vgas dead show`. */
import { type Command, InvalidArgumentError } from "commander";
import { decodeMirrored } from "../../../bus/codec/task.ts";
import type { KeptLetter } from "../../../bus/dead-letters.ts";
import type { DeadLetter } from "../../../protocols/result.ts";
import type { Cli } from "../../cli.ts";
import { addExamples } from "../../examples.ts";
import { jsonLine } from "../../json.ts";
import { addPoolOption, addSwarmOptions, integer, type SwarmFlags } from "../../options.ts";
import { printable, type Style } from "../../style.ts";
import { withSwarm } from "../../swarm.ts";
import { cut, plural } from "../../table.ts";
import { time } from "../vault/text.ts";
import { addLetterOptions, type LetterFlags, lettersOf, lettersWith } from "./letters.ts";

interface Flags extends LetterFlags {
  readonly limit?: number;
}

export function addDeadList(dead: Command, cli: Cli): void {
  const command = addLetterOptions(dead.command("list"))
    .summary("what failed for good, oldest first")
    .description("Prints the dead letters of a pool, oldest first: id, time, kind, reason, attempts and message.")
    .option("--limit <n>", "only the newest n", limit)
    .action(async (flags: Flags) => {
      const { terminal } = cli;
      await withSwarm(cli, flags, "observer", async (swarm) => {
        const letters = lettersOf(cli, flags, swarm);
        let found = 0;
        for await (const { letter } of flags.limit === undefined ? letters : newest(letters, flags.limit)) {
          found++;
          const line = flags.json
            ? jsonLine(inShort(letter))
            : letterLine(letter, terminal.outStyle, terminal.outColumns);
          if (!terminal.data(line)) await terminal.drained();
          if (terminal.readerGone.aborted) return;
        }
        if (found === 0 && !flags.json) terminal.note("There is no such dead letter.");
      });
    });
  addExamples(command, [
    ["vgas dead list", "all of the pool"],
    ["vgas dead list --kind resize --limit 20", "the newest 20 of one kind"],
    ["vgas dead list --reason malformed --json", "bytes that were no task, one object a line"],
  ]);
}

export function addDeadShow(dead: Command, cli: Cli): void {
  const command = addPoolOption(addSwarmOptions(dead.command("show")))
    .summary("one dead letter, and the task that it is of")
    .description(
      "Prints one dead letter as JSON, with the fields of its task in `task`; bytes that are none are in `bytes`, as base64.",
    )
    .argument("<id>", "id of the task; exit 4 if there is no dead letter of it")
    .action(async (id: string, flags: SwarmFlags) => {
      const [kept] = await withSwarm(cli, flags, "observer", (swarm) => lettersWith(cli, flags, swarm, [id]));
      if (kept === undefined) return;
      const line = jsonLine({ ...inShort(kept.letter), ...taskOf(kept.letter) });
      const plain = flags.json || cli.terminal.outColumns === undefined;
      cli.terminal.data(plain ? line : JSON.stringify(JSON.parse(line), undefined, 2));
    });
  addExamples(command, [
    ["vgas dead show s1042", "everything that is kept of it"],
    ["vgas dead show s1042 --json", "on one line"],
  ]);
}

function limit(text: string): number {
  const number = integer(text);
  if (number < 1) throw new InvalidArgumentError("It must be at least 1.");
  return number;
}

async function* newest(letters: AsyncIterable<KeptLetter>, limit: number): AsyncGenerator<KeptLetter> {
  const kept: KeptLetter[] = [];
  for await (const { sequence, letter } of letters) {
    // Its task is not shown here, and need not be held.
    kept.push({ sequence, letter: { ...letter, task: new Uint8Array() } });
    if (kept.length > limit) kept.shift();
  }
  yield* kept;
}

function inShort({ task: _, ...rest }: DeadLetter): object {
  return rest;
}

function taskOf({ task }: DeadLetter): object {
  try {
    const { encoding, value } = decodeMirrored(task);
    return { encoding, task: value };
  } catch {
    return { bytes: task };
  }
}

function letterLine({ id, at, kind, reason, attempts, message }: DeadLetter, style: Style, width?: number): string {
  const before = `${printable(id).padEnd(20)}  ${time(at)}  ${printable(kind)}  `;
  const after = `  ${plural(attempts, "attempt")}  ${printable(message)}`;
  return `${before}${style.red(reason)}${cut(after, width === undefined ? undefined : width - before.length - reason.length)}`;
}
