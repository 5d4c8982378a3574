/**
 * Puts a whole home into one file: identity, credentials, certificates, tokens, vault, and the store of its nats-server.
 *
 * 1. Nobody uses the home meanwhile: its lock is held, and no nats-server runs on it.
 * 2. The file is private, and there as a whole or not at all.
 * 3. What belongs to a process that ran (locks, the record of the nats-server) and logs are left out.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { link, lstat, open, readdir, unlink } from "node:fs/promises";
import { basename, dirname, join, relative, resolve, sep } from "node:path";
import { Header, Pack, ReadEntry } from "tar";
import { VgasError } from "../../../protocols/errors.ts";
import { packageVersion } from "../../../version.ts";
import { liveBroker } from "../../nats-server/broker-record.ts";
import { diskError, errnoOf, PRIVATE_FILE_MODE, syncDir } from "../files.ts";
import { type Home, openHome } from "../home.ts";
import { layoutOf } from "../layout.ts";
import { readNodeIdentity } from "../node-identity.ts";
import { MANIFEST, type Manifest, type ManifestFile } from "./manifest.ts";

export interface Backup {
  readonly file: string;
  readonly hostId: string;
  readonly files: number;
  /** Of the home's files. */
  readonly bytes: number;
}

/** @throws VgasError CONFIG, NOT_FOUND if there is no home, HOME_IN_USE if a node or its nats-server runs, CONFLICT if `file` exists */
export async function createBackup(dir: string, file: string, nowMs: number): Promise<Backup> {
  if ((await readNodeIdentity(layoutOf(resolve(dir)).node)) === undefined)
    throw new VgasError("NOT_FOUND", `there is no home ${dir}: give the one that is meant by --home`);
  const target = resolve(file);
  if (
    await lstat(target).then(
      () => true,
      () => false,
    )
  )
    throw taken(target);
  const home = await openHome(dir);
  await home.lock().catch((error: unknown) => {
    throw inUse(home, error);
  });
  try {
    if ((await liveBroker(home.layout)) !== undefined) throw inUse(home, undefined);
    return await write(home, target, nowMs);
  } finally {
    await home.release();
  }
}

async function write(home: Home, target: string, nowMs: number): Promise<Backup> {
  const temporary = `${target}.${process.pid}.part`;
  try {
    const handle = await open(temporary, "wx", PRIVATE_FILE_MODE);
    try {
      const manifest = await survey(home, nowMs);
      // Not by a stream of its own: it would close the file before it is synced.
      for await (const chunk of packed(home.dir, manifest)) await handle.write(chunk);
      await handle.sync();
      await link(temporary, target);
      await syncDir(dirname(target));
      const { hostId, files } = manifest;
      return { file: target, hostId, files: files.length, bytes: files.reduce((sum, { bytes }) => sum + bytes, 0) };
    } finally {
      await handle.close();
      await unlink(temporary);
    }
  } catch (error) {
    if (errnoOf(error) === "EEXIST") throw taken(target);
    throw diskError(error, `write the backup ${target}`);
  }
}

/** The bytes of the backup, the manifest first. */
function packed(dir: string, manifest: Manifest): AsyncIterable<Buffer> {
  const pack = new Pack({ cwd: dir, gzip: true, portable: true, strict: true });
  const bytes = Buffer.from(JSON.stringify(manifest));
  const header = new Header({ path: MANIFEST, mode: PRIVATE_FILE_MODE, size: bytes.length, type: "File" });
  header.encode();
  const first = new ReadEntry(header);
  first.end(bytes);
  pack.add(first);
  for (const { path } of manifest.files) pack.add(path);
  pack.end();
  return pack;
}

async function survey({ dir, hostId, layout }: Home, nowMs: number): Promise<Manifest> {
  const { store, record, log, stderr } = layout.nats;
  // The server's store may have any names; elsewhere `lock` is a lock.
  const left = (path: string): boolean =>
    path === record ||
    path === stderr ||
    path.startsWith(log) ||
    (basename(path) === "lock" && !path.startsWith(store));
  const directories: string[] = [];
  const files: ManifestFile[] = [];
  const walk = async (at: string): Promise<void> => {
    const entries = await readdir(at, { withFileTypes: true });
    if (entries.length === 0) directories.push(pathIn(dir, at));
    for (const entry of entries) {
      const path = join(at, entry.name);
      if (left(path)) continue;
      if (entry.isDirectory()) await walk(path);
      else if (entry.isFile()) files.push(await describe(dir, path));
      else throw new VgasError("CONFIG", `${path} is neither a file nor a directory; move it out of the home`);
    }
  };
  await walk(dir);
  return { v: 1, version: packageVersion(), hostId, at: nowMs, directories, files };
}

async function describe(dir: string, path: string): Promise<ManifestFile> {
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  return { path: pathIn(dir, path), bytes, sha256: hash.digest("hex") };
}

/** As every system writes it. */
function pathIn(dir: string, path: string): string {
  return relative(dir, path).split(sep).join("/");
}

function taken(file: string): VgasError {
  return new VgasError("CONFLICT", `${file} is there already: move it away, or give another name`);
}

function inUse({ dir }: Home, cause: unknown): VgasError {
  if (cause !== undefined && !(cause instanceof VgasError && cause.code === "HOME_IN_USE")) throw cause;
  const what = cause instanceof VgasError ? cause.message : `a nats-server runs on ${dir}`;
  return new VgasError(
    "HOME_IN_USE",
    `${what.split(";")[0]}; a backup is of a home at rest: stop the node first (\`vgas drain\`, SIGTERM)`,
    {
      cause,
    },
  );
}
