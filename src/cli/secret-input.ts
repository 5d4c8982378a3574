/**
 * Where a command takes a secret from: a file, standard input, the environment, or a prompt without echo; never a flag.
 *
 * One of these per command: standard input gives one thing only, and the terminal is opened once.
 */
import { timingSafeEqual } from "node:crypto";
import { isatty } from "node:tty";
import type { Secret } from "../bus/sealed/secret.ts";
import { VgasError } from "../protocols/errors.ts";
import { readSecretFile, readSecretStream, type SecretForm, secretOf } from "../unlock/secret-bytes.ts";
import type { Cli } from "./cli.ts";
import { AdvisedError, UsageError } from "./failure.ts";
import { Prompt } from "./prompt.ts";

export interface SecretQuestion {
  /** In errors: "the passphrase". */
  readonly what: string;
  /** On the terminal: "Passphrase". */
  readonly label: string;
  readonly form: SecretForm;
  /** File of a flag; `-` is standard input. */
  readonly file?: string | undefined;
  /** The flag's name, for the errors: `--key-file`. */
  readonly flag: string;
  /** Variable to take it from where there is no file. */
  readonly variable?: string;
  /** Whether standard input gives it where that is no terminal. */
  readonly piped?: boolean;
  /** What to do where nobody can be asked. Default: names the flag and the variable. */
  readonly remedy?: string;
  /** Typed twice, for what is new. */
  readonly again?: boolean;
}

const STDIN = "-";
const STDIN_FD = 0;

export class SecretInput {
  readonly #cli: Cli;
  /** What standard input has been read for. */
  #stdinFor: string | undefined;
  #prompt: Prompt | undefined;

  /** `stdinFor`: what standard input gives already, such as the connection. */
  constructor(cli: Cli, stdinFor?: string) {
    this.#cli = cli;
    this.#stdinFor = stdinFor;
  }

  /**
   * The secret; the caller wipes it. Of one that is not good the error says what to do about where it came from.
   *
   * @throws UsageError if there is nowhere to take it from; VgasError CONFIG for a file that others can read, INVALID,
   *   TOO_LARGE, ABORTED
   */
  async read(question: SecretQuestion): Promise<Secret> {
    try {
      return await this.#read(question);
    } catch (error) {
      if (!(error instanceof VgasError) || (error.code !== "INVALID" && error.code !== "TOO_LARGE")) throw error;
      throw new AdvisedError(error, error.message, "Nothing was changed: give the command again, with what is right.");
    }
  }

  async #read(question: SecretQuestion): Promise<Secret> {
    const { what, form, file, variable, piped } = question;
    if (file === STDIN) return await (isatty(STDIN_FD) ? this.#ask(question) : this.#fromStdin(question));
    if (file !== undefined) return await readSecretFile(file, form, what);
    const text = variable === undefined ? undefined : this.#cli.env[variable];
    if (text) return secretOf(Buffer.from(text), form, `${what} in ${variable}`);
    if (piped && this.#stdinFor === undefined && !isatty(STDIN_FD)) return await this.#fromStdin(question);
    return await this.#ask(question);
  }

  /** Whether the user says yes. @throws UsageError where nobody can be asked; `remedy` says what to do then */
  async confirm(question: string, remedy: string): Promise<boolean> {
    const prompt = this.#terminal();
    if (prompt === undefined) throw new UsageError("this has to be confirmed, and there is no terminal", remedy);
    return await prompt.yes(question);
  }

  /** Gives the terminal back. Idempotent. */
  close(): void {
    this.#prompt?.close();
    this.#prompt = undefined;
  }

  async #fromStdin({ what, form, flag }: SecretQuestion): Promise<Secret> {
    if (this.#stdinFor !== undefined)
      throw new UsageError(
        `standard input gives ${this.#stdinFor}, so it cannot give ${what} too`,
        `Give ${flag} FILE.`,
      );
    this.#stdinFor = what;
    return await readSecretStream(process.stdin, form, `${what} on stdin`, this.#cli.interrupt.signal);
  }

  async #ask(question: SecretQuestion): Promise<Secret> {
    const { what, label, form, flag, variable, again } = question;
    const prompt = this.#terminal();
    if (prompt === undefined) {
      const sources = `Give ${flag} FILE, or - for standard input${variable === undefined ? "" : `, or set ${variable}`}.`;
      throw new UsageError(`there is no terminal to ask for ${what} on`, question.remedy ?? sources);
    }
    const typed = await prompt.secret(`${label}: `);
    if (!again) {
      // A key of several lines was pasted, perhaps: its first line alone would be a wrong one.
      if (prompt.typedAhead && form === "key") {
        typed.fill(0);
        throw new VgasError("INVALID", `${what} has more than one line`);
      }
      return secretOf(typed, form, what);
    }
    const secret = secretOf(typed, form, what);
    try {
      const repeated = await prompt.secret(`${label} again: `);
      const same = secret.use((bytes) => bytes.length === repeated.length && timingSafeEqual(bytes, repeated));
      repeated.fill(0);
      if (!same) throw new VgasError("INVALID", `${what} was typed differently the second time`);
      return secret;
    } catch (error) {
      secret.wipe();
      throw error;
    }
  }

  #terminal(): Prompt | undefined {
    const { interrupt } = this.#cli;
    this.#prompt ??= Prompt.open({
      signal: interrupt.signal,
      // To ourselves, so that it is what it would have been where the terminal makes a signal of Ctrl-C.
      interrupt: () => process.emit("SIGINT"),
    });
    return this.#prompt;
  }
}
