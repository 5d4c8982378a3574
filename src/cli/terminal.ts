/**
 * What a command writes: data to standard output, everything else to standard error, and on a terminal one line of
 * progress below it all.
 *
 * 1. Standard output carries nothing but data.
 * 2. The progress line is taken away before anything else is written and drawn again after it.
 * 3. A reader that has gone (EPIPE) is no error: `readerGone` tells it, and what is written later is dropped. Anything else,
 *    such as a full disk, loses data: `outError` tells it, and the command fails.
 */
import { Style } from "./style.ts";

const CLEAR_LINE = "\r\x1b[2K";
const DEFAULT_COLUMNS = 80;

export class Terminal {
  readonly #out: NodeJS.WriteStream;
  readonly #err: NodeJS.WriteStream;
  readonly #readerGone = new AbortController();
  /** For standard output and for standard error. */
  readonly outStyle: Style;
  readonly errStyle: Style;
  #outError: Error | undefined;
  #progress: string | undefined;
  #drain: Promise<void> | undefined;

  constructor(out: NodeJS.WriteStream, err: NodeJS.WriteStream, env: Readonly<Record<string, string | undefined>>) {
    this.#out = out;
    this.#err = err;
    const plain = (env["NO_COLOR"] ?? "") !== "" || env["TERM"] === "dumb";
    this.outStyle = new Style(out.isTTY === true && !plain);
    this.errStyle = new Style(err.isTTY === true && !plain);
    out.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") this.#outError ??= error;
      this.#readerGone.abort();
    });
    err.on("error", () => undefined);
  }

  /** Aborted when nobody reads standard output any more. */
  get readerGone(): AbortSignal {
    return this.#readerGone.signal;
  }

  /** Why data could not be written, if it was not that its reader had gone. */
  get outError(): Error | undefined {
    return this.#outError;
  }

  /** Whether progress may be animated: standard error is a terminal that can. */
  get animates(): boolean {
    return this.errStyle.enabled;
  }

  /** Width for what is drawn for people on standard output; undefined where lines must not be cut. */
  get outColumns(): number | undefined {
    return this.#out.isTTY ? this.#out.columns || DEFAULT_COLUMNS : undefined;
  }

  get errColumns(): number {
    return this.#err.columns || DEFAULT_COLUMNS;
  }

  /** Writes lines of data. False if standard output should drain before more is written. */
  data(text: string): boolean {
    if (this.#readerGone.signal.aborted) return true;
    this.#erase();
    const goOn = this.#out.write(`${text}\n`);
    this.#draw();
    return goOn;
  }

  /** Writes data as it is, of which nothing is text. False as `data`. */
  bytes(chunk: Uint8Array): boolean {
    return this.#readerGone.signal.aborted || this.#out.write(chunk);
  }

  /** Resolves when standard output takes more, or nobody reads it any more. */
  async drained(): Promise<void> {
    if (!this.#out.writableNeedDrain || this.#readerGone.signal.aborted) return;
    // One for all who wait: thousands of listeners would take their time too.
    this.#drain ??= new Promise<void>((resolve) => {
      const done = (): void => {
        this.#out.off("drain", done);
        this.#readerGone.signal.removeEventListener("abort", done);
        this.#drain = undefined;
        resolve();
      };
      this.#out.on("drain", done);
      this.#readerGone.signal.addEventListener("abort", done);
    });
    await this.#drain;
  }

  /** Writes lines for people, or a log line. */
  note(text: string): void {
    this.#erase();
    this.#err.write(`${text}\n`);
    this.#draw();
  }

  /** Shows `text` (without colour, cut to the width) as the last line; undefined takes it away. Terminals only. */
  progress(text: string | undefined): void {
    if (!this.animates) return;
    this.#erase();
    this.#progress = text;
    this.#draw();
  }

  /** Resolves when everything written has left this process. */
  async flush(): Promise<void> {
    this.progress(undefined);
    const all = [this.#out, this.#err].map(
      (stream) => new Promise<void>((resolve) => void stream.write("", () => resolve())),
    );
    await Promise.all(all);
  }

  #erase(): void {
    if (this.#progress !== undefined) this.#err.write(CLEAR_LINE);
  }

  #draw(): void {
    if (this.#progress !== undefined) this.#err.write(this.#progress.slice(0, this.errColumns - 1));
  }
}
