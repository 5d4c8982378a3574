/** The home's files: private, written whole or not at all, and every failure of the disk is an error that says what to do. */
import { randomBytes } from "node:crypto";
import { constants, type Stats } from "node:fs";
import { link, lstat, mkdir, open, readFile, rename, stat, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { VgasError } from "../../protocols/errors.ts";

const PRIVATE_DIR_MODE = 0o700;
export const PRIVATE_FILE_MODE = 0o600;

/** Permission bits mean nothing there; the profile folder's access list protects the home instead. */
const HAS_MODES = process.platform !== "win32";

/** The errno code of `thrown`, if it is an error of the operating system. */
export function errnoOf(thrown: unknown): string | undefined {
  return thrown instanceof Error && "code" in thrown && typeof thrown.code === "string" ? thrown.code : undefined;
}

/** A failure of the disk as a `CONFIG` error with its remedy; `doing` is for example "write /home/me/.vgas/node.json". */
export function diskError(thrown: unknown, doing: string): VgasError {
  if (thrown instanceof VgasError) return thrown;
  const code = errnoOf(thrown);
  const remedy = code === undefined ? undefined : REMEDIES[code];
  if (code === undefined) return new VgasError("INTERNAL", `cannot ${doing}: ${String(thrown)}`, { cause: thrown });
  return new VgasError("CONFIG", `cannot ${doing}: ${remedy ?? `the system says ${code}`}`, { cause: thrown });
}

// No word of another --home for what also happens to a node that runs: its vault and its queue are in the one that it has.
const MAY_NOT = "permission is refused: make it yours (chown, chmod u+rwX)";
const NO_ROOM = "no space is left on that disk: free some";
const NOT_A_DIRECTORY = "part of the path is a file, not a directory; move it away, or give another --home";
const REMEDIES: Readonly<Record<string, string>> = {
  EACCES: MAY_NOT,
  EPERM: MAY_NOT,
  EROFS: "that file system is read-only: make it writable",
  ENOSPC: NO_ROOM,
  EDQUOT: "your disk quota is used up: free some space",
  ENOTDIR: NOT_A_DIRECTORY,
  EEXIST: NOT_A_DIRECTORY,
  EISDIR: "it is a directory, not a file",
  ENOENT: "it, or the directory that it is in, does not exist",
  ENAMETOOLONG: "the path is too long; give a shorter --home",
  EMFILE: "too many files are open; raise the limit (ulimit -n)",
  ENFILE: "the machine has too many files open",
  EIO: "the disk reports an input/output error",
};

/**
 * Makes `dir` (mode 0700) and its parents if they are missing. Not with `recursive`, which never returns where the file
 * system answers ENOENT although the parent is there, as below /proc or in a removed directory.
 */
export async function makePrivateDir(dir: string): Promise<void> {
  try {
    await makeWithParents(dir);
  } catch (error) {
    throw diskError(error, `make the directory ${dir}`);
  }
}

async function makeWithParents(dir: string): Promise<void> {
  try {
    await makeOrKeep(dir);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT" || dirname(dir) === dir) throw error;
    await makeWithParents(dirname(dir));
    await makeOrKeep(dir);
  }
}

async function makeOrKeep(dir: string): Promise<void> {
  try {
    await mkdir(dir, { mode: PRIVATE_DIR_MODE });
  } catch (error) {
    if (errnoOf(error) !== "EEXIST" || !(await stat(dir)).isDirectory()) throw error;
  }
}

/**
 * Refuses a directory in which other users could replace files: whoever can, owns the secrets in it.
 *
 * @throws VgasError CONFIG with the command that mends it
 */
export async function refuseSharedDir(dir: string): Promise<void> {
  const status = await stat(dir).catch((error: unknown) => {
    throw diskError(error, `look at ${dir}`);
  });
  if (!status.isDirectory()) throw new VgasError("CONFIG", `${dir} is not a directory; give another --home`);
  if (HAS_MODES && (status.mode & 0o022) !== 0) {
    throw new VgasError("CONFIG", `other users can write to ${dir}, so its secrets are not safe: chmod 700 '${dir}'`);
  }
}

/**
 * Refuses a directory that others can read or enter, that is a symbolic link, or that is somebody else's.
 *
 * @returns false if there is no such directory
 * @throws VgasError CONFIG with the command that mends it
 */
export async function refuseOpenDir(dir: string): Promise<boolean> {
  const status = await lstat(dir).catch((error: unknown) => {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw diskError(error, `look at ${dir}`);
  });
  if (status === undefined) return false;
  if (status.isSymbolicLink())
    throw new VgasError("CONFIG", `${dir} is a symbolic link; put the directory itself there`);
  if (!status.isDirectory()) throw new VgasError("CONFIG", `${dir} is not a directory; move it away`);
  refuseOthers(dir, status, "700");
  return true;
}

/**
 * The bytes of a private file, or undefined if there is none.
 *
 * @throws VgasError CONFIG, with the command that mends it, if others can read or write it, if it is somebody else's, a
 *   symbolic link or no file; TOO_LARGE if it has more than `maxBytes`
 */
export async function readPrivate(path: string, maxBytes: number): Promise<Buffer | undefined> {
  try {
    // Without O_NONBLOCK a named pipe would hold this up for ever.
    const file = await open(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0));
    try {
      const status = await file.stat();
      if (!status.isFile()) throw new VgasError("CONFIG", `${path} is not a file; move it away`);
      refuseOthers(path, status, "600");
      if (status.size > maxBytes) {
        throw new VgasError("TOO_LARGE", `${path} has ${status.size} bytes, more than ${maxBytes}`);
      }
      return await file.readFile();
    } finally {
      await file.close();
    }
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    if (errnoOf(error) === "ELOOP" || errnoOf(error) === "EMLINK") {
      throw new VgasError("CONFIG", `${path} is a symbolic link; put the file itself there`, { cause: error });
    }
    throw diskError(error, `read ${path}`);
  }
}

