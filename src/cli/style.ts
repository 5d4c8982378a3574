/** Colours and weights of a terminal, or plain text where it is none. */
export class Style {
  readonly enabled: boolean;

  constructor(enabled: boolean) {
    this.enabled = enabled;
  }

  bold(text: string): string {
    return this.#wrap(text, 1, 22);
  }

  dim(text: string): string {
    return this.#wrap(text, 2, 22);
  }

  red(text: string): string {
    return this.#wrap(text, 31, 39);
  }

  green(text: string): string {
    return this.#wrap(text, 32, 39);
  }

  yellow(text: string): string {
    return this.#wrap(text, 33, 39);
  }

  #wrap(text: string, on: number, off: number): string {
    return this.enabled ? `\x1b[${on}m${text}\x1b[${off}m` : text;
  }
}

/**
 * `text` without control characters, on one line: names, messages and outputs come from others, and must not move the
 * cursor of whoever looks at them.
 */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]+/gu, " ");
}
