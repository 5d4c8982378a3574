/**
 * Makes a home of a backup.
 *
 * 1. Nothing is at its place before all of it was checked: what is read goes to a directory beside it, which is renamed at the end.
 * 2. Only what the manifest names is taken: plain files, once each, below that directory, with their size and digest.
 */
import { createHash, randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, readdir, rename, rm, rmdir } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { Parser, type ReadEntry } from "tar";
import { VgasError } from "../../../protocols/errors.ts";
import { diskError, errnoOf, makePrivateDir, PRIVATE_FILE_MODE, syncDir } from "../files.ts";
import { MANIFEST, MAX_MANIFEST_BYTES, type Manifest, parseManifest } from "./manifest.ts";

export type Restored = Pick<Manifest, "hostId" | "version" | "at"> & { readonly dir: string; readonly files: number };

/** @throws VgasError INVALID if `file` is no whole backup, CONFLICT if `dir` is there and not empty, CONFIG for what the disk says */
export async function restoreBackup(file: string, dir: string): Promise<Restored> {
  const target = resolve(dir);
  await refuseFull(target);
  const staging = `${target}.restoring-${randomBytes(6).toString("hex")}`;
  await makePrivateDir(staging);
  try {
    const { hostId, version, at, files } = await unpack(file, staging);
    await rmdir(target).catch((error: unknown) => {
      if (errnoOf(error) !== "ENOENT") throw error;
    });
    await rename(staging, target);
    await syncDir(dirname(target));
    return { dir: target, hostId, version, at, files: files.length };
  } catch (error) {
    throw diskError(error, `restore ${target}`);
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

async function refuseFull(dir: string): Promise<void> {
  const entries = await readdir(dir).catch((error: unknown) => {
    if (errnoOf(error) === "ENOENT") return [];
    throw diskError(error, `look at ${dir}`);
  });
  if (entries.length > 0) throw new VgasError("CONFLICT", `${dir} is not empty: move it away, or give another --home`);
}

async function unpack(file: string, staging: string): Promise<Manifest> {
  const input = createReadStream(file);
  const parser = new Parser({ strict: true, maxMetaEntrySize: 1_048_576 });
  const restoring = new Restoring(staging);
  const taken: Promise<void>[] = [];
  const parsed = new Promise<void>((done, failed) => {
    let current: ReadEntry | undefined;
    const fail = (error: unknown): void => {
      input.destroy();
      // What was being read of it does not come to an end by itself.
      current?.destroy();
      failed(error);
    };
    parser.on("entry", (entry: ReadEntry) => {
      current = entry;
      const taking = restoring.take(entry);
      taken.push(taking);
      taking.catch(fail);
    });
    parser.on("end", done);
    parser.on("error", (cause: unknown) => fail(invalid("it is no gzip'd tar, or not all of one", cause)));
    input.on("error", (cause) => fail(diskError(cause, `read ${file}`)));
    input.on("data", (chunk) => {
      if (!parser.write(chunk as Buffer)) {
        input.pause();
        parser.once("drain", () => input.resume());
      }
    });
    input.on("end", () => parser.end());
  });
  try {
    await parsed;
    await Promise.all(taken);
    return await restoring.finish();
  } catch (error) {
    await Promise.allSettled(taken);
    if (error instanceof VgasError && error.code === "INVALID") throw damaged(file, error.message, error);
    throw error;
  }
}

class Restoring {
  readonly #staging: string;
  readonly #left = new Map<string, Manifest["files"][number]>();
  #manifest: Manifest | undefined;
  /** One after the other: the manifest is read before what it names. */
  #last: Promise<void> = Promise.resolve();

  constructor(staging: string) {
    this.#staging = staging;
  }

  take(entry: ReadEntry): Promise<void> {
    this.#last = this.#last.then(() =>
      this.#manifest === undefined ? this.#readManifest(entry) : this.#readFile(entry),
    );
    return this.#last;
  }

  async finish(): Promise<Manifest> {
    const manifest = this.#manifest;
    if (manifest === undefined) throw invalid("it is empty");
    const [missing] = this.#left.keys();
    if (missing !== undefined) throw invalid(`${missing} is missing`);
    for (const path of manifest.directories) await makePrivateDir(join(this.#staging, path));
    return manifest;
  }

  async #readManifest(entry: ReadEntry): Promise<void> {
    if (entry.path !== MANIFEST || entry.type !== "File") throw invalid("it does not begin with a manifest");
    if (entry.size > MAX_MANIFEST_BYTES) throw invalid("its manifest is too large");
    const parts: Buffer[] = [];
    for await (const chunk of entry) parts.push(chunk as Buffer);
    const manifest = parseManifest(Buffer.concat(parts));
    for (const each of manifest.files) this.#left.set(each.path, each);
    this.#manifest = manifest;
  }

  async #readFile(entry: ReadEntry): Promise<void> {
    const expected = this.#left.get(entry.path);
    if (expected === undefined) throw invalid(`${JSON.stringify(entry.path)} is not in its manifest, or there twice`);
    if (entry.type !== "File") throw invalid(`${entry.path} is a ${entry.type}, not a file`);
    if (entry.size !== expected.bytes)
      throw invalid(`${entry.path} has ${entry.size} bytes instead of ${expected.bytes}`);
    this.#left.delete(entry.path);
    const path = join(this.#staging, entry.path);
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const handle = await open(path, "wx", PRIVATE_FILE_MODE);
    try {
      const hash = createHash("sha256");
      for await (const chunk of entry) {
        hash.update(chunk as Buffer);
        await handle.write(chunk as Buffer);
      }
      if (hash.digest("hex") !== expected.sha256) throw invalid(`${entry.path} is not what was put there`);
      await handle.sync();
    } finally {
      await handle.close();
    }
  }
}

function invalid(why: string, cause?: unknown): VgasError {
  return new VgasError("INVALID", why, { cause });
}

function damaged(file: string, why: string, cause: unknown): VgasError {
  return new VgasError("INVALID", `${file} is no whole backup: ${why}`, { cause });
}
