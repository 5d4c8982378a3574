/** What a driver did: calls by name, and every error with the call that met it. Sent as one JSON line at its end. */
import { VgasError } from "vgas";

export interface Report {
  readonly calls: Readonly<Record<string, number>>;
  /** Tasks that a submission was acknowledged for. */
  readonly accepted: number;
  readonly errors: readonly string[];
}

export class Tally {
  readonly #calls = new Map<string, number>();
  readonly #errors: string[] = [];
  accepted = 0;

  /** Counts `call`. An error with a code among `expected` is counted under its code; any other is one too many. */
  async count<T>(call: string, work: Promise<T>, expected: readonly string[] = []): Promise<T | undefined> {
    try {
      const value = await work;
      this.add(call);
      return value;
    } catch (error) {
      if (error instanceof VgasError && expected.includes(error.code)) this.add(`${call}: ${error.code}`);
      else this.wrong(call, error instanceof VgasError ? `${error.code}: ${error.message}` : String(error));
      return undefined;
    }
  }

  add(call: string): void {
    this.#calls.set(call, (this.#calls.get(call) ?? 0) + 1);
  }

  wrong(call: string, what: string): void {
    this.#errors.push(`${new Date().toISOString()} ${call}: ${what}`);
  }

  check(call: string, holds: boolean, what: string): void {
    if (!holds) this.wrong(call, what);
  }

  get report(): Report {
    return { calls: Object.fromEntries([...this.#calls].sort()), accepted: this.accepted, errors: this.#errors };
  }
}
