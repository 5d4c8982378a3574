import type { Secret } from "../../../bus/sealed/secret.ts";
import type { Container } from "./container.ts";
import type { Contents } from "./contents.ts";

/** A vault that was decrypted and is not open yet. */
export interface Opening {
  readonly vaultId: string;
  readonly generation: number;
  /** SHA-256 of the file, hex. */
  readonly digest: string;
  /** As `VaultStore.derive`. */
  derive(label: string): Secret;
}

/** Decides whether a vault may be opened: as long as it has not resolved, the store stays as it was. */
export type Admit = (opening: Opening) => Promise<void>;

export function openingOf({ header, digest }: Container, { keyring }: Contents): Opening {
  return {
    vaultId: header.vaultId.toString("base64url"),
    generation: header.generation,
    digest,
    derive: (label) => keyring.derive(label),
  };
}
