/** The refusals that several files speak of in the same words. */
import { VgasError } from "../../protocols/errors.ts";

export function undeliverable(name: string): VgasError {
  return new VgasError("UNDELIVERABLE", `no actor "${name}" runs there`);
}

export function shuttingDown(name: string): VgasError {
  return new VgasError("SHUTTING_DOWN", `actor "${name}" is stopping`);
}
