/** Reads a trail that may be written at the same time: what is on disk and counts, without checking the chain. */
import { VgasError } from "../../../protocols/errors.ts";
import type { TrailRecord } from "./entry.ts";
import { MAX_LINE_BYTES } from "./line.ts";
import { bare } from "./loading.ts";
import { listSegments, type Position, type RawLine, readHead, readLines, recordOf, segmentPath } from "./segments.ts";

/** Most bytes of one answer: half of what a message may have. */
const MAX_ANSWER_BYTES = 512 * 1024;

/** Where the records behind a sequence begin. */
interface Bookmark {
  readonly after: number;
  readonly segment: number;
  readonly offset: number;
}

export class TrailReader {
  readonly #dir: string;
  readonly #position: () => Position;
  /** Sequences of the heads of segments. */
  readonly #heads = new Map<number, number>();
  /** Where the last answer ended: the next question mostly goes on there. */
  #bookmark: Bookmark | undefined;

  constructor(dir: string, position: () => Position) {
    this.#dir = dir;
    this.#position = position;
  }

  /** Every record up to now, oldest first. @throws VgasError VAULT_DAMAGED, CONFIG */
  async *scan(): AsyncGenerator<TrailRecord, void, undefined> {
    for await (const [line, path] of this.#linesFrom({ segment: 1, offset: 0 })) yield bare(recordOf(line, path));
  }

  /**
   * The lines of at most `limit` records with a sequence above `after`, fewer if they would be too large to send. They are as they
   * stand in the files, but for the snapshot in the head of a segment, which is left out if it is long.
   *
   * @throws VgasError VAULT_DAMAGED, CONFIG
   */
  async records({ after, limit }: { readonly after: number; readonly limit: number }): Promise<string[]> {
    const lines: string[] = [];
    let bytes = 0;
    for await (const [line, path, segment] of this.#linesFrom(await this.#place(after))) {
      const { seq } = recordOf(line, path);
      if (seq <= after) continue;
      const text = shown(line.bytes);
      bytes += Buffer.byteLength(text);
      if (lines.length > 0 && bytes > MAX_ANSWER_BYTES) break;
      lines.push(text);
      this.#bookmark = { after: seq, segment, offset: line.offset + line.bytes.length + 1 };
      if (lines.length >= limit) break;
    }
    return lines;
  }

  async #place(after: number): Promise<{ segment: number; offset: number }> {
    if (this.#bookmark?.after === after) return this.#bookmark;
    const segments = await this.#segments();
    for (const segment of segments.reverse()) {
      const seq = this.#heads.get(segment) ?? (await readHead(segmentPath(this.#dir, segment))).seq;
      this.#heads.set(segment, seq);
      if (seq <= after + 1) return { segment, offset: 0 };
    }
    return { segment: 1, offset: 0 };
  }

  async *#linesFrom(from: {
    segment: number;
    offset: number;
  }): AsyncGenerator<[RawLine, string, number], void, undefined> {
    const last = this.#position();
    for (const segment of await this.#segments(last)) {
      if (segment < from.segment) continue;
      const path = segmentPath(this.#dir, segment);
      const offset = segment === from.segment ? from.offset : 0;
      const until = segment === last.segment ? last.size : undefined;
      for await (const line of readLines(path, offset, until)) yield [line, path, segment];
    }
  }

  async #segments(last = this.#position()): Promise<number[]> {
    const segments = (await listSegments(this.#dir)).filter((segment) => segment <= last.segment);
    if (segments.length !== last.segment)
      throw new VgasError(
        "VAULT_DAMAGED",
        `${this.#dir} must hold ${last.segment} files of the trail: some are missing`,
      );
    return segments;
  }
}

function shown(line: Buffer): string {
  const text = line.toString("utf8");
  if (line.length <= MAX_LINE_BYTES) return text;
  const record = JSON.parse(text) as object;
  return JSON.stringify({ ...record, snapshot: `(left out: ${line.length} bytes)` });
}
