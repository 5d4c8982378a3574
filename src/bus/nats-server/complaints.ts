/** What a broker says in its log of what it could not write. Its clients are not told: the server leaves them without an answer. */
import { open } from "node:fs/promises";

/** Read at once; what is older than that of a log that grows faster is not looked at. */
const MOST_BYTES = 256 * 1024;
const FAILED_TO_WRITE =
  /critical write error|failed to store a msg|JetStream out of|disabling JetStream|no space left on device|disk quota exceeded|read-only file system/i;

export class Complaints {
  readonly #path: string;
  /** Each line begins with the process id: lines of an earlier life of the broker are not its own. */
  readonly #mark: string;
  #from: number | undefined;

  constructor(path: string, pid: number) {
    this.#path = path;
    this.#mark = `[${pid}] `;
  }

  /** The last of them that were written since the last call; undefined if there is none, or the log cannot be read. */
  async next(): Promise<string | undefined> {
    const file = await open(this.#path, "r").catch(() => undefined);
    if (file === undefined) return undefined;
    try {
      const { size } = await file.stat();
      // It was rotated.
      if (this.#from === undefined || this.#from > size) this.#from = Math.max(0, size - MOST_BYTES);
      const length = Math.min(size - this.#from, MOST_BYTES);
      if (length <= 0) return undefined;
      const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, size - length);
      const whole = buffer.subarray(0, bytesRead).lastIndexOf("\n") + 1;
      // A line that is being written is read when it is whole.
      this.#from = size - length + whole;
      return complaintIn(buffer.toString("utf8", 0, whole), this.#mark);
    } catch {
      return undefined;
    } finally {
      await file.close();
    }
  }
}

/**
 * What is said is the line from its level on. On a full disk a line is cut off, and the next one follows on it: so each mark
 * begins a line.
 */
function complaintIn(text: string, mark: string): string | undefined {
  const lines = text.split(mark).slice(1);
  const last = lines.findLast((line) => FAILED_TO_WRITE.test(line));
  return last === undefined ? undefined : /\[[A-Z]{3}\] (.*)/.exec(last)?.[1]?.trim();
}
