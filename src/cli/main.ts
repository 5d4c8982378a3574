/** Entry of bin/vgas: runs one command, tells what went wrong, and ends the process with the right exit code. */
import process from "node:process";
import type { Cli } from "./cli.ts";
import { reportFailure } from "./failure.ts";
import { Interrupt } from "./interrupt.ts";
import { createProgram } from "./program.ts";
import { Terminal } from "./terminal.ts";

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
  const command = program.commands.find((each) => each.name() === args[0])?.name();
  exitCode = reportFailure(terminal, error, json, command);
}
await terminal.flush();
// A behaviour that was abandoned may hold timers or sockets for ever.
process.exit(exitCode);
