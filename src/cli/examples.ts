/** The examples below the help of a command: one form for all of them, and a test parses each. */
import type { Command } from "commander";

/** A command line, and what it is for; a line without meaning continues what the one before it says. */
export type Example = readonly [line: string, meaning?: string];

/** Meanings begin in one column if no line is longer than this; a longer line has its meaning below it. */
const LINE_COLUMNS = 44;

/** Adds examples to the help of `command`, and `note` below them. */
export function addExamples(command: Command, examples: readonly Example[], note?: string): Command {
  const width = Math.max(...examples.map(([line]) => (line.length > LINE_COLUMNS ? 0 : line.length)));
  const lines = examples.map(([line, meaning]) => {
    if (meaning === undefined) return `  ${line}`;
    return line.length > LINE_COLUMNS ? `  ${line}\n      ${meaning}` : `  ${line.padEnd(width)}  ${meaning}`;
  });
  const below = note === undefined ? "" : `\n\n${note}`;
  return command.addHelpText("after", `\nExamples:\n${lines.join("\n")}${below}`);
}
