/** The files of a trail, `00000001.jsonl` and so on, read in pieces: no more than one line is held, whatever their size. */
import { constants } from "node:fs";
import { type FileHandle, open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { diskError, errnoOf, refuseOthers } from "../../../bus/home/files.ts";
import { VgasError } from "../../../protocols/errors.ts";
import { decodeLine, MAX_HEAD_BYTES, type StoredRecord } from "./line.ts";

const NAME = /^(\d{8,15})\.jsonl$/;
const CHUNK_BYTES = 256 * 1024;
const LINE_END = 0x0a;

/** Up to where a trail is on disk. */
export interface Position {
  /** Number of the last segment. */
  readonly segment: number;
  /** Bytes of it. */
  readonly size: number;
}

export interface RawLine {
  /** Without its end. */
  readonly bytes: Buffer;
  /** Where it begins in its file. */
  readonly offset: number;
  /** It has an end, and no hole. */
  readonly whole: boolean;
}

export function segmentPath(dir: string, segment: number): string {
  return join(dir, `${String(segment).padStart(8, "0")}.jsonl`);
}

/** The numbers of the segments that are there, in order. */
export async function listSegments(dir: string): Promise<number[]> {
  const names = await readdir(dir).catch((error: unknown) => {
    throw diskError(error, `read ${dir}`);
  });
  const numbers = names.flatMap((name) => {
    const digits = NAME.exec(name)?.[1];
    return digits === undefined ? [] : [Number(digits)];
  });
  return numbers.sort((a, b) => a - b);
}

/** Opens a private file that is no link. @throws VgasError CONFIG */
export async function openPrivate(path: string, flags: number): Promise<FileHandle> {
  const safe = (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);
  const file = await open(path, flags | safe).catch((error: unknown) => {
    if (errnoOf(error) === "ELOOP") throw new VgasError("CONFIG", `${path} is a symbolic link; put the file there`);
    throw diskError(error, `open ${path}`);
  });
  try {
    const status = await file.stat();
    if (!status.isFile()) throw new VgasError("CONFIG", `${path} is not a file; move it away`);
    refuseOthers(path, status, "600");
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

/**
 * The lines of a segment from `from` to `until`, in bytes.
 *
 * @throws VgasError VAULT_DAMAGED at a line that is too long for a record, CONFIG
 */
export async function* readLines(
  path: string,
  from = 0,
  until = Number.POSITIVE_INFINITY,
): AsyncGenerator<RawLine, void, undefined> {
  const file = await openPrivate(path, constants.O_RDONLY);
  try {
    let offset = from;
    let rest: Buffer = Buffer.alloc(0);
    for (let at = from; at < until; ) {
      const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, until - at));
      const { bytesRead } = await file.read(chunk, 0, chunk.length, at).catch((error: unknown) => {
        throw diskError(error, `read ${path}`);
      });
      if (bytesRead === 0) break;
      at += bytesRead;
      const read = chunk.subarray(0, bytesRead);
      let start = 0;
      for (let end = read.indexOf(LINE_END); end !== -1; end = read.indexOf(LINE_END, start)) {
        const bytes = rest.length === 0 ? read.subarray(start, end) : Buffer.concat([rest, read.subarray(start, end)]);
        // A hole is what a power failure leaves of a write that was never synced.
        yield { bytes, offset, whole: !bytes.includes(0) };
        offset += bytes.length + 1;
        start = end + 1;
        rest = Buffer.alloc(0);
      }
      rest = rest.length === 0 ? read.subarray(start) : Buffer.concat([rest, read.subarray(start)]);
      if (rest.length > MAX_HEAD_BYTES)
        throw new VgasError("VAULT_DAMAGED", `${path} has a line longer than any record, at byte ${offset}`);
    }
    if (rest.length > 0) yield { bytes: rest, offset, whole: false };
  } finally {
    await file.close();
  }
}

/** What stands in a segment from `from` on, at most `maxBytes` of it. @throws VgasError CONFIG */
export async function readRest(path: string, from: number, maxBytes: number): Promise<Buffer> {
  const file = await openPrivate(path, constants.O_RDONLY);
  try {
    const { size } = await file.stat();
    return await readAt(file, from, Math.max(0, Math.min(size - from, maxBytes)));
  } catch (error) {
    throw diskError(error, `read ${path}`);
  } finally {
    await file.close();
  }
}

/** What there is of `length` bytes at `position`. @throws an error of the system */
export async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(length);
  let read = 0;
  while (read < length) {
    const { bytesRead } = await file.read(bytes, read, length - read, position + read);
    if (bytesRead === 0) break;
    read += bytesRead;
  }
  return bytes.subarray(0, read);
}

/** The head of a segment. @throws VgasError VAULT_DAMAGED, CONFIG */
export async function readHead(path: string): Promise<StoredRecord> {
  for await (const line of readLines(path)) return recordOf(line, path);
  throw new VgasError("VAULT_DAMAGED", `${path} is empty`);
}

/** @throws VgasError VAULT_DAMAGED */
export function recordOf({ bytes, offset, whole }: RawLine, path: string): StoredRecord {
  const record = whole ? decodeLine(bytes) : { problem: "it is cut off" };
  if ("problem" in record)
    throw new VgasError("VAULT_DAMAGED", `${path} holds no record at byte ${offset}: ${record.problem}`);
  return record;
}
