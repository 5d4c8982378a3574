/**
 * Where a node that starts gets the passphrase of its vault from: `--vault-unlock SOURCE`, `VGAS_VAULT_UNLOCK`.
 *
 * | source | the passphrase is |
 * |---|---|
 * | `prompt` | asked for on the terminal |
 * | `stdin` | standard input, to its end |
 * | `file:PATH` | what the file holds; nobody else may be able to read it |
 * | `env:NAME` | the variable, which is taken out of the environment before any child could inherit it |
 * | `systemd[:NAME]` | a credential of the service, `LoadCredential=vgas-vault:…` or `LoadCredentialEncrypted=` |
 * | `keyring` | what the desktop's keyring has for service `vgas` and the vault's id, or the home |
 *
 * One line end is removed, nothing else. What the system shows of this process's first environment (`/proc/<pid>/environ`)
 * still has the variable: prefer any other source.
 */
import { join } from "node:path";
import { isatty } from "node:tty";
import type { Secret } from "./bus/sealed/secret.ts";
import { VgasError } from "./protocols/errors.ts";
import { readKeyring } from "./unlock/keyring.ts";
import { readSecretFile, readSecretStream, secretOf } from "./unlock/secret-bytes.ts";

export type UnlockSource =
  | { readonly type: "prompt" | "stdin" | "keyring" }
  | { readonly type: "file"; readonly path: string }
  | { readonly type: "env"; readonly name: string }
  | { readonly type: "systemd"; readonly name: string };

export interface UnlockContext {
  /** Of the node. */
  readonly home: string;
  /** Of the vault, if it is known before it is open. */
  readonly vaultId?: string | undefined;
  /** Asks on the terminal. Default: there is none. */
  readonly prompt?: (() => Promise<Secret>) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** `env:NAME` takes the variable out of it. Default: the process's. */
  readonly env?: NodeJS.ProcessEnv;
  /** Default: the process's. */
  readonly stdin?: AsyncIterable<Uint8Array>;
  readonly platform?: NodeJS.Platform;
}

const STDIN_FD = 0;
const FORMS = "prompt, stdin, file:PATH, env:NAME, systemd, systemd:NAME or keyring";
const SYSTEMD_NAME = "vgas-vault";
const WHAT = "the vault's passphrase";

/** @throws VgasError CONFIG naming the forms. The text is not shown: somebody may have put the passphrase there */
export function parseUnlock(text: string): UnlockSource {
  const [type = "", value] = split(text);
  if (value === undefined) {
    if (type === "prompt" || type === "stdin" || type === "keyring") return { type };
    if (type === "systemd") return { type, name: SYSTEMD_NAME };
  } else {
    if (type === "file" && value !== "") return { type, path: value };
    if (type === "env" && /^[A-Za-z_][A-Za-z0-9_]*$/.test(value)) return { type, name: value };
    if (type === "systemd" && isFileName(value)) return { type, name: value };
  }
  throw new VgasError("CONFIG", `the unlock source of the vault must be ${FORMS}`);
}

/**
 * Reads the passphrase, once: `stdin` and `env` are empty afterwards. The caller wipes it.
 *
 * @throws VgasError CONFIG if it is not there or others can read it; INVALID if it is empty; TOO_LARGE; TIMEOUT, ABORTED
 */
export async function readUnlock(source: UnlockSource, context: UnlockContext): Promise<Secret> {
  const { env = process.env } = context;
  switch (source.type) {
    case "prompt":
      if (context.prompt === undefined) throw new VgasError("CONFIG", `no terminal to ask for ${WHAT} on`);
      return await context.prompt();
    case "stdin":
      return await readSecretStream(context.stdin ?? standardInput(), "bytes", `${WHAT} on stdin`, context.signal);
    case "file":
      return await readSecretFile(source.path, "bytes", WHAT);
    case "env":
      return takeVariable(env, source.name);
    case "systemd":
      // Systemd opens it to the service's user alone by an access list, which the file's mode shows as the group's.
      return await readSecretFile(systemdFile(env, source.name), "bytes", WHAT, { guarded: true });
    case "keyring": {
      const accounts = context.vaultId === undefined ? [context.home] : [context.vaultId, context.home];
      return await readKeyring(accounts, { platform: context.platform, signal: context.signal });
    }
  }
}

/** What is typed there would be shown. */
function standardInput(): AsyncIterable<Uint8Array> {
  if (isatty(STDIN_FD)) throw new VgasError("CONFIG", `${WHAT}: standard input is a terminal; use prompt`);
  return process.stdin;
}

function takeVariable(env: NodeJS.ProcessEnv, name: string): Secret {
  const text = env[name];
  delete env[name];
  if (text === undefined) throw new VgasError("CONFIG", `${WHAT}: there is no variable ${name}`);
  return secretOf(Buffer.from(text), "bytes", `${WHAT} in ${name}`);
}

function systemdFile(env: NodeJS.ProcessEnv, name: string): string {
  const dir = env["CREDENTIALS_DIRECTORY"];
  if (dir) return join(dir, name);
  throw new VgasError(
    "CONFIG",
    `${WHAT}: systemd gave this process no credentials; set LoadCredential=${name}:PATH in the unit`,
  );
}

function split(text: string): readonly [string, string?] {
  const colon = text.indexOf(":");
  return colon < 0 ? [text] : [text.slice(0, colon), text.slice(colon + 1)];
}

/** A credential's name must not lead out of its directory. */
function isFileName(text: string): boolean {
  return /^[^/\\\p{Cc}]{1,255}$/u.test(text) && text !== "." && text !== "..";
}
