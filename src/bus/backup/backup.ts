/**
 * Makes a backup of a home that nobody uses: one gzipped tar, the manifest first.
 *
 * 1. The home's lock is held, and no broker runs on its store, from the first byte read to the last.
 * 2. Each file is read twice, for the manifest and for the archive, and must be the same: commands that work on a home without
 *    its lock (`vgas token create`) may have written meanwhile.
 * 3. A file appears under its name when it is whole and on the disk, or not at all.
 */
import { createHash, randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, link, lstat, open, realpath, rename, unlink } from "node:fs/promises";
import { basename, dirname, join, relative, resolve } from "node:path";
import { pipeline, Readable } from "node:stream";
import { createGzip } from "node:zlib";
import { VgasError } from "../../protocols/errors.ts";
import { diskError, errnoOf, PRIVATE_FILE_MODE, syncDir } from "../home/files.ts";
import { type Home, openHome } from "../home/home.ts";
import { layoutOf } from "../home/layout.ts";
import { readNodeIdentity } from "../home/node-identity.ts";
import { brokersOf } from "../nats-server/orphans.ts";
import { contentsOf } from "./contents.ts";
import { type FileRecord, FORMAT, MANIFEST, MAX_MANIFEST_BYTES, type Manifest } from "./manifest.ts";
import { endBlocks, headerBlocks, padding } from "./tar.ts";

const CHUNK_BYTES = 256 * 1024;

export interface BackupOptions {
  /** Version of vgas, for the manifest. */
  readonly version: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly signal?: AbortSignal;
}

/** What was read; the archive is smaller. */
export interface BackupReport {
  readonly hostId: string;
  readonly madeAt: number;
  readonly files: number;
  readonly bytes: number;
}

/**
 * Writes the backup of the home at `dir` into `file` (mode 0600), which with `force` may exist.
 *
 * @throws VgasError HOME_IN_USE, NOT_FOUND if there is no home, CONFLICT if the file exists or the home is being changed, CONFIG of
 *   the disk, ABORTED; then `file` is as before
 */
export async function backUpTo(
  dir: string,
  file: string,
  options: BackupOptions & { readonly force?: boolean },
): Promise<BackupReport> {
  const { force = false, signal } = options;
  const target = await targetOf(dir, file, force);
  return await withStillHome(dir, async (home) => {
    const manifest = await manifestOf(home, options);
    const temporary = `${target}.${process.pid}.${randomBytes(6).toString("hex")}.tmp`;
    const doing = `write ${file}`;
    try {
      const handle = await open(temporary, "wx", PRIVATE_FILE_MODE);
      try {
        // Not by a stream of the handle's own: closing the handle would wait for it.
        for await (const chunk of packed(home, manifest)) {
          signal?.throwIfAborted();
          await handle.writeFile(chunk);
        }
        await handle.sync();
      } finally {
        await handle.close();
      }
      await publish(temporary, target, force);
    } catch (error) {
      await unlink(temporary).catch(() => undefined);
      if (signal?.aborted) throw new VgasError("ABORTED", `${doing} was given up`, { cause: error });
      throw diskError(error, doing);
    }
    return reportOf(manifest);
  });
}

/** Gives the backup to `write`, piece by piece. @throws VgasError as `backUpTo`, and what `write` throws */
export async function backUpInto(
  dir: string,
  write: (chunk: Uint8Array) => Promise<void>,
  options: BackupOptions,
): Promise<BackupReport> {
  return await withStillHome(dir, async (home) => {
    const manifest = await manifestOf(home, options);
    for await (const chunk of packed(home, manifest)) {
      if (options.signal?.aborted) throw new VgasError("ABORTED", "the backup was given up");
      await write(chunk);
    }
    return reportOf(manifest);
  });
}

/** Does `work` while nobody else can use the home. */
async function withStillHome<T>(dir: string, work: (home: Home) => Promise<T>): Promise<T> {
  // Opening a home makes one where there is none.
  const identity = await readNodeIdentity(layoutOf(resolve(dir)).node);
  if (identity === undefined) throw new VgasError("NOT_FOUND", `there is no home of a node at ${dir}`);
  const home = await openHome(dir);
  await home.lock().catch((error: unknown) => {
    if (!(error instanceof VgasError) || error.code !== "HOME_IN_USE") throw error;
    const [who] = error.message.split(";");
    const how = `\`vgas drain ${home.hostId} --force\`, or SIGTERM to its process`;
    throw new VgasError("HOME_IN_USE", `${who}: a backup takes a home that nobody uses. Stop it first: ${how}`, {
      cause: error,
    });
  });
  try {
    const [broker] = await brokersOf(home.layout);
    if (broker !== undefined) {
      const who = `the nats-server of a node that was killed, process ${broker.pid}, still runs on ${home.dir}`;
      const how = `\`kill ${broker.pid}\` and wait for its end, or start the node (\`vgas up\`) and stop it by SIGTERM`;
      throw new VgasError("HOME_IN_USE", `${who}: ${how}`);
    }
    return await work(home);
  } finally {
    await home.release();
  }
}

