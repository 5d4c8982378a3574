/** The passphrase of a vault, or the key file that takes its place. */
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import type { Command } from "commander";
import { createWhole } from "../../../bus/home/files.ts";
import type { Secret } from "../../../bus/sealed/secret.ts";
import { UsageError } from "../../failure.ts";
import type { SecretInput } from "../../secret-input.ts";
import type { VaultFlags } from "./session.ts";

export interface PassphraseFlags extends VaultFlags {
  readonly passphraseFile?: string;
  readonly keyFile?: string;
}

export interface NewPassphraseFlags extends VaultFlags {
  readonly newPassphraseFile?: string;
  readonly newKeyFile?: string;
}

const PASSPHRASE_VARIABLE = "VGAS_VAULT_PASSPHRASE";
const NEW_PASSPHRASE_VARIABLE = "VGAS_VAULT_NEW_PASSPHRASE";

/** As strong as the keys it guards. */
const KEY_FILE_BYTES = 32;
const STDIN = "-";

export function addPassphraseOptions(command: Command): Command {
  return command
    .option("--passphrase-file <file>", `the passphrase, one line; - reads it from stdin [${PASSPHRASE_VARIABLE}]`)
    .option("--key-file <file>", "a file of any bytes in place of a passphrase; - reads it from stdin");
}

export function addNewPassphraseOptions(command: Command): Command {
  return command
    .option("--new-passphrase-file <file>", `the new passphrase; - reads it from stdin [${NEW_PASSPHRASE_VARIABLE}]`)
    .option("--new-key-file <file>", "a file in place of the new passphrase; made if it is not there");
}

/** The passphrase that opens a vault. @throws as `SecretInput.read` */
export async function readPassphrase(input: SecretInput, flags: PassphraseFlags): Promise<Secret> {
  const { passphraseFile, keyFile } = flags;
  refuseBoth("--passphrase-file", passphraseFile, "--key-file", keyFile);
  return await input.read(
    keyFile === undefined
      ? {
          what: "the passphrase",
          label: "Passphrase",
          form: "line",
          file: passphraseFile,
          flag: "--passphrase-file",
          variable: PASSPHRASE_VARIABLE,
        }
      : { what: "the key file", label: "Key", form: "bytes", file: keyFile, flag: "--key-file" },
  );
}

interface NewPassphraseOptions {
  readonly tell: (text: string) => void;
  /** It is the vault's first one: the flags are not called new. */
  readonly first?: boolean;
}

/** What a vault is to be opened by from now on; a key file that is not there is made, and `tell` told of. */
export async function readNewPassphrase(
  input: SecretInput,
  { newPassphraseFile, newKeyFile }: NewPassphraseFlags,
  { tell, first = false }: NewPassphraseOptions,
): Promise<Secret> {
  const flag = (name: string): string => (first ? `--${name}` : `--new-${name}`);
  refuseBoth(flag("passphrase-file"), newPassphraseFile, flag("key-file"), newKeyFile);
  if (newKeyFile === undefined) {
    return await input.read({
      what: first ? "the passphrase" : "the new passphrase",
      label: "New passphrase",
      form: "line",
      file: newPassphraseFile,
      flag: flag("passphrase-file"),
      variable: first ? PASSPHRASE_VARIABLE : NEW_PASSPHRASE_VARIABLE,
      again: true,
    });
  }
  if (newKeyFile !== STDIN && !existsSync(newKeyFile) && (await makeKeyFile(newKeyFile))) {
    tell(`Made the key file ${newKeyFile}. Keep a copy elsewhere: without it nobody can open the vault.`);
  }
  return await input.read({
    what: "the key file",
    label: "Key",
    form: "bytes",
    file: newKeyFile,
    flag: flag("key-file"),
  });
}

async function makeKeyFile(path: string): Promise<boolean> {
  const random = randomBytes(KEY_FILE_BYTES);
  const line = base64Line(random);
  try {
    return await createWhole(path, line);
  } finally {
    random.fill(0);
    line.fill(0);
  }
}

const ALPHABET = Buffer.from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
const [PADDING, NEWLINE] = [0x3d, 0x0a] as const;

/** Base64 and a line end, without a string that could not be wiped. */
function base64Line(bytes: Uint8Array): Buffer {
  const line = Buffer.allocUnsafeSlow(4 * Math.ceil(bytes.length / 3) + 1).fill(PADDING);
  for (let i = 0; i * 6 < bytes.length * 8; i++) {
    const at = Math.floor((i * 6) / 8);
    const pair = ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
    line[i] = ALPHABET[(pair >> (10 - ((i * 6) % 8))) & 63] ?? PADDING;
  }
  line[line.length - 1] = NEWLINE;
  return line;
}

function refuseBoth(a: string, isA: string | undefined, b: string, isB: string | undefined): void {
  if (isA !== undefined && isB !== undefined)
    throw new UsageError(`${a} and ${b} exclude each other`, "Give one of them.");
}
