/**
 * What is in an open vault: a keyring and the sealed records. Never changes: each change gives the contents after it, which
 * the store writes down before they count.
 */
import type { Secret } from "../../../bus/sealed/secret.ts";
import { VgasError } from "../../../protocols/errors.ts";
import type { KeySettings } from "../../../protocols/vault/keys.ts";
import type { RandomBytes } from "./blob.ts";
import { type Body, decodeBody, encodeBody } from "./body.ts";
import { buildContainer, type Container, type Header, openContainer } from "./container.ts";
import { Keyring, type RootKeys, wipeRoot } from "./keyring.ts";
import { changeSettings, type SettingsChange } from "./provider-defaults.ts";
import {
  checkKey,
  checkNames,
  describeKey,
  type KeyIdentity,
  openKey,
  type SealedRecord,
  sealKey,
  type VaultRecord,
  viewOf,
} from "./records.ts";

/** What a change needs from outside. */
export interface ChangeContext {
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly randomBytes: RandomBytes;
}

export class Contents {
  readonly keyring: Keyring;
  /** In the order of provider and name. */
  readonly views: readonly VaultRecord[];
  readonly #records: ReadonlyMap<string, SealedRecord>;
  readonly #views: ReadonlyMap<string, VaultRecord>;

  constructor(keyring: Keyring, records: Iterable<SealedRecord>) {
    const sorted = [...records].sort((a, b) => compare(a.provider, b.provider) || compare(a.name, b.name));
    this.keyring = keyring;
    this.views = sorted.map(viewOf);
    this.#records = new Map(sorted.map((record) => [idOf(record.provider, record.name), record]));
    this.#views = new Map(this.views.map((view) => [idOf(view.provider, view.name), view]));
  }

  /** Opens a file with the keys that its passphrase gave, and takes them over, also if it throws. @throws VgasError VAULT_DAMAGED */
  static open(container: Container, root: RootKeys): Contents {
    let keyring: Keyring | undefined;
    try {
      const { keyring: sealed, records } = decodeWiping(openContainer(container, root.body));
      keyring = Keyring.open(container.header.vaultId, root, sealed);
      return new Contents(keyring, records);
    } catch (error) {
      keyring?.wipe();
      wipeRoot(root);
      throw error;
    }
  }

  /** Another file of the same root: what another process wrote. @throws VgasError VAULT_DAMAGED */
  reopen(container: Container): Contents {
    return Contents.open(container, this.keyring.copyRoot());
  }

  /** The file of these contents. @throws VgasError TOO_LARGE */
  seal(header: Omit<Header, "vaultId" | "commitment">, randomBytes: RandomBytes): Container {
    const { vaultId, commitment, body, sealed } = this.keyring;
    const bytes = encodeBody({ keyring: sealed, records: [...this.#records.values()] });
    try {
      return buildContainer({ ...header, vaultId, commitment }, body, bytes, randomBytes);
    } finally {
      bytes.fill(0);
    }
  }

  find(provider: string, name: string): VaultRecord | undefined {
    return this.#views.get(idOf(provider, name));
  }

  /** @throws VgasError NOT_FOUND, VAULT_DAMAGED, and what `read` throws */
  withKey<T>(provider: string, name: string, read: (key: Buffer, record: VaultRecord) => T): T {
    const record = this.#present(provider, name);
    const view = viewOf(record);
    return openKey(this.keyring, record, (key) => read(key, view));
  }

  /** @throws VgasError CONFLICT, INVALID */
  add(provider: string, name: string, key: Secret, settings: KeySettings, context: ChangeContext): Contents {
    checkNames(provider, name);
    checkKey(key);
    if (this.#records.has(idOf(provider, name))) {
      throw new VgasError("CONFLICT", `there is a key ${provider}/${name} already: rotate it, or give another name`);
    }
    const identity = { provider, name, version: 1, term: this.keyring.term };
    const kept = { createdAt: context.now, settings: changeSettings(provider, {}, settings) };
    return this.#with(this.#sealed(identity, key, kept, context));
  }

  /** @throws VgasError NOT_FOUND, INVALID */
  newVersion(provider: string, name: string, key: Secret, context: ChangeContext): Contents {
    checkKey(key);
    const { version, createdAt, settings } = this.#present(provider, name);
    const identity = { provider, name, version: version + 1, term: this.keyring.term };
    return this.#with(this.#sealed(identity, key, { createdAt, settings }, context));
  }

  /** @throws VgasError NOT_FOUND, INVALID */
  changeSettings(provider: string, name: string, change: SettingsChange): Contents {
    const record = this.#present(provider, name);
    return this.#with({ ...record, settings: changeSettings(provider, record.settings, change) });
  }

  /** @throws VgasError NOT_FOUND */
  remove(provider: string, name: string): Contents {
    const removed = this.#present(provider, name);
    return new Contents(
      this.keyring,
      [...this.#records.values()].filter((record) => record !== removed),
    );
  }

  /** Every key sealed anew, by a new data key under a new term. @throws VgasError VAULT_DAMAGED */
  rotateTerm({ randomBytes }: ChangeContext): Contents {
    const keyring = this.keyring.withNewTerm(randomBytes);
    try {
      const anew = (record: SealedRecord): SealedRecord => {
        const moved = { ...record, term: keyring.term };
        return { ...moved, ...openKey(this.keyring, record, (key) => sealKey(keyring, moved, key, randomBytes)) };
      };
      return new Contents(keyring, [...this.#records.values()].map(anew));
    } catch (error) {
      keyring.wipe();
      throw error;
    }
  }

  /** The same keys under another root, whose keys it takes over. */
  underRoot(root: RootKeys, { randomBytes }: ChangeContext): Contents {
    return new Contents(this.keyring.underRoot(root, randomBytes), this.#records.values());
  }

  #with(changed: SealedRecord): Contents {
    const records = new Map(this.#records).set(idOf(changed.provider, changed.name), changed);
    return new Contents(this.keyring, records.values());
  }

  #present(provider: string, name: string): SealedRecord {
    const record = this.#records.get(idOf(provider, name));
    if (record === undefined) throw new VgasError("NOT_FOUND", `the vault has no key ${provider}/${name}`);
    return record;
  }

  #sealed(
    identity: KeyIdentity,
    key: Secret,
    kept: Pick<SealedRecord, "createdAt" | "settings">,
    { now, randomBytes }: ChangeContext,
  ): SealedRecord {
    return key.use((bytes) => ({
      ...identity,
      ...kept,
      changedAt: now,
      ...describeKey(this.keyring, bytes),
      ...sealKey(this.keyring, identity, bytes, randomBytes),
    }));
  }
}

function decodeWiping(bytes: Buffer): Body {
  try {
    return decodeBody(bytes);
  } finally {
    bytes.fill(0);
  }
}

/** Tokens hold no slash. */
function idOf(provider: string, name: string): string {
  return `${provider}/${name}`;
}

/** By code units, the same on every machine. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