/** Absolute. @throws VgasError CONFLICT, CONFIG, before anything was read */
async function targetOf(dir: string, file: string, force: boolean): Promise<string> {
  const folder = await realpath(dirname(resolve(file))).catch((error: unknown) => {
    throw diskError(error, `write ${file}`);
  });
  const home = await realpath(dir).catch(() => resolve(dir));
  const from = relative(home, folder);
  if (from === "" || !/^\.\.(?:[\\/]|$)/.test(from)) {
    throw new VgasError("CONFIG", `${file} is in the home that is to be backed up; write it elsewhere`);
  }
  const target = join(folder, basename(resolve(file)));
  const present = await lstat(target).catch(() => undefined);
  if (present === undefined) return target;
  if (!present.isFile()) throw new VgasError("CONFIG", `${file} is there, and is not a file; give another name`);
  if (!force) throw exists(file);
  return target;
}

function exists(file: string, cause?: unknown): VgasError {
  return new VgasError("CONFLICT", `${file} exists; give another name, or --force to replace it`, { cause });
}

async function publish(temporary: string, target: string, force: boolean): Promise<void> {
  if (force || !(await linked(temporary, target))) await rename(temporary, target);
  else await unlink(temporary).catch(() => undefined);
  await syncDir(dirname(target));
}

/** False where the file system knows no links, so that a file that came meanwhile cannot be told from none. */
async function linked(temporary: string, target: string): Promise<boolean> {
  try {
    await link(temporary, target);
    return true;
  } catch (error) {
    if (errnoOf(error) === "EEXIST") throw exists(target, error);
    if (["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"].includes(errnoOf(error) ?? "")) return false;
    throw error;
  }
}

function reportOf({ hostId, madeAt, files }: Manifest): BackupReport {
  return { hostId, madeAt, files: files.length, bytes: files.reduce((sum, { bytes }) => sum + bytes, 0) };
}

async function manifestOf(home: Home, { version, now, signal }: BackupOptions): Promise<Manifest> {
  const { directories, files } = await contentsOf(home.dir);
  const records: FileRecord[] = [];
  for (const path of files) {
    if (signal?.aborted) throw new VgasError("ABORTED", "the backup was given up");
    const hash = createHash("sha256");
    let bytes = 0;
    for await (const chunk of contentOf(home, path)) {
      hash.update(chunk);
      bytes += chunk.length;
    }
    records.push({ path, bytes, sha256: hash.digest("hex") });
  }
  return {
    format: FORMAT,
    vgas: version,
    hostId: home.hostId,
    madeAt: now,
    directories: [...directories],
    files: records,
  };
}

/** What went wrong with reading is what the iteration fails with. */
function packed(home: Home, manifest: Manifest): AsyncIterable<Uint8Array> {
  const gzip = createGzip();
  pipeline(Readable.from(archiveOf(home, manifest), { objectMode: false }), gzip, () => undefined);
  return gzip;
}

async function* archiveOf(home: Home, manifest: Manifest): AsyncGenerator<Buffer> {
  const at = new Date(manifest.madeAt);
  const told = Buffer.from(JSON.stringify(manifest));
  if (told.length > MAX_MANIFEST_BYTES)
    throw new VgasError("TOO_LARGE", `${home.dir} holds too many files for a backup`);
  yield headerBlocks(MANIFEST, "File", told.length, at);
  yield told;
  yield padding(told.length);
  for (const path of manifest.directories) yield headerBlocks(path, "Directory", 0, at);
  for (const { path, bytes, sha256 } of manifest.files) {
    yield headerBlocks(path, "File", bytes, at);
    const hash = createHash("sha256");
    let seen = 0;
    for await (const chunk of contentOf(home, path)) {
      seen += chunk.length;
      // What does not fit its header would shift everything behind it.
      if (seen > bytes) throw changed(home, path);
      hash.update(chunk);
      yield chunk;
    }
    if (seen !== bytes || hash.digest("hex") !== sha256) throw changed(home, path);
    yield padding(bytes);
  }
  yield endBlocks();
}

function changed(home: Home, path: string): VgasError {
  return new VgasError("CONFLICT", `${join(home.dir, path)} changed while it was read; try again`);
}

async function* contentOf(home: Home, path: string): AsyncGenerator<Buffer> {
  const at = join(home.dir, path);
  let handle: FileHandle | undefined;
  try {
    handle = await open(at, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0));
    for (;;) {
      // A buffer for each: the one before it is on its way still.
      const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafe(CHUNK_BYTES), 0, CHUNK_BYTES, null);
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
    }
  } catch (error) {
    throw diskError(error, `read ${at}`);
  } finally {
    await handle?.close();
  }
}
