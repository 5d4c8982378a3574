/** Longest line that is passed on whole, in characters: somebody else's output must not fill the memory. */
const MAX_LINE_CHARS = 16_384;

/** Cuts text that comes in pieces into lines. Empty ones are left out. */
export class Lines {
  readonly #take: (line: string) => void;
  #rest = "";

  constructor(take: (line: string) => void) {
    this.#take = take;
  }

  add(text: string): void {
    const lines = (this.#rest + text).split(/\r?\n/);
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#give(line);
    if (this.#rest.length > MAX_LINE_CHARS) this.end();
  }

  /** Gives what is left as the last line. */
  end(): void {
    const last = this.#rest;
    this.#rest = "";
    this.#give(last);
  }

  #give(line: string): void {
    for (let from = 0; from < line.length; from += MAX_LINE_CHARS) this.#take(line.slice(from, from + MAX_LINE_CHARS));
  }
}
