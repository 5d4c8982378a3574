/**
 * What one life of a host runs, by the file in which its behaviours write their begins and ends. Only what is new is read: a strike
 * looks many times a second, and the file of a long life is large.
 */
import { openSync, readdirSync, readSync } from "node:fs";
import { join } from "node:path";
import type { Entry } from "./history.ts";

const PIECE = 2 ** 16;
const LINE_END = 10;

export class Running {
  readonly #dir: string;
  readonly #prefix: string;
  readonly #ids = new Set<string>();
  #file: number | undefined;
  #offset = 0;

  /** The file's name begins with `prefix`; it need not be there yet. */
  constructor(dir: string, prefix: string) {
    this.#dir = dir;
    this.#prefix = prefix;
  }

  /** Ids of what has begun and not ended. */
  now(): readonly string[] {
    if (this.#file === undefined) {
      const name = readdirSync(this.#dir).find((each) => each.startsWith(this.#prefix));
      if (name === undefined) return [];
      this.#file = openSync(join(this.#dir, name), "r");
    }
    const piece = Buffer.alloc(PIECE);
    for (;;) {
      const length = readSync(this.#file, piece, 0, PIECE, this.#offset);
      // A line that is not written to its end is left for the next look; none is as long as a piece.
      const end = piece.subarray(0, length).lastIndexOf(LINE_END) + 1;
      if (end === 0) return [...this.#ids];
      this.#offset += end;
      for (const line of piece.toString("utf8", 0, end - 1).split("\n")) this.#take(JSON.parse(line) as Entry);
    }
  }

  #take(entry: Entry): void {
    if (entry.type === "began") this.#ids.add(entry.id);
    else if (entry.type === "ended") this.#ids.delete(entry.id);
  }
}
