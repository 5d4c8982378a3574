/** Secrets out of files and streams: never as strings, and every buffer that held one is overwritten. */
import { type FileHandle, open } from "node:fs/promises";
import { diskError, errnoOf } from "../bus/home/files.ts";
import { Secret } from "../bus/sealed/secret.ts";
import { VgasError } from "../protocols/errors.ts";
import { MAX_SECRET_BYTES } from "../protocols/vault/operations.ts";

/**
 * What a secret may look like. `bytes`: anything, as a key file has it. `line`: one line of text, as a person types it.
 * `key`: what an HTTP header takes, printable ASCII without space around it.
 */
export type SecretForm = "bytes" | "line" | "key";

/** Room for the line end that is removed, and for one byte more than may be. */
const BUFFER_BYTES = MAX_SECRET_BYTES + 3;

const NEWLINE = 0x0a;
const RETURN = 0x0d;
const SPACE = 0x20;
const DELETE = 0x7f;

/** Permission bits mean nothing on Windows. */
const HAS_MODES = process.platform !== "win32";

/**
 * The secret in `bytes` without its one line end; `bytes` is overwritten. `what` names it in errors: "the passphrase".
 *
 * @throws VgasError INVALID, TOO_LARGE; never with a part of the secret
 */
export function secretOf(bytes: Buffer, form: SecretForm, what: string): Secret {
  try {
    const text = bytes.subarray(0, lengthWithoutLineEnd(bytes));
    if (text.length > MAX_SECRET_BYTES) throw tooLong(what);
    const complaint = complaintOf(text, form);
    if (complaint !== undefined) throw new VgasError("INVALID", `${what} ${complaint}`);
    const own = Buffer.allocUnsafeSlow(text.length);
    text.copy(own);
    return new Secret(own);
  } finally {
    bytes.fill(0);
  }
}

/**
 * The secret that a file holds. Pipes and devices, such as `<(command)` of a shell, are read to their end.
 *
 * @throws VgasError CONFIG if there is none, or others can read it (unless `guarded`: something else than the file's mode
 *   keeps them out); INVALID, TOO_LARGE
 */
export async function readSecretFile(
  path: string,
  form: SecretForm,
  what: string,
  { guarded = false }: { readonly guarded?: boolean } = {},
): Promise<Secret> {
  const file = await open(path, "r").catch((error: unknown) => {
    if (["ENOENT", "ENOTDIR"].includes(errnoOf(error) ?? ""))
      throw new VgasError("CONFIG", `${what}: there is no file ${path}`, { cause: error });
    throw diskError(error, `read ${path}`);
  });
  try {
    const status = await file.stat();
    if (HAS_MODES && !guarded && status.isFile() && (status.mode & 0o077) !== 0) {
      throw new VgasError("CONFIG", `other users can read ${what} in ${path}: chmod 600 '${path}'`);
    }
    return secretOf(await readSome(file, what), form, what);
  } catch (error) {
    throw diskError(error, `read ${path}`);
  } finally {
    await file.close();
  }
}

/** The secret that a stream holds, read to its end. @throws VgasError INVALID, TOO_LARGE, ABORTED */
export async function readSecretStream(
  stream: AsyncIterable<Uint8Array>,
  form: SecretForm,
  what: string,
  signal?: AbortSignal,
): Promise<Secret> {
  const reading = readToEnd(stream, form, what);
  if (signal === undefined) return await reading;
  let onAbort: () => void = () => undefined;
  const given = new Promise<never>((_, reject) => {
    onAbort = () => reject(new VgasError("ABORTED", `reading ${what} was aborted`));
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([reading, given]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

async function readToEnd(stream: AsyncIterable<Uint8Array>, form: SecretForm, what: string): Promise<Secret> {
  const buffer = Buffer.alloc(BUFFER_BYTES);
  let length = 0;
  try {
    for await (const chunk of stream) {
      const taken = Math.min(chunk.length, buffer.length - length);
      buffer.set(chunk.subarray(0, taken), length);
      length += taken;
      const whole = taken === chunk.length;
      chunk.fill(0);
      if (!whole) throw tooLong(what);
    }
    return secretOf(buffer.subarray(0, length), form, what);
  } finally {
    buffer.fill(0);
  }
}

async function readSome(file: FileHandle, what: string): Promise<Buffer> {
  const buffer = Buffer.alloc(BUFFER_BYTES);
  let length = 0;
  try {
    for (;;) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length, null);
      length += bytesRead;
      if (length === buffer.length) throw tooLong(what);
      if (bytesRead === 0) return buffer.subarray(0, length);
    }
  } catch (error) {
    buffer.fill(0);
    throw error;
  }
}

function lengthWithoutLineEnd(bytes: Buffer): number {
  if (bytes.at(-1) !== NEWLINE) return bytes.length;
  return bytes.at(-2) === RETURN ? bytes.length - 2 : bytes.length - 1;
}

function complaintOf(bytes: Buffer, form: SecretForm): string | undefined {
  if (bytes.length === 0) return "is empty";
  if (form === "bytes") return undefined;
  if (bytes.includes(NEWLINE)) return "has more than one line";
  if (bytes.some((byte) => byte < SPACE || byte === DELETE)) return "holds a control character";
  if (form === "line") return undefined;
  if (bytes.some((byte) => byte > DELETE))
    return "holds a character that is not ASCII, so no HTTP header could carry it";
  return bytes.at(0) === SPACE || bytes.at(-1) === SPACE ? "begins or ends with a space" : undefined;
}

function tooLong(what: string): VgasError {
  return new VgasError("TOO_LARGE", `${what} has more than ${MAX_SECRET_BYTES} bytes`);
}
