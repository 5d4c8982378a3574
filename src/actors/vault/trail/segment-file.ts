/**
 * The segment that is written. Owns its one open handle.
 *
 * 1. What `append` resolved for is on disk, in the file that stands at the path: removed, replaced or changed behind our back, it is
 *    not trusted, before or after the write.
 * 2. What `append` rejected for does not count: `size` stays, and `cut` takes the remains away. Nothing is appended before that.
 * 3. A file gets its name when its head is on disk: a segment without a head was not left by a crash.
 */
import { constants } from "node:fs";
import { type FileHandle, link, lstat, open, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { diskError, errnoOf, PRIVATE_FILE_MODE } from "../../../bus/home/files.ts";
import { VgasError } from "../../../protocols/errors.ts";
import { openPrivate } from "./segments.ts";

export class SegmentFile {
  readonly path: string;
  readonly #file: FileHandle;
  #replaced = false;
  readonly #inode: bigint;
  readonly #device: bigint;
  #size: number;
  #dirty: boolean;
  #closed: Promise<void> | undefined;

  private constructor(
    path: string,
    file: FileHandle,
    status: { ino: bigint; dev: bigint },
    size: number,
    dirty: boolean,
  ) {
    this.path = path;
    this.#file = file;
    this.#inode = status.ino;
    this.#device = status.dev;
    this.#size = size;
    this.#dirty = dirty;
  }

  /** Goes on with a segment of which the first `size` bytes count. @throws VgasError CONFIG */
  static async open(path: string, size: number): Promise<SegmentFile> {
    const file = await openPrivate(path, constants.O_RDWR);
    const status = await file.stat({ bigint: true });
    return new SegmentFile(path, file, status, size, status.size !== BigInt(size));
  }

  /** Begins a segment with its head. @throws an error of the system, EEXIST if there is such a segment */
  static async create(path: string, head: Buffer): Promise<SegmentFile> {
    const temporary = `${path}.tmp`;
    await unlink(temporary).catch(() => undefined);
    const file = await open(temporary, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, PRIVATE_FILE_MODE);
    let named = false;
    try {
      await writeAt(file, head, 0);
      await file.sync();
      await link(temporary, path);
      named = true;
      await syncDir(dirname(path));
      const status = await file.stat({ bigint: true });
      return new SegmentFile(path, file, status, head.length, false);
    } catch (error) {
      await file.close();
      if (named) await unlink(path).catch(() => undefined);
      throw error;
    } finally {
      await unlink(temporary).catch(() => undefined);
    }
  }

  /** Bytes that count. */
  get size(): number {
    return this.#size;
  }

  /** Another file was found at the path. */
  get replaced(): boolean {
    return this.#replaced;
  }

  /** Resolves when `bytes` are on disk behind what counts. @throws an error of the system, VgasError AUDIT_FAILED */
  async append(bytes: Buffer): Promise<void> {
    if (this.#dirty) await this.cut();
    await this.#trust(this.#size);
    this.#dirty = true;
    await writeAt(this.#file, bytes, this.#size);
    await this.#file.datasync();
    await this.#trust(this.#size + bytes.length);
    this.#size += bytes.length;
    this.#dirty = false;
  }

  /** Takes away what stands behind what counts. @throws an error of the system */
  async cut(): Promise<void> {
    this.#dirty = true;
    await this.#file.truncate(this.#size);
    await this.#file.datasync();
    this.#dirty = false;
  }

  /** Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#file.close();
    return this.#closed;
  }

  /** That the path still names this file, and that nobody else wrote to it. */
  async #trust(size: number): Promise<void> {
    const status = await lstat(this.path, { bigint: true }).catch((error: unknown) => {
      this.#replaced = errnoOf(error) === "ENOENT";
      throw this.#replaced ? new VgasError("AUDIT_FAILED", `${this.path} was removed; put it back`) : error;
    });
    this.#replaced = status.ino !== this.#inode || status.dev !== this.#device;
    if (this.#replaced)
      throw new VgasError("AUDIT_FAILED", `${this.path} was replaced by another file; put the one back that was there`);
    if (status.size !== BigInt(size))
      throw new VgasError(
        "AUDIT_FAILED",
        `${this.path} has ${status.size} bytes and must have ${size}: another process has changed it`,
      );
  }
}

async function writeAt(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, written, bytes.length - written, position + written);
    written += bytesWritten;
  }
}

/** Unlike the home's other files a segment whose name may be lost must not be relied on: no failure is passed over. */
async function syncDir(dir: string): Promise<void> {
  const handle = await open(dir, "r").catch((error: unknown) => {
    throw diskError(error, `sync ${dir}`);
  });
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
