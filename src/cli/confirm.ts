/** Asks before what cannot be taken back. */
import { isatty } from "node:tty";
import type { Cli } from "./cli.ts";
import { EXIT, UsageError } from "./failure.ts";
import { Prompt } from "./prompt.ts";

const [STDIN, STDERR] = [0, 2] as const;

/**
 * True if `yes` was given, or somebody at the terminal says so; else says that nothing was done, and sets the exit code.
 *
 * @throws UsageError where nobody can be asked; VgasError ABORTED
 */
export async function confirmed(cli: Cli, question: string, { yes }: { readonly yes?: boolean }): Promise<boolean> {
  if (yes) return true;
  const { interrupt } = cli;
  const prompt =
    isatty(STDIN) && isatty(STDERR)
      ? Prompt.open({ signal: interrupt.signal, interrupt: () => process.emit("SIGINT") })
      : undefined;
  if (prompt === undefined) {
    throw new UsageError(
      "this has to be confirmed, and there is no terminal",
      "Nothing was done. Give --yes if it is meant.",
    );
  }
  try {
    if (await prompt.yes(question)) return true;
  } finally {
    prompt.close();
  }
  cli.terminal.note("Nothing was done.");
  cli.exitCode = EXIT.failure;
  return false;
}
