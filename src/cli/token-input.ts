/** Where a command takes a token from: a file, standard input, the environment, or a prompt without echo; never a flag. */
import { open } from "node:fs/promises";
import { isatty } from "node:tty";
import type { Command } from "commander";
import { parseToken, type Token } from "../admission/token.ts";
import { diskError } from "../bus/home/files.ts";
import { VgasError } from "../protocols/errors.ts";
import type { Cli } from "./cli.ts";
import { UsageError } from "./failure.ts";
import { Prompt } from "./prompt.ts";
import { SecretInput } from "./secret-input.ts";

export interface TokenFlags {
  readonly tokenFile?: string;
}

const VARIABLE = "VGAS_TOKEN";
const WHAT = "the token";
/** A token has some 130 characters. */
const MAX_FILE_BYTES = 4_096;
const [STDIN, STDERR] = [0, 2] as const;

export function addTokenOption(command: Command): Command {
  return command.option(
    "--token-file <file>",
    `a file with the line that \`vgas token create\` printed; - reads it from stdin [${VARIABLE}: the line itself]`,
  );
}

/**
 * The token that is given; undefined if there is none. With `ask` whoever sits at a terminal is asked, and may have none too.
 *
 * @throws VgasError TOKEN_INVALID for what is none; CONFIG for a file that cannot be read; ABORTED
 */
export async function readToken(
  cli: Cli,
  { tokenFile }: TokenFlags,
  { ask }: { readonly ask: boolean },
): Promise<Token | undefined> {
  if (tokenFile !== undefined) refuseLine(tokenFile, "--token-file takes the name of a file, not the token itself");
  const env = { [VARIABLE]: cli.env[VARIABLE] };
  // What this process starts, agents among it, has no business with it.
  delete process.env[VARIABLE];
  if (tokenFile === undefined && !env[VARIABLE]) return ask ? await askFor(cli) : undefined;
  if (tokenFile !== undefined && tokenFile !== "-") return parseToken(await readTokenFile(cli, tokenFile));
  const input = new SecretInput({ ...cli, env });
  try {
    const secret = await input.read({
      ...{ what: WHAT, label: "Token", flag: "--token-file", variable: VARIABLE },
      // What is no token is told by the token's own rules.
      form: "bytes",
      file: tokenFile,
    });
    try {
      return parseToken(secret.use((bytes) => Buffer.from(bytes).toString("latin1")));
    } finally {
      secret.wipe();
    }
  } catch (error) {
    if (!(error instanceof VgasError) || (error.code !== "INVALID" && error.code !== "TOO_LARGE")) throw error;
    throw new VgasError("TOKEN_INVALID", error.message, { cause: error });
  } finally {
    input.close();
  }
}

/** The secret is in what begins like that. */
const LINE = /vgas1-[a-z2-7]{10}-/;

/**
 * Somebody may paste the whole line where something else is asked for: it must not be repeated in an error.
 *
 * @throws VgasError INVALID, with `instead`, if a token's line, or a part of it, is in `text`
 */
export function refuseLine(text: string, instead: string): void {
  if (LINE.test(text)) throw new VgasError("INVALID", instead);
}

/** A token is mostly good once and for a day: that others can read its file is worth a word, and not a refusal. */
async function readTokenFile({ terminal }: Cli, file: string): Promise<string> {
  const handle = await open(file).catch((error: unknown) => {
    throw diskError(error, `read the token in ${file}`);
  });
  try {
    if (((await handle.stat()).mode & 0o077) !== 0)
      terminal.note(`vgas: other users of this machine can read ${file}; delete it when the token is used up`);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(MAX_FILE_BYTES), 0, MAX_FILE_BYTES, null);
    return buffer.toString("latin1", 0, bytesRead);
  } catch (error) {
    throw diskError(error, `read the token in ${file}`);
  } finally {
    await handle.close();
  }
}

/** As `readToken` with `ask`, where there is nothing to be had without a token. @throws UsageError if there is none */
export async function requireToken(cli: Cli, flags: TokenFlags): Promise<Token> {
  const token = await readToken(cli, flags, { ask: true });
  if (token !== undefined) return token;
  const message = "a token is needed: the line that `vgas token create` prints on the swarm's machine";
  throw new UsageError(message, `Give --token-file FILE, or - for standard input, or set ${VARIABLE}.`);
}

/** Undefined where nobody can be asked, or who is asked just presses Enter. */
async function askFor({ interrupt }: Cli): Promise<Token | undefined> {
  if (!isatty(STDIN) || !isatty(STDERR)) return undefined;
  const prompt = Prompt.open({ signal: interrupt.signal, interrupt: () => process.emit("SIGINT") });
  if (prompt === undefined) return undefined;
  try {
    const typed = await prompt.secret("Token (Enter if there is none): ");
    const line = typed.toString("latin1").trim();
    typed.fill(0);
    return line === "" ? undefined : parseToken(line);
  } finally {
    prompt.close();
  }
}
