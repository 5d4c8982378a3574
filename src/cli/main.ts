/** Entry of bin/vgas: runs one command, tells what went wrong, and ends the process with the right exit code. */
import process from "node:process";
import { VgasError } from "../protocols/errors.ts";
import type { Cli } from "./cli.ts";
import { reportFailure } from "./failure.ts";
import { Interrupt } from "./interrupt.ts";
import { commandOf, createProgram } from "./program.ts";
import { Terminal } from "./terminal.ts";

/** Data that was to be printed is lost. */
const EXIT_FAILURE = 1;

const args = process.argv.slice(2);
const terminal = new Terminal(process.stdout, process.stderr, process.env);
const cli: Cli = { terminal, interrupt: new Interrupt(), env: process.env, exitCode: 0 };
const program = createProgram(cli);
const json = args.includes("--json");

/** A failure that no command caught: the state of the process is unknown, so it ends at once. */
function crashed(error: unknown): void {
  process.exit(reportFailure(terminal, error, json));
}
process.on("uncaughtException", crashed);
process.on("unhandledRejection", crashed);

let exitCode: number;
try {
  await program.parseAsync(args, { from: "user" });
  exitCode = cli.exitCode;
} catch (error) {
  const { interrupt } = cli;
  exitCode = interrupt.explains(error)
    ? interrupt.exitCode
    : reportFailure(terminal, error, json, commandOf(program, args));
}
await terminal.flush();
if (terminal.outError) {
  const { message } = terminal.outError;
  const error = new VgasError("CONFIG", `standard output takes no more (${message}): what was printed is not complete`);
  exitCode = Math.max(EXIT_FAILURE, exitCode);
  reportFailure(terminal, error, json);
}
// A behaviour that was abandoned may hold timers or sockets for ever.
process.exit(exitCode);
