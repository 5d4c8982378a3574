/**
 * The form of a backup inside its gzip: a tar archive that every tar can list and unpack.
 *
 * Read is only what is written here: regular files and directories, and a pax header before one whose path or size does not fit
 * into a plain header. Links, devices and all else are refused where they stand, and nothing is ever taken from them.
 */
import { Header, Pax } from "tar";
import { damaged } from "./manifest.ts";

const BLOCK = 512;
/** A path of 1024 characters and a size. */
const MAX_PAX_BYTES = 16_384;
/** Other tars fill up their last record; ours writes two blocks. */
const MAX_TAIL_BYTES = 2 ** 20;

export type EntryType = "File" | "Directory";

/** What stands before the content of a file, and all there is of a directory. */
export function headerBlocks(path: string, type: EntryType, bytes: number, at: Date): Buffer {
  const data = {
    path: type === "Directory" ? `${path}/` : path,
    type,
    size: bytes,
    mode: type === "Directory" ? 0o700 : 0o600,
    mtime: at,
    uid: 0,
    gid: 0,
  };
  const header = new Header(data);
  const block = Buffer.alloc(BLOCK);
  if (!header.encode(block)) return block;
  return Buffer.concat([new Pax({ path: data.path, size: bytes }).encode(), block]);
}

/** What stands behind the content of a file. */
export function padding(bytes: number): Buffer {
  return Buffer.alloc((BLOCK - (bytes % BLOCK)) % BLOCK);
}

/** What stands behind the last entry. */
export function endBlocks(): Buffer {
  return Buffer.alloc(2 * BLOCK);
}

export interface ReadEntry {
  readonly path: string;
  readonly type: EntryType;
  readonly bytes: number;
  /** To be read before the next entry is asked for. */
  readonly content: AsyncIterable<Uint8Array>;
}

/** @throws VgasError BACKUP_DAMAGED for anything but files and directories, and where the archive is cut off */
export async function* readEntries(source: AsyncIterable<Uint8Array>): AsyncGenerator<ReadEntry> {
  const input = new Input(source);
  try {
    let extended: Pax | undefined;
    for (;;) {
      const header = new Header(await input.exactly(BLOCK), 0, extended);
      if (header.nullBlock && extended === undefined) break;
      if (!header.cksumValid) throw damaged("a header in it is not what was written");
      // The plain header behind a pax header holds a part of the path, which is not to be put before the whole.
      const { path = "", size = 0 } = { ...header, ...(extended?.path !== undefined && { path: extended.path }) };
      const type = header.type === "OldFile" ? "File" : header.type;
      if (type === "ExtendedHeader" && extended === undefined) {
        if (size > MAX_PAX_BYTES) throw damaged("a header in it is too long");
        extended = Pax.parse((await input.exactly(size)).toString("utf8"));
        await input.exactly(padding(size).length);
        continue;
      }
      extended = undefined;
      if (type !== "File" && type !== "Directory")
        throw damaged(`${JSON.stringify(path)} is neither file nor directory`);
      if (!Number.isSafeInteger(size) || size < 0) throw damaged(`${JSON.stringify(path)} has no size`);
      const content = input.next(size);
      yield { path: type === "Directory" ? path.replace(/\/$/, "") : path, type, bytes: size, content };
      for await (const _ of content);
      await input.exactly(padding(size).length);
    }
    await input.onlyZeros(MAX_TAIL_BYTES);
  } finally {
    await input.close();
  }
}

class Input {
  readonly #source: AsyncIterator<Uint8Array>;
  #chunk: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  async exactly(bytes: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    for await (const part of this.next(bytes)) parts.push(part);
    return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
  }

  async *next(bytes: number): AsyncGenerator<Buffer> {
    for (let left = bytes; left > 0; ) {
      if (!(await this.#fill())) throw damaged("it is cut off");
      const part = this.#chunk.subarray(0, left);
      this.#chunk = this.#chunk.subarray(part.length);
      left -= part.length;
      yield part;
    }
  }

  /** To the end: only there the checksum of the gzip is checked. */
  async onlyZeros(maxBytes: number): Promise<void> {
    for (let seen = 0; await this.#fill(); this.#chunk = Buffer.alloc(0)) {
      seen += this.#chunk.length;
      if (seen > maxBytes || this.#chunk.some((byte) => byte !== 0)) throw damaged("something stands behind its end");
    }
  }

  async close(): Promise<void> {
    await this.#source.return?.();
  }

  async #fill(): Promise<boolean> {
    while (this.#chunk.length === 0) {
      const { done, value } = await this.#source.next();
      if (done === true) return false;
      this.#chunk = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    }
    return true;
  }
}
