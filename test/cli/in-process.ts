/**
 * Runs a command to its end in this process, as bin/vgas does in one of its own: for tests of what a command says and does.
 * Where it counts that it is a process (a signal, a terminal, a node, how it ends by itself), use support.ts.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { PassThrough, Readable } from "node:stream";
import { text } from "node:stream/consumers";
import type { Cli } from "../../src/cli/cli.ts";
import { reportFailure } from "../../src/cli/failure.ts";
import { Interrupt } from "../../src/cli/interrupt.ts";
import { commandOf, createProgram } from "../../src/cli/program.ts";
import { Terminal } from "../../src/cli/terminal.ts";
import { commandEnvironment, type Finished } from "./support.ts";

interface RunOptions {
  /** `open`: nothing comes, and no end. */
  readonly stdin?: string | "open";
  readonly env?: Readonly<Record<string, string>>;
}

/** Each command has a standard input of its own, also those that run at the same time. */
const stdinOfCommand = new AsyncLocalStorage<Readable>();
const own = Object.getOwnPropertyDescriptor(process, "stdin");
Object.defineProperty(process, "stdin", {
  configurable: true,
  get: () => stdinOfCommand.getStore() ?? own?.get?.call(process),
});

// Without --home a command looks for the home of its user: whoever runs the tests is none of theirs.
process.env["HOME"] = commandEnvironment().HOME;

/** One for all. Signals are this process's: its worker ends by them, which a listener of ours would keep it from. */
const interrupt = withoutListeners(() => new Interrupt());

/** Runs a command to its end. */
export async function vgas(args: readonly string[], { stdin = "", env = {} }: RunOptions = {}): Promise<Finished> {
  const pieces = stdin === "" ? [] : [Buffer.from(stdin)];
  const input = stdin === "open" ? new PassThrough() : Readable.from(pieces, { objectMode: false });
  return await stdinOfCommand.run(input, () => run(args, { ...commandEnvironment(), ...env }));
}

/** What src/cli/main.ts does between the start of its process and its end. */
async function run(args: readonly string[], env: Readonly<Record<string, string>>): Promise<Finished> {
  const [out, err] = [new PassThrough(), new PassThrough()];
  const written = Promise.all([text(out), text(err)]);
  const terminal = new Terminal(out as unknown as NodeJS.WriteStream, err as unknown as NodeJS.WriteStream, env);
  const cli: Cli = { terminal, interrupt, env, exitCode: 0 };
  const program = createProgram(cli);
  try {
    await program.parseAsync([...args], { from: "user" });
  } catch (error) {
    cli.exitCode = reportFailure(terminal, error, args.includes("--json"), commandOf(program, args));
  }
  await terminal.flush();
  out.end();
  err.end();
  const [said, told] = await written;
  return { code: cli.exitCode, out: said, err: told };
}

function withoutListeners(make: () => Interrupt): Interrupt {
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  const before = signals.map((signal) => process.listeners(signal));
  const made = make();
  for (const [i, signal] of signals.entries()) {
    for (const listener of process.listeners(signal)) {
      if (before[i]?.includes(listener) !== true) process.off(signal, listener);
    }
  }
  return made;
}
