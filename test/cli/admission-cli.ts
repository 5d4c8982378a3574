/** Runs one of the commands of admission in this process. */
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import { Command } from "commander";
import type { Cli } from "../../src/cli/cli.ts";
import { addApprove } from "../../src/cli/commands/approve.ts";
import { addConnect } from "../../src/cli/commands/connect.ts";
import { addRevoke } from "../../src/cli/commands/revoke.ts";
import { addToken } from "../../src/cli/commands/token.ts";
import { reportFailure } from "../../src/cli/failure.ts";
import { Interrupt } from "../../src/cli/interrupt.ts";
import { Terminal } from "../../src/cli/terminal.ts";

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** One for all: it listens to the signals of this process. */
const interrupt = new Interrupt();

export async function run(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ran> {
  const [out, err] = [new PassThrough(), new PassThrough()];
  const terminal = new Terminal(out as unknown as NodeJS.WriteStream, err as unknown as NodeJS.WriteStream, {});
  const cli: Cli = { terminal, interrupt, env, exitCode: 0 };
  const program = new Command("vgas").exitOverride().configureOutput({
    writeOut: (said) => void terminal.data(said.trimEnd()),
    outputError: () => undefined,
  });
  for (const add of [addToken, addApprove, addRevoke, addConnect]) add(program, cli);
  try {
    await program.parseAsync([...args], { from: "user" });
  } catch (error) {
    cli.exitCode = reportFailure(terminal, error, args.includes("--json"));
  }
  out.end();
  err.end();
  return { code: cli.exitCode, out: await text(out), err: await text(err) };
}
