/**
 * The segment that is written. Owns its one open handle.
 *
 * 1. What `append` resolved for is on disk, in the file that stands at the path: removed, replaced or changed behind our back, it is
 *    not trusted, before or after the write.
 * 2. What `append` rejected for does not count: `size` stays, and `cut` takes the remains away. Nothing is appended before that.
 * 3. Only what was left by this writer, or stood there torn when the trail was read, is ever cut off, and nothing is written over. If
 *    somebody else writes to the same trail both may fail, and what either has acknowledged stays.
 * 4. A file gets its name when its head is on disk: a segment without a head was not left by a crash.
 */
import { constants } from "node:fs";
import { type FileHandle, link, lstat, open, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { diskError, errnoOf, PRIVATE_FILE_MODE } from "../../../bus/home/files.ts";
import { VgasError } from "../../../protocols/errors.ts";
import { openPrivate, readAt } from "./segments.ts";

export interface SegmentPaths {
  readonly path: string;
  /** Of the segment behind it. */
  readonly nextPath: string;
}

/** Of what counts so many last bytes must stand before anything is cut off: they hold the MAC of the last record. */
const KNOWN_BYTES = 64;
const NOTHING = Buffer.alloc(0);

export class SegmentFile {
  readonly path: string;
  /** Where the next segment will be: there is none as long as this is the last. */
  readonly #nextPath: string;
  readonly #file: FileHandle;
  #replaced = false;
  readonly #inode: bigint;
  readonly #device: bigint;
  #size: number;
  /** The last bytes that count. */
  #known: Buffer;
  #dirty = false;
  /** What may stand behind what counts, or the beginning of it. */
  #remains: Buffer = NOTHING;
  #closed: Promise<void> | undefined;

  private constructor(
    { path, nextPath }: SegmentPaths,
    file: FileHandle,
    status: { ino: bigint; dev: bigint },
    size: number,
    known: Buffer,
  ) {
    this.path = path;
    this.#nextPath = nextPath;
    this.#file = file;
    this.#inode = status.ino;
    this.#device = status.dev;
    this.#size = size;
    this.#known = known;
  }

  /**
   * Goes on with a segment of which the first `size` bytes count, and behind which `torn` was read.
   *
   * @throws VgasError CONFIG, an error of the system
   */
  static async open(paths: SegmentPaths, { size, torn }: { size: number; torn: Buffer }): Promise<SegmentFile> {
    const file = await openPrivate(paths.path, constants.O_RDWR | constants.O_APPEND);
    try {
      const known = await readAt(file, Math.max(0, size - KNOWN_BYTES), Math.min(size, KNOWN_BYTES));
      const segment = new SegmentFile(paths, file, await file.stat({ bigint: true }), size, known);
      segment.#dirty = torn.length > 0;
      segment.#remains = torn;
      return segment;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Begins a segment with its head. @throws an error of the system, EEXIST if there is such a segment */
  static async create(paths: SegmentPaths, head: Buffer): Promise<SegmentFile> {
    const { path } = paths;
    const temporary = `${path}.tmp`;
    await unlink(temporary).catch(() => undefined);
    const flags = constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | constants.O_EXCL;
    const file = await open(temporary, flags, PRIVATE_FILE_MODE);
    let named = false;
    try {
      await write(file, head);
      await file.sync();
      await link(temporary, path);
      named = true;
      await syncDir(dirname(path));
      const status = await file.stat({ bigint: true });
      return new SegmentFile(paths, file, status, head.length, Buffer.from(head.subarray(-KNOWN_BYTES)));
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
    await this.trust();
    this.#dirty = true;
    this.#remains = bytes;
    await write(this.#file, bytes);
    await this.#file.datasync();
    await this.#check(this.#size + bytes.length);
    this.#size += bytes.length;
    this.#known = Buffer.concat([this.#known, bytes.subarray(-KNOWN_BYTES)]).subarray(-KNOWN_BYTES);
    this.#remains = NOTHING;
    this.#dirty = false;
  }

  /** Takes away what stands behind what counts, if it was left there. @throws an error of the system, VgasError AUDIT_FAILED */
  async cut(): Promise<void> {
    if (!this.#dirty) return;
    const from = this.#size - this.#known.length;
    // One byte more than can be ours, to see that there is none.
    const end = await readAt(this.#file, from, this.#known.length + this.#remains.length + 1);
    if (!end.subarray(0, this.#known.length).equals(this.#known) || !this.#left(end.subarray(this.#known.length)))
      throw this.#changed("it does not end with what was written here, so nothing is cut off");
    await this.#file.truncate(this.#size);
    // From here on, whatever stands there is somebody else's.
    this.#remains = NOTHING;
    await this.#file.datasync();
    this.#dirty = false;
  }

  /** That the file is the last one, and exactly what was written here. @throws as `cut` */
  async trust(): Promise<void> {
    await this.cut();
    await this.#check(this.#size);
    const next = await lstat(this.#nextPath).catch((error: unknown) => {
      if (errnoOf(error) === "ENOENT") return undefined;
      throw error;
    });
    if (next !== undefined) throw this.#changed(`there is ${this.#nextPath} behind it already`);
  }

  /** Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#file.close();
    return this.#closed;
  }

  /** Whether `bytes` are what a write of ours left: its beginning, with holes where a disk has lost something of it. */
  #left(bytes: Buffer): boolean {
    return bytes.length <= this.#remains.length && bytes.every((byte, at) => byte === this.#remains[at] || byte === 0);
  }

  /** That the path still names this file, and that nobody else wrote to it. */
  async #check(size: number): Promise<void> {
    const status = await lstat(this.path, { bigint: true }).catch((error: unknown) => {
      this.#replaced = errnoOf(error) === "ENOENT";
      throw this.#replaced ? new VgasError("AUDIT_FAILED", `${this.path} was removed; put it back`) : error;
    });
    this.#replaced = status.ino !== this.#inode || status.dev !== this.#device;
    if (this.#replaced)
      throw new VgasError("AUDIT_FAILED", `${this.path} was replaced by another file; put the one back that was there`);
    if (status.size !== BigInt(size)) throw this.#changed(`it has ${status.size} bytes and must have ${size}`);
  }

  #changed(how: string): VgasError {
    return new VgasError("AUDIT_FAILED", `${this.path} was changed by somebody else: ${how}`);
  }
}

/** Behind all that is in the file, also what others have added meanwhile. */
async function write(file: FileHandle, bytes: Buffer): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, written, bytes.length - written, null);
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
