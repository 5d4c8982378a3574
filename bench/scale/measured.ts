import type { Samples } from "../benchmark.ts";

/** Samples by what was measured, in the order of the pairs. */
export class Measured {
  readonly #samples = new Map<string, number[]>();

  note(what: string, value: number): void {
    const known = this.#samples.get(what);
    if (known) known.push(value);
    else this.#samples.set(what, [value]);
  }

  /** None of what was not measured. */
  of(what: string): Samples {
    return this.#samples.get(what) ?? [];
  }
}
