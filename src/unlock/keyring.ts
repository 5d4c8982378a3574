/** The keyring of the desktop: libsecret's `secret-tool` on Linux, the login keychain on macOS. */

import { spawn } from "node:child_process";
import { Deadline } from "../bus/deadline.ts";
import { errnoOf } from "../bus/home/files.ts";
import type { Secret } from "../bus/sealed/secret.ts";
import { VgasError } from "../protocols/errors.ts";
import { readSecretStream } from "./secret-bytes.ts";

/** Under which the passphrase is kept, together with the account. */
const SERVICE = "vgas";

/** Somebody may have to unlock the keyring first. */
const TIMEOUT_MS = 120_000;

interface Tool {
  readonly command: string;
  lookup(account: string): readonly string[];
  /** What puts the passphrase there, for people. */
  store(account: string): string;
  readonly missing: string;
}

const TOOLS: Readonly<Partial<Record<NodeJS.Platform, Tool>>> = {
  linux: {
    command: "secret-tool",
    lookup: (account) => ["lookup", "service", SERVICE, "account", account],
    store: (account) => `secret-tool store --label 'vgas vault' service ${SERVICE} account '${account}'`,
    missing: "secret-tool is not installed (package libsecret-tools)",
  },
  darwin: {
    command: "security",
    lookup: (account) => ["find-generic-password", "-s", SERVICE, "-a", account, "-w"],
    store: (account) => `security add-generic-password -s ${SERVICE} -a '${account}' -w`,
    missing: "the command security is not there",
  },
};

/**
 * The passphrase that the keyring of this user has for the first of `accounts` that it knows.
 *
 * @throws VgasError CONFIG if there is no keyring, or nothing for any of them; TIMEOUT, ABORTED
 */
export async function readKeyring(
  accounts: readonly string[],
  options: { readonly platform?: NodeJS.Platform | undefined; readonly signal?: AbortSignal | undefined } = {},
): Promise<Secret> {
  const { platform = process.platform, signal } = options;
  const tool = TOOLS[platform];
  if (tool === undefined)
    throw new VgasError("CONFIG", `vgas knows no keyring of ${platform}; use another unlock source`);
  for (const account of accounts) {
    const secret = await lookUp(tool, account, signal);
    if (secret !== undefined) return secret;
  }
  const [account = ""] = accounts;
  throw new VgasError("CONFIG", `the keyring has no passphrase of this vault; put it there: ${tool.store(account)}`);
}

async function lookUp(tool: Tool, account: string, signal: AbortSignal | undefined): Promise<Secret | undefined> {
  const deadline = new Deadline(TIMEOUT_MS, signal);
  const child = spawn(tool.command, tool.lookup(account), {
    stdio: ["ignore", "pipe", "ignore"],
    signal: deadline.signal,
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  // What it says comes before its end, and an empty answer is told by the exit code.
  const said = readSecretStream(child.stdout, "bytes", "the passphrase in the keyring").catch(
    (error: unknown) => error,
  );
  try {
    const [code, secret] = await Promise.all([ended, said]);
    if (code !== 0) return undefined;
    if (secret instanceof Error) throw secret;
    return secret as Secret;
  } catch (cause) {
    if (errnoOf(cause) === "ENOENT") throw new VgasError("CONFIG", `no keyring: ${tool.missing}`, { cause });
    if (signal?.aborted) throw new VgasError("ABORTED", "looking into the keyring was aborted", { cause });
    if (deadline.expired) throw new VgasError("TIMEOUT", `${tool.command} timed out after ${TIMEOUT_MS} ms`, { cause });
    throw cause;
  } finally {
    deadline.clear();
  }
}