/** @throws VgasError CONFIG, with the command that mends it, if others can read or write it or it is somebody else's */
export function refuseOthers(path: string, status: Stats, mode: string): void {
  if (!HAS_MODES) return;
  if (status.uid !== process.getuid?.()) {
    throw new VgasError("CONFIG", `${path} belongs to another user, who could change it: chown "$USER" '${path}'`);
  }
  if ((status.mode & 0o077) !== 0) {
    throw new VgasError("CONFIG", `other users can get at ${path}: chmod ${mode} '${path}'`);
  }
}

/**
 * Writes a private file (mode 0600) so that a reader, or the next start after a crash, sees the old content or the new,
 * never a part.
 */
export async function writeWhole(path: string, content: string | Uint8Array): Promise<void> {
  const temporary = await writeTemporary(path, content);
  try {
    await rename(temporary, path);
    await syncDir(dirname(path));
  } catch (error) {
    await unlink(temporary).catch(() => undefined);
    throw diskError(error, `write ${path}`);
  }
}

/**
 * Makes a private file with that content unless it exists; of several callers at once exactly one gets true. Nobody ever
 * sees it without its content.
 */
export async function createWhole(path: string, content: string | Uint8Array): Promise<boolean> {
  const temporary = await writeTemporary(path, content);
  try {
    await link(temporary, path);
    await syncDir(dirname(path));
    return true;
  } catch (error) {
    if (errnoOf(error) === "EEXIST") return false;
    throw diskError(error, `make ${path}`);
  } finally {
    await unlink(temporary).catch(() => undefined);
  }
}

/** Writes and syncs `content` beside `path` under a name of its own, and returns that name. */
async function writeTemporary(path: string, content: string | Uint8Array): Promise<string> {
  const temporary = `${path}.${process.pid}.${randomBytes(6).toString("hex")}.tmp`;
  try {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL;
    const file = await open(temporary, flags, PRIVATE_FILE_MODE);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (error) {
    await unlink(temporary).catch(() => undefined);
    throw diskError(error, `write ${path}`);
  }
  return temporary;
}

/** The text of `path`, or undefined if there is no such file. */
export async function readIfPresent(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw diskError(error, `read ${path}`);
  }
}

/**
 * The text of a file that holds a secret.
 *
 * @throws VgasError CONFIG if other users can read it, NOT_FOUND if it is missing
 */
export async function readSecret(path: string): Promise<string> {
  const file = await open(path, "r").catch((error: unknown) => {
    if (errnoOf(error) === "ENOENT") throw new VgasError("NOT_FOUND", `there is no credential at ${path}`);
    throw diskError(error, `read ${path}`);
  });
  try {
    const { mode } = await file.stat();
    if (HAS_MODES && (mode & 0o077) !== 0) {
      throw new VgasError("CONFIG", `other users can read the secret in ${path}: chmod 600 '${path}'`);
    }
    return await file.readFile("utf8");
  } catch (error) {
    throw diskError(error, `read ${path}`);
  } finally {
    await file.close();
  }
}

/** Makes a rename durable. Some file systems cannot sync a directory; then the rename is as durable as they make it. */
export async function syncDir(dir: string): Promise<void> {
  const handle = await open(dir, "r").catch(() => undefined);
  if (handle === undefined) return;
  await handle.sync().catch(() => undefined);
  await handle.close();
}
