/** One line as it is typed into a terminal that neither echoes nor edits. Pure but for its buffer, which it overwrites. */
import { MAX_SECRET_BYTES } from "../protocols/vault/operations.ts";

/** `enter`: the line is complete. `end`: Ctrl-D before anything was typed. `interrupt`: Ctrl-C. */
export type LineEnding = "enter" | "end" | "interrupt";

const KEY = {
  interrupt: 0x03,
  endOfInput: 0x04,
  backspace: 0x08,
  newline: 0x0a,
  enter: 0x0d,
  eraseLine: 0x15,
  escape: 0x1b,
  space: 0x20,
  bracket: 0x5b,
  application: 0x4f,
  delete: 0x7f,
} as const;

/** First and last byte that can end a control sequence such as an arrow key's `ESC [ A`. */
const SEQUENCE_END = { from: 0x40, to: 0x7e } as const;

/** One byte more than a secret may have, so that a longer one is told from the longest. */
const CAPACITY = MAX_SECRET_BYTES + 1;

export class LineEditor {
  readonly #bytes = Buffer.alloc(CAPACITY);
  #length = 0;
  /** Inside what a special key sends, or the marks around what was pasted. */
  #state: "text" | "escape" | "sequence" = "text";

  /** Takes bytes of `chunk` up to the end of the line, and returns how many, and how it ended if it did. */
  take(chunk: Uint8Array): { readonly taken: number; readonly ending: LineEnding | undefined } {
    for (let i = 0; i < chunk.length; i++) {
      const ending = this.#key(chunk[i] ?? 0);
      if (ending !== undefined) return { taken: i + 1, ending };
    }
    return { taken: chunk.length, ending: undefined };
  }

  /** What was typed, in a buffer of its own: the caller's to wipe. A line that is too long has one byte too many. */
  line(): Buffer {
    const line = Buffer.allocUnsafeSlow(this.#length);
    this.#bytes.copy(line, 0, 0, this.#length);
    return line;
  }

  wipe(): void {
    this.#bytes.fill(0);
    this.#length = 0;
  }

  #key(byte: number): LineEnding | undefined {
    if (byte === KEY.interrupt) return "interrupt";
    if (this.#state !== "text") {
      this.#inSequence(byte);
      return undefined;
    }
    if (byte === KEY.enter || byte === KEY.newline) return "enter";
    if (byte === KEY.endOfInput) return this.#length === 0 ? "end" : "enter";
    if (byte === KEY.escape) this.#state = "escape";
    else if (byte === KEY.backspace || byte === KEY.delete) this.#eraseCharacter();
    else if (byte === KEY.eraseLine) this.wipe();
    else if (byte >= KEY.space && this.#length < CAPACITY) this.#bytes[this.#length++] = byte;
    return undefined;
  }

  #inSequence(byte: number): void {
    if (this.#state === "escape") {
      this.#state = byte === KEY.bracket || byte === KEY.application ? "sequence" : "text";
    } else if (byte >= SEQUENCE_END.from && byte <= SEQUENCE_END.to) this.#state = "text";
  }

  /** All bytes of the last character: those that begin with 10 go on a character of UTF-8. */
  #eraseCharacter(): void {
    if (this.#length === 0) return;
    let at = this.#length - 1;
    while (at > 0 && ((this.#bytes[at] ?? 0) & 0xc0) === 0x80) at--;
    this.#bytes.fill(0, at, this.#length);
    this.#length = at;
  }
}
