/** Bytes that nobody may see by accident, and that are gone when they are no longer needed. */
import { type InspectOptions, inspect } from "node:util";
import { VgasError } from "../../protocols/errors.ts";

const REDACTED = "[redacted]";

/** Shows as `[redacted]` wherever it is printed, logged or serialised. The bytes are reached only through `use`. */
export class Secret {
  #bytes: Buffer | undefined;
  readonly #length: number;

  /** Takes `bytes` over: they are this secret's from now on, and overwritten by `wipe`. */
  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.#length = bytes.length;
  }

  /** The text itself stays where it was: a string cannot be wiped. For secrets that come as strings all the same. */
  static fromUtf8(text: string): Secret {
    // Not Buffer.from: that takes small buffers from a slab that others get views of.
    const bytes = Buffer.allocUnsafeSlow(Buffer.byteLength(text, "utf8"));
    bytes.write(text, "utf8");
    return new Secret(bytes);
  }

  /** In bytes; stays after `wipe`. */
  get length(): number {
    return this.#length;
  }

  get wiped(): boolean {
    return this.#bytes === undefined;
  }

  /**
   * Hands the bytes to `read`, which must neither keep nor change them: they are overwritten by `wipe`.
   *
   * @throws VgasError INVALID once wiped
   */
  use<T>(read: (bytes: Buffer) => T): T {
    if (this.#bytes === undefined) throw new VgasError("INVALID", "the secret has been wiped");
    return read(this.#bytes);
  }

  /** @throws VgasError INVALID once wiped */
  copy(): Secret {
    return this.use((bytes) => {
      const copied = Buffer.allocUnsafeSlow(bytes.length);
      bytes.copy(copied);
      return new Secret(copied);
    });
  }

  /** Overwrites the bytes. Idempotent. */
  wipe(): void {
    this.#bytes?.fill(0);
    this.#bytes = undefined;
  }

  toString(): string {
    return REDACTED;
  }

  toJSON(): string {
    return REDACTED;
  }

  [inspect.custom](_depth: number, _options: InspectOptions): string {
    return `Secret ${REDACTED}`;
  }
}
