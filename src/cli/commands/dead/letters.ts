/** What the commands for dead letters share: which are meant, and how they find them. */
import { type Command, Option } from "commander";
import { deadLetters, findDeadLetter, type KeptLetter, type LetterFilter } from "../../../bus/dead-letters.ts";
import { VgasError } from "../../../protocols/errors.ts";
import { DEAD_REASONS, type DeadReason } from "../../../protocols/result.ts";
import { isToken } from "../../../protocols/tokens.ts";
import type { Cli } from "../../cli.ts";
import { UsageError } from "../../failure.ts";
import { addPoolOption, addSwarmOptions, type SwarmFlags } from "../../options.ts";
import { printable } from "../../style.ts";
import { commandConfig, type Swarm } from "../../swarm.ts";

export interface LetterFlags extends SwarmFlags {
  readonly kind?: string;
  readonly reason?: DeadReason;
}

export function addLetterOptions(command: Command): Command {
  return addPoolOption(addSwarmOptions(command))
    .option("--kind <kind>", "only of this kind")
    .addOption(new Option("--reason <reason>", "only those that are there for this").choices(DEAD_REASONS));
}

/** Those that the flags name, oldest first. */
export function lettersOf(
  cli: Cli,
  flags: LetterFlags,
  { bus, names }: Swarm,
  before?: number,
): AsyncIterable<KeptLetter> {
  const { kind, reason } = flags;
  const filter: LetterFilter = { kind, reason, before };
  return deadLetters(bus, names, poolOf(cli, flags), filter, (subject) =>
    cli.terminal.note(`What is kept under ${printable(subject)} is no dead letter.`),
  );
}

/** Those with `ids`, all of them. @throws VgasError NOT_FOUND if one is not there, INVALID */
export async function lettersWith(
  cli: Cli,
  flags: SwarmFlags,
  { bus, names }: Swarm,
  ids: readonly string[],
): Promise<readonly KeptLetter[]> {
  const letters: KeptLetter[] = [];
  for (const id of new Set(ids.map(taskId))) letters.push(await findDeadLetter(bus, names, poolOf(cli, flags), id));
  return letters;
}

/** @throws UsageError if both ids and other conditions were given, or ids are needed and there are none */
export function checkSelection(ids: readonly string[], flags: object, needed: string | undefined): void {
  const conditions = ["all", "kind", "reason", "olderThan"].filter((name) => name in flags);
  if (ids.length > 0 && conditions.length > 0) {
    throw new UsageError("ids and conditions were given", "Give the ids, or flags that say which are meant.");
  }
  if (ids.length === 0 && needed !== undefined && !("all" in flags)) throw new UsageError("no id was given", needed);
}

export function poolOf(cli: Cli, flags: SwarmFlags): string {
  return commandConfig(cli, flags).pool;
}

/** @throws VgasError INVALID */
function taskId(id: string): string {
  if (isToken(id)) return id;
  throw new VgasError("INVALID", `a task id is a token [A-Za-z0-9_-]{1,64}, got ${JSON.stringify(id)}`);
}
