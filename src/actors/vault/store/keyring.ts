/**
 * The keys of an open vault, and how they hang together:
 *
 * ```
 * passphrase --scrypt--> root --HKDF--> commitment   stands in the file
 *                                  |--> body key     seals the file's body
 *                                  '--> wrap key     seals the term keys and the vault secret within the body
 * term key (random, one per term)                    seals the data key of each version of a provider's key
 * vault secret (random, for the vault's whole life)  --HKDF--> fingerprints, the audit trail's first key
 * ```
 *
 * A keyring owns its secrets and never changes: another term or another root is another keyring. Whoever drops one wipes it.
 */
import { KEY_BYTES } from "../../../bus/sealed/aead.ts";
import { hkdfSha256 } from "../../../bus/sealed/raw-keys.ts";
import { Secret } from "../../../bus/sealed/secret.ts";
import { VgasError } from "../../../protocols/errors.ts";
import { associated, openBlob, type RandomBytes, sealBlob } from "./blob.ts";
import { damaged } from "./container.ts";

export const DOMAIN = "vgas.vault.v1 ";

/** What a root key gives. */
export interface RootKeys {
  readonly commitment: Buffer;
  readonly body: Secret;
  readonly wrap: Secret;
}

/** A keyring as it stands in the body. */
export interface SealedKeyring {
  readonly terms: readonly { readonly term: number; readonly key: Buffer }[];
  readonly secret: Buffer;
}

/** Wipes `root`. */
export function rootKeys(root: Buffer, vaultId: Uint8Array): RootKeys {
  const give = (label: string): Buffer => hkdfSha256(root, vaultId, Buffer.from(DOMAIN + label), KEY_BYTES);
  try {
    return { commitment: give("commitment"), body: new Secret(give("body")), wrap: new Secret(give("wrap")) };
  } finally {
    root.fill(0);
  }
}

export class Keyring {
  readonly vaultId: Buffer;
  readonly commitment: Buffer;
  readonly body: Secret;
  /** How it stands in the body. */
  readonly sealed: SealedKeyring;
  readonly #wrap: Secret;
  readonly #terms: ReadonlyMap<number, Secret>;
  readonly #secret: Secret;

  private constructor(
    vaultId: Buffer,
    root: RootKeys,
    terms: ReadonlyMap<number, Secret>,
    secret: Secret,
    sealed: SealedKeyring,
  ) {
    this.vaultId = vaultId;
    this.commitment = root.commitment;
    this.body = root.body;
    this.#wrap = root.wrap;
    this.#terms = terms;
    this.#secret = secret;
    this.sealed = sealed;
  }

  /** A new one of one term. Takes the root's keys over. */
  static create(vaultId: Buffer, root: RootKeys, randomBytes: RandomBytes): Keyring {
    const terms = new Map([[1, new Secret(randomBytes(KEY_BYTES))]]);
    return Keyring.#seal(vaultId, root, terms, new Secret(randomBytes(KEY_BYTES)), randomBytes);
  }

  /** Opens what `sealed` holds. Takes the root's keys over, unless it throws. @throws VgasError VAULT_DAMAGED */
  static open(vaultId: Buffer, root: RootKeys, sealed: SealedKeyring): Keyring {
    const terms = new Map<number, Secret>();
    try {
      for (const { term, key } of sealed.terms) {
        terms.set(term, new Secret(openBlob(root.wrap, key, termBinding(vaultId, term))));
      }
      const secret = new Secret(openBlob(root.wrap, sealed.secret, secretBinding(vaultId)));
      return new Keyring(vaultId, root, terms, secret, sealed);
    } catch (error) {
      for (const term of terms.values()) term.wipe();
      throw damaged("was tampered with: its keyring does not open", error);
    }
  }

  /** The term under which keys are sealed now. */
  get term(): number {
    return Math.max(...this.#terms.keys());
  }

  /** The key of a term, which stays this keyring's. @throws VgasError VAULT_DAMAGED if there is no such term */
  termKey(term: number): Secret {
    const key = this.#terms.get(term);
    if (key === undefined) throw damaged(`has no term ${term}, under which one of its keys is said to be sealed`);
    return key;
  }

  /** 32 bytes that follow from the vault secret, the same for the vault's whole life. The caller's to wipe. */
  derive(label: string): Secret {
    if (label === "") throw new VgasError("INTERNAL", "a key must be derived for something");
    const info = Buffer.from(`${DOMAIN}derive\0${label}`);
    return this.#secret.use((secret) => new Secret(hkdfSha256(secret, this.vaultId, info, KEY_BYTES)));
  }

  /** With the next term and none before it: whoever asks for it seals every key anew. */
  withNewTerm(randomBytes: RandomBytes): Keyring {
    const terms = new Map([[this.term + 1, new Secret(randomBytes(KEY_BYTES))]]);
    return Keyring.#seal(this.vaultId, this.copyRoot(), terms, this.#secret.copy(), randomBytes);
  }

  /** The root's keys, the caller's to wipe. */
  copyRoot(): RootKeys {
    return { commitment: this.commitment, body: this.body.copy(), wrap: this.#wrap.copy() };
  }

  /** The same terms and vault secret under another root. Takes the root's keys over. */
  underRoot(root: RootKeys, randomBytes: RandomBytes): Keyring {
    const terms = new Map([...this.#terms].map(([term, key]) => [term, key.copy()]));
    return Keyring.#seal(this.vaultId, root, terms, this.#secret.copy(), randomBytes);
  }

  /** Idempotent. */
  wipe(): void {
    for (const secret of [this.body, this.#wrap, this.#secret, ...this.#terms.values()]) secret.wipe();
  }

  static #seal(
    vaultId: Buffer,
    root: RootKeys,
    terms: ReadonlyMap<number, Secret>,
    secret: Secret,
    randomBytes: RandomBytes,
  ): Keyring {
    const wrap = (value: Secret, binding: Buffer): Buffer =>
      value.use((bytes) => sealBlob(root.wrap, bytes, binding, randomBytes));
    const sealed = {
      terms: [...terms].map(([term, key]) => ({ term, key: wrap(key, termBinding(vaultId, term)) })),
      secret: wrap(secret, secretBinding(vaultId)),
    };
    return new Keyring(vaultId, root, terms, secret, sealed);
  }
}

/** Wipes keys that no keyring took over. */
export function wipeRoot({ body, wrap }: RootKeys): void {
  body.wipe();
  wrap.wipe();
}

function termBinding(vaultId: Buffer, term: number): Buffer {
  return associated(`${DOMAIN}term`, vaultId, term);
}

function secretBinding(vaultId: Buffer): Buffer {
  return associated(`${DOMAIN}secret`, vaultId);
}
