/**
 * A terminal that one command has to itself: the alternate screen, keys as they are pressed, frames.
 *
 * 1. A frame is one write, and what has not changed is not written, so that nothing flickers.
 * 2. However the process ends, by a key, a signal, a crash or `process.exit`, the terminal is as it was before.
 */
import { writeSync } from "node:fs";

const ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/** A terminal that knows it shows the frame only when it is whole; others ignore it. */
const [BEGIN, END] = ["\x1b[?2026h", "\x1b[?2026l"];
/** Before the line is written: after one that fills the row it would take its last character away. */
const CLEAR_LINE = "\x1b[2K";
const [DEFAULT_COLUMNS, DEFAULT_ROWS] = [80, 24];

export type Key = "up" | "down" | "pageup" | "pagedown" | "home" | "end" | "quit" | (string & {});

const KEYS: Readonly<Record<string, Key>> = {
  "\x1b[A": "up",
  "\x1bOA": "up",
  "\x1b[B": "down",
  "\x1bOB": "down",
  "\x1b[5~": "pageup",
  "\x1b[6~": "pagedown",
  "\x1b[H": "home",
  "\x1b[F": "end",
  "\x1b[1~": "home",
  "\x1b[4~": "end",
  q: "quit",
  "\x03": "quit",
};
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what keys send.
const SEQUENCE = /\x1b(?:\[[0-9;]*[A-Za-z~]|O[A-Z])|[\s\S]/g;

export class Screen {
  readonly #out: NodeJS.WriteStream;
  readonly #in: NodeJS.ReadStream;
  #shown: readonly string[] = [];
  #open = false;
  readonly #leave = (): void => this.close();
  #onResize: () => void = () => undefined;
  readonly #resized = (): void => {
    this.#shown = [];
    this.#onResize();
  };
  #onData: (data: string) => void = () => undefined;

  constructor(out: NodeJS.WriteStream, input: NodeJS.ReadStream) {
    this.#out = out;
    this.#in = input;
  }

  get columns(): number {
    return this.#out.columns || DEFAULT_COLUMNS;
  }

  get rows(): number {
    return this.#out.rows || DEFAULT_ROWS;
  }

  open(onKey: (key: Key) => void, onResize: () => void): void {
    this.#open = true;
    this.#onResize = onResize;
    this.#onData = (data) => {
      for (const [sequence] of data.matchAll(SEQUENCE)) onKey(KEYS[sequence] ?? sequence);
    };
    // The listeners of main.ts tell of a crash: before them, so that it is told on the screen that stays.
    process.prependListener("uncaughtException", this.#leave);
    process.prependListener("unhandledRejection", this.#leave);
    process.once("exit", this.#leave);
    this.#out.on("resize", this.#resized);
    if (this.#in.isTTY) {
      this.#in.setRawMode(true);
      this.#in.setEncoding("utf8").on("data", this.#onData).resume();
    }
    this.#out.write(ENTER);
  }

  /** Shows `lines`, one for each row. */
  draw(lines: readonly string[]): void {
    if (!this.#open) return;
    const changes = lines.flatMap((line, row) =>
      line === this.#shown[row] ? [] : [`\x1b[${row + 1};1H${CLEAR_LINE}${line}`],
    );
    if (this.#shown.length === 0) changes.unshift("\x1b[2J");
    this.#shown = lines;
    if (changes.length > 0) this.#out.write(`${BEGIN}${changes.join("")}${END}`);
  }

  /** Gives the terminal back. Idempotent. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    process.off("uncaughtException", this.#leave);
    process.off("unhandledRejection", this.#leave);
    process.off("exit", this.#leave);
    this.#out.off("resize", this.#resized);
    if (this.#in.isTTY) {
      this.#in.off("data", this.#onData).pause();
      this.#in.setRawMode(false);
    }
    try {
      // At once: the process may be about to end.
      writeSync((this.#out as NodeJS.WriteStream & { readonly fd: number }).fd, LEAVE);
    } catch {
      // The terminal has gone.
    }
  }
}
