/** Reads lines of any stream with bounded memory: what is not asked for is not read. */
import { open, stat } from "node:fs/promises";
import { UsageError } from "./failure.ts";

export interface Line {
  /** Counts from 1. */
  readonly number: number;
  /** Without its end; undefined if it is longer than `MAX_LINE_BYTES`. */
  readonly bytes: Uint8Array | undefined;
}

export interface Source {
  readonly chunks: AsyncIterable<Uint8Array>;
  /** Undefined where it cannot be known. */
  readonly totalBytes: number | undefined;
}

/** A task takes at most 960 KiB as msgpack; as JSON, with escapes and white space, a few times that. */
export const MAX_LINE_BYTES = 8 * 1024 * 1024;

const NEWLINE = 0x0a;
const STDIN = "-";

/** @throws UsageError if `file` cannot be read */
export async function openSource(file: string): Promise<Source> {
  if (file === STDIN) return { chunks: process.stdin, totalBytes: undefined };
  try {
    const info = await stat(file);
    if (info.isDirectory())
      throw new UsageError(`${file} is a directory`, "Give a file with one JSON object a line, or - for stdin.");
    const handle = await open(file, "r");
    return { chunks: handle.createReadStream(), totalBytes: info.isFile() ? info.size : undefined };
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
    const why = missing ? "there is no such file" : (error as Error).message;
    throw new UsageError(`${file} cannot be read: ${why}`, "Give a file with one JSON object a line, or - for stdin.");
  }
}

/** The lines of `chunks`, the last one also without a newline. A line that is too long is skipped without being kept. */
export async function* readLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Line, void, undefined> {
  let number = 1;
  let parts: Uint8Array[] = [];
  let length = 0;
  const take = (part: Uint8Array): void => {
    length += part.length;
    if (length > MAX_LINE_BYTES) parts = [];
    else parts.push(part);
  };
  const finish = (): Line => {
    const line = { number: number++, bytes: length > MAX_LINE_BYTES ? undefined : Buffer.concat(parts, length) };
    parts = [];
    length = 0;
    return line;
  };
  for await (const chunk of chunks) {
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
      take(chunk.subarray(from, end));
      from = end + 1;
      yield finish();
    }
    take(chunk.subarray(from));
  }
  if (length > 0) yield finish();
}
