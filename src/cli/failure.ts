/** How a command says that it failed, and with which exit code. */
import { CommanderError } from "commander";
import { ERRORS, type ErrorCode, VgasError } from "../protocols/errors.ts";
import { printable } from "./style.ts";
import type { Terminal } from "./terminal.ts";

export const EXIT = {
  ok: 0,
  failure: 1,
  usage: 2,
  someFailed: 3,
  notFound: 4,
  internal: 70,
  /** 128 and the signal's number. */
  SIGINT: 130,
  SIGTERM: 143,
  SIGHUP: 129,
} as const;

/** A command line that cannot be meant: unknown flags, missing arguments, values of the wrong form. */
export class UsageError extends Error {
  override readonly name = "UsageError";
  /** What to do instead, one sentence. */
  readonly hint: string;

  constructor(message: string, hint: string) {
    super(message);
    this.hint = hint;
  }
}

/** An error of vgas for which the command knows a better remedy, or a better message, than the one that threw it. */
export class AdvisedError extends VgasError {
  /** What to do, one sentence. */
  readonly hint: string;

  constructor(cause: VgasError, message: string, hint: string) {
    super(cause.code, message, { cause });
    this.hint = hint;
  }
}

const SAYS_WHAT_TO_DO = /`(?:vgas|npm) |--[a-z]+/;

/** A message that names a command or a flag to use needs no general remedy below it. */
export function saysWhatToDo(message: string): boolean {
  return SAYS_WHAT_TO_DO.test(message);
}

/** What went wrong, for the user: one sentence each. */
interface Failure {
  readonly code: ErrorCode | "USAGE";
  readonly message: string;
  readonly remedy: string | undefined;
  readonly exitCode: number;
  /** Where a defect happened. */
  readonly stack?: string | undefined;
}

/** Tells `thrown` on standard error, as JSON with `json`; returns the exit code. `command` is the command's name, if known: `vault store`. */
export function reportFailure(terminal: Terminal, thrown: unknown, json: boolean, command?: string): number {
  if (thrown instanceof CommanderError && thrown.exitCode === 0) return EXIT.ok;
  const failure = failureOf(thrown, command);
  if (json) {
    terminal.note(JSON.stringify({ error: { code: failure.code, message: failure.message } }));
    return failure.exitCode;
  }
  const { errStyle } = terminal;
  terminal.note(`${errStyle.red("vgas:")} ${printable(failure.message)}`);
  if (failure.remedy !== undefined) terminal.note(`      ${failure.remedy}`);
  if (failure.stack !== undefined) terminal.note(errStyle.dim(failure.stack));
  return failure.exitCode;
}

function failureOf(thrown: unknown, command: string | undefined): Failure {
  if (thrown instanceof VgasError && thrown.code !== "INTERNAL") {
    const { code, message, exitCode } = thrown;
    const general = saysWhatToDo(message) ? undefined : ERRORS[code].remedy;
    return { code, message, exitCode, remedy: thrown instanceof AdvisedError ? thrown.hint : general };
  }
  if (thrown instanceof UsageError) {
    return { code: "USAGE", message: thrown.message, remedy: thrown.hint, exitCode: EXIT.usage };
  }
  if (thrown instanceof CommanderError) {
    const help = command === undefined ? "vgas --help" : `vgas ${command} --help`;
    const message = ofCommander(thrown.message);
    return {
      code: "USAGE",
      message: thrown.code === "commander.help" ? "no command was given" : message,
      remedy: `\`${help}\` shows what there is.`,
      exitCode: EXIT.usage,
    };
  }
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  return {
    code: "INTERNAL",
    message: thrown instanceof VgasError ? error.message : `unexpected: ${error.message}`,
    remedy:
      "If the stack below is not one of your own agent's, please report it, with the command you gave and what led to it.",
    exitCode: EXIT.internal,
    stack: error.stack,
  };
}

/** What the parser of the command line says, in the words that its user has typed. */
function ofCommander(message: string): string {
  return message
    .replace(/^error: /, "")
    .replaceAll("\n", " ")
    .replace(/^command-argument value (.*) is invalid for argument '(.*?)'\./, "the $2 cannot be $1.");
}
