/**
 * Questions on the terminal of this process, whatever its standard input and output are.
 *
 * Owns the terminal between `open` and `close`.
 *
 * 1. While a secret is typed the terminal is raw: nothing is echoed, and no line discipline keeps a copy.
 * 2. The terminal is as it was before whenever no question is open, also after Ctrl-C and a signal.
 * 3. What was typed ahead goes to the next question; what is left at the end is overwritten.
 */
import { closeSync, openSync, writeSync } from "node:fs";
import { isatty, ReadStream } from "node:tty";
import { VgasError } from "../protocols/errors.ts";
import { LineEditor } from "./line-editor.ts";

const [STDIN, STDERR] = [0, 2] as const;
const DEVICE = "/dev/tty";

interface Device {
  readonly input: ReadStream;
  /** Where questions are written. */
  readonly output: number;
}

export interface PromptOptions {
  /** Gives an open question up with ABORTED. */
  readonly signal: AbortSignal;
  /** Somebody typed Ctrl-C while the terminal made no signal of it. */
  readonly interrupt: () => void;
}

export class Prompt {
  readonly #device: Device;
  readonly #options: PromptOptions;
  /** Typed ahead. */
  #rest: Buffer = Buffer.alloc(0);

  private constructor(device: Device, options: PromptOptions) {
    this.#device = device;
    this.#options = options;
  }

  /** Undefined if there is no terminal that somebody looks at: neither standard input nor standard error is one. */
  static open(options: PromptOptions): Prompt | undefined {
    if (!isatty(STDIN) && !isatty(STDERR)) return undefined;
    const device = openDevice();
    return device && new Prompt(device, options);
  }

  /** Asks for a secret without echo: its bytes, the caller's to wipe. @throws VgasError ABORTED; INVALID after Ctrl-D */
  async secret(question: string): Promise<Buffer> {
    const { input } = this.#device;
    input.setRawMode(true);
    try {
      return await this.#line(question);
    } finally {
      input.setRawMode(false);
      this.#write("\n");
    }
  }

  /** Asks for yes or no; anything but y or yes is no, Ctrl-D too. @throws VgasError ABORTED */
  async yes(question: string): Promise<boolean> {
    try {
      const line = await this.#line(`${question} [y/N] `);
      return /^\s*y(?:es)?\s*$/i.test(line.toString());
    } catch (error) {
      // Only Enter has ended the question's line.
      this.#write("\n");
      if (error instanceof VgasError && error.code === "INVALID") return false;
      throw error;
    }
  }

  /** True if more than line ends was typed or pasted than the questions took. */
  get typedAhead(): boolean {
    return this.#rest.some((byte) => byte !== 0x0a && byte !== 0x0d);
  }

  /** Idempotent. */
  close(): void {
    this.#rest.fill(0);
    this.#device.input.destroy();
  }

  async #line(question: string): Promise<Buffer> {
    const { input } = this.#device;
    const { signal, interrupt } = this.#options;
    const editor = new LineEditor();
    let stop: () => void = () => undefined;
    this.#write(question);
    try {
      return await new Promise<Buffer>((resolve, reject) => {
        const feed = (chunk: Buffer): void => {
          const { taken, ending } = editor.take(chunk);
          if (ending === undefined) chunk.fill(0);
          else this.#keep(chunk, taken);
          // At once: what comes next is of the next question.
          if (ending === "enter" || ending === "end") stop();
          if (ending === "enter") resolve(editor.line());
          else if (ending === "end") onEnd();
          // The signal that this becomes ends the question.
          else if (ending === "interrupt") interrupt();
        };
        const onEnd = (): void => reject(new VgasError("INVALID", "nothing was typed"));
        const onAbort = (): void => reject(new VgasError("ABORTED", "the question was given up"));
        // After a pause a listener alone does not make it flow.
        input.on("data", feed).once("end", onEnd).once("error", reject).resume();
        signal.addEventListener("abort", onAbort, { once: true });
        stop = () => {
          input.off("data", feed).off("end", onEnd).off("error", reject).pause();
          signal.removeEventListener("abort", onAbort);
        };
        if (signal.aborted) onAbort();
        const ahead = this.#rest;
        this.#rest = Buffer.alloc(0);
        if (ahead.length > 0) feed(ahead);
      });
    } finally {
      stop();
      editor.wipe();
    }
  }

  /** Keeps what of `chunk` is behind the line, and overwrites the chunk. */
  #keep(chunk: Buffer, taken: number): void {
    const rest = Buffer.alloc(chunk.length - taken);
    chunk.copy(rest, 0, taken);
    chunk.fill(0);
    this.#rest.fill(0);
    this.#rest = rest;
  }

  #write(text: string): void {
    try {
      writeSync(this.#device.output, text);
    } catch {
      // A terminal that is gone ends the input too.
    }
  }
}

function openDevice(): Device | undefined {
  let fd: number | undefined;
  try {
    fd = openSync(DEVICE, "r+");
    return { input: new ReadStream(fd), output: fd };
  } catch {
    if (fd !== undefined) closeSync(fd);
  }
  // No such device, as on Windows: then standard input is the terminal, or there is none.
  return isatty(STDIN) && process.stdin instanceof ReadStream ? { input: process.stdin, output: STDERR } : undefined;
}
