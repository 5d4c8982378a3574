/**
 * Makes a home of a backup.
 *
 * 1. What the manifest does not name is not written: no other path, no link, nothing twice, no byte more than it says.
 * 2. The home appears under its name when all of it has been checked and is on the disk; until then it is in a directory with
 *    a name of its own, which is gone after a failure.
 * 3. Modes are the home's own (0600, 0700), whatever the archive says.
 */
import { createHash, randomBytes } from "node:crypto";
import { type FileHandle, mkdir, open, readdir, realpath, rename, rm, rmdir, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { pipeline, type Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { VgasError } from "../../protocols/errors.ts";
import { diskError, errnoOf, makePrivateDir, PRIVATE_FILE_MODE, syncDir } from "../home/files.ts";
import { damaged, type FileRecord, MANIFEST, MAX_MANIFEST_BYTES, type Manifest, parseManifest } from "./manifest.ts";
import { type ReadEntry, readEntries } from "./tar.ts";

/**
 * Restores `source`, a backup as it was written, into the home `dir`, which is not there or empty. Returns its manifest.
 *
 * @throws VgasError CONFLICT if the home is not empty, BACKUP_DAMAGED, CONFIG of the disk or for a backup of a newer vgas, ABORTED;
 *   then there is nothing at `dir` that was not there before
 */
export async function restoreHome(source: Readable, dir: string, signal?: AbortSignal): Promise<Manifest> {
  const gunzip = createGunzip();
  const giveUp = (): void => void gunzip.destroy(new Error("given up"));
  signal?.addEventListener("abort", giveUp);
  try {
    const place = await placeFor(dir);
    try {
      pipeline(source, gunzip, () => undefined);
      const manifest = await unpack(gunzip, place.stage);
      for (const path of ["", ...manifest.directories]) await syncDir(join(place.stage, path));
      signal?.throwIfAborted();
      await settle(place);
      return manifest;
    } catch (error) {
      await rm(place.stage, { recursive: true, force: true }).catch(() => undefined);
      throw error;
    }
  } catch (error) {
    if (signal?.aborted) throw new VgasError("ABORTED", "the restore was given up", { cause: error });
    throw readError(error, dir);
  } finally {
    signal?.removeEventListener("abort", giveUp);
    gunzip.destroy();
    source.destroy();
  }
}

interface Place {
  /** Where the home is to be. */
  readonly home: string;
  /** Where it is made, in the same file system. */
  readonly stage: string;
}

async function placeFor(dir: string): Promise<Place> {
  const wanted = resolve(dir);
  if (/\p{Cc}/u.test(wanted)) throw new VgasError("CONFIG", "the path of a home must not hold control characters");
  const present = await readdir(wanted).catch((error: unknown) => {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw diskError(error, `restore into ${wanted}`);
  });
  if (present !== undefined && present.length > 0) throw notEmpty(wanted);
  await makePrivateDir(dirname(wanted));
  const folder = await realpath(dirname(wanted));
  const home = present === undefined ? join(folder, basename(wanted)) : await realpath(wanted);
  const name = `.restore-${randomBytes(6).toString("hex")}`;
  const beside = join(dirname(home), `${basename(home)}${name}`);
  // A volume is a file system of its own, and the directory that it is mounted on cannot be replaced.
  const mounted = present !== undefined && (await stat(home)).dev !== (await stat(dirname(home))).dev;
  if (!mounted && (await made(beside, present !== undefined))) return { home, stage: beside };
  const stage = join(home, name);
  await mkdir(stage, { mode: 0o700 });
  return { home, stage };
}

/** False if it could not be made because the folder is somebody else's, and there is another place. */
async function made(stage: string, elsewhere: boolean): Promise<boolean> {
  try {
    await mkdir(stage, { mode: 0o700 });
    return true;
  } catch (error) {
    if (elsewhere && ["EACCES", "EPERM", "EROFS"].includes(errnoOf(error) ?? "")) return false;
    throw diskError(error, `make the directory ${stage}`);
  }
}

async function settle({ home, stage }: Place): Promise<void> {
  try {
    if (dirname(stage) !== home) {
      await rename(stage, home);
      await syncDir(dirname(home));
      return;
    }
    // The node's identity last: without it nothing there is taken for a home.
    const names = (await readdir(stage)).sort(
      (one, other) => Number(one === "node.json") - Number(other === "node.json"),
    );
    for (const name of names) await rename(join(stage, name), join(home, name));
    await rmdir(stage);
    await syncDir(home);
  } catch (error) {
    if (errnoOf(error) === "ENOTEMPTY" || errnoOf(error) === "EEXIST") throw notEmpty(home);
    throw error;
  }
}

function notEmpty(home: string): VgasError {
  return new VgasError("CONFLICT", `${home} is not empty: give another --home, or move it away`);
}

async function unpack(source: AsyncIterable<Uint8Array>, stage: string): Promise<Manifest> {
  let manifest: Manifest | undefined;
  const files = new Map<string, FileRecord>();
  const directories = new Set<string>();
  for await (const entry of readEntries(source)) {
    if (manifest === undefined) {
      manifest = await readManifest(entry);
      for (const file of manifest.files) files.set(file.path, file);
      for (const path of manifest.directories) {
        directories.add(path);
        await mkdir(join(stage, path), { mode: 0o700 });
      }
      continue;
    }
    const { path, type } = entry;
    // Each is taken out when it comes: what comes twice is not in the manifest any more.
    if (type === "Directory") {
      if (!directories.delete(path)) throw unknown(path);
      continue;
    }
    const record = files.get(path);
    if (record === undefined || !files.delete(path)) throw unknown(path);
    await writeChecked(join(stage, path), entry, record);
  }
  if (manifest === undefined) throw damaged("it is empty");
  const [missing] = [...files.keys(), ...directories];
  if (missing !== undefined) throw damaged(`${missing} is missing`);
  return manifest;
}

function unknown(path: string): VgasError {
  return damaged(`${JSON.stringify(path)} is in it twice, or is not in its manifest`);
}

async function readManifest({ path, type, bytes, content }: ReadEntry): Promise<Manifest> {
  if (path !== MANIFEST || type !== "File")
    throw damaged("it does not begin with a manifest, so `vgas backup` did not make it");
  if (bytes > MAX_MANIFEST_BYTES) throw damaged("its manifest is too long");
  const parts: Uint8Array[] = [];
  for await (const part of content) parts.push(part);
  return parseManifest(Buffer.concat(parts).toString("utf8"));
}

async function writeChecked(path: string, { bytes, content }: ReadEntry, record: FileRecord): Promise<void> {
  if (bytes !== record.bytes) throw damaged(`${record.path} has ${bytes} bytes, and its manifest says ${record.bytes}`);
  const hash = createHash("sha256");
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, "wx", PRIVATE_FILE_MODE);
    for await (const part of content) {
      hash.update(part);
      await handle.writeFile(part);
    }
    await handle.sync();
  } finally {
    await handle?.close();
  }
  if (hash.digest("hex") !== record.sha256) throw damaged(`${record.path} is not what was saved`);
}

/** What went wrong with the bytes of the backup is told apart from what went wrong with the disk. */
function readError(error: unknown, dir: string): VgasError {
  const code = errnoOf(error);
  if (code === "Z_BUF_ERROR") return damaged("it is cut off", error);
  if (code?.startsWith("Z_") === true) return damaged("it is not gzip, or not what was written", error);
  if (!(error instanceof VgasError) && code === undefined && error instanceof TypeError)
    return damaged(error.message, error);
  return diskError(error, `restore into ${dir}`);
}
