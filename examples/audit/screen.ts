/** The terminal: lines of data on stdout, a bar below them on stderr, colours only where somebody looks. */

const FRAME_MS = 80;
const CLEAR_LINE = "\r\u001b[2K";
const HIDE_CURSOR = "\u001b[?25l";
const SHOW_CURSOR = "\u001b[?25h";
const CODES = { dim: 2, bold: 1, red: 31, green: 32, yellow: 33, blue: 34, magenta: 35, cyan: 36 } as const;

type Colour = keyof typeof CODES;

const plain = (process.env["NO_COLOR"] ?? "") !== "" || process.env["TERM"] === "dumb";

export class Screen {
  readonly columns: number;
  /** Whether stderr is a terminal that may be drawn on. */
  readonly animated: boolean;
  readonly #coloured: boolean;
  #draw: ((frame: number) => string) | undefined;
  #frame = 0;
  #timer: NodeJS.Timeout | undefined;
  readonly #restore = (): void => {
    process.stderr.write(SHOW_CURSOR);
  };

  constructor() {
    this.animated = process.stderr.isTTY === true && !plain;
    this.#coloured = process.stdout.isTTY === true && !plain;
    this.columns = Math.max(60, Math.min(process.stdout.columns || 80, 100));
  }

  /** A line of data. */
  line(text = ""): void {
    this.#clear();
    process.stdout.write(`${text}\n`);
    this.#redraw();
  }

  /** A line about the work. */
  note(text: string): void {
    this.#clear();
    process.stderr.write(`${text}\n`);
    this.#redraw();
  }

  /** Draws what `draw` returns below everything else, again and again, until `endBar`. Nothing where nobody looks. */
  startBar(draw: (frame: number) => string): void {
    if (!this.animated) return;
    process.stderr.write(HIDE_CURSOR);
    process.once("exit", this.#restore);
    this.#draw = draw;
    this.#timer = setInterval(() => {
      this.#frame++;
      this.#clear();
      this.#redraw();
    }, FRAME_MS);
  }

  endBar(): void {
    if (this.#draw === undefined) return;
    clearInterval(this.#timer);
    this.#clear();
    this.#draw = undefined;
    process.off("exit", this.#restore);
    this.#restore();
  }

  /** `text` in a colour, for stdout. */
  paint(colour: Colour, text: string): string {
    return this.#coloured ? `\u001b[${CODES[colour]}m${text}\u001b[0m` : text;
  }

  /** `text` in a colour, for the bar, which is drawn on a terminal or not at all. */
  paintBar(colour: Colour, text: string): string {
    return `\u001b[${CODES[colour]}m${text}\u001b[0m`;
  }

  #clear(): void {
    if (this.#draw !== undefined) process.stderr.write(CLEAR_LINE);
  }

  #redraw(): void {
    if (this.#draw !== undefined) process.stderr.write(this.#draw(this.#frame));
  }
}

/** Exactly `width` characters: cut with an ellipsis, or filled up. Control characters of other people's names go. */
export function column(text: string, width: number): string {
  const clean = printable(text);
  return clean.length > width ? `${clean.slice(0, width - 1)}…` : clean.padEnd(width);
}

/** "name 1.2.3" in exactly `width` characters; where it is too long the name is cut, not the version. */
export function nameColumn(
  { name, version }: { readonly name: string; readonly version: string },
  width: number,
): string {
  const whole = printable(`${name} ${version}`);
  const room = width - version.length - 2;
  return whole.length <= width || room < 8
    ? column(whole, width)
    : column(`${printable(name).slice(0, room)}… ${version}`, width);
}

/** `text` on one line, without anything that could move the cursor. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]+/gu, " ");
}

/** A bar of `width` characters, filled to `share`, in eighths of a character. */
export function bar(share: number, width: number): string {
  const eighths = Math.round(Math.min(1, Math.max(0, share)) * width * 8);
  return "█".repeat(eighths >> 3) + ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths & 7];
}

/** "3.4 MB" */
export function size(bytes: number): string {
  if (bytes < 1_000) return `${bytes} B`;
  const [unit, value] =
    bytes < 1_000_000 ? ["kB", bytes / 1_000] : bytes < 1e9 ? ["MB", bytes / 1e6] : ["GB", bytes / 1e9];
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}

/** "12 345" */
export function count(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, " ");
}

/** "1 file", "2 files" */
export function plural(value: number, noun: string): string {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}
