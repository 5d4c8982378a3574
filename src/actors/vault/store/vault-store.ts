/**
 * The vault's keys at rest and in memory: absent, sealed (only what stands unsealed in the file is known), or open.
 *
 * Owns the vault's files and, while it is open, the contents: a keyring in `Secret`s, and the providers' keys sealed.
 *
 * 1. What is in memory is what stands in the file: a change counts when its file is written, and not at all if that fails.
 * 2. Writes take turns, within the process and between processes. Who writes checks under the lock that the file is the one
 *    that it knows; what another process wrote is never overwritten.
 * 3. A provider's key is in the clear for one synchronous call of `withKey` (or while it is sealed anew), then wiped.
 * 4. `seal` takes effect at once, also for an `init` or `unseal` that is under way: it then stays sealed. A write that is
 *    under way may still reach the file.
 * 5. After a rekey nothing that is kept opens with the old passphrase: the previous generation becomes a copy of the new one.
 */
import * as crypto from "node:crypto";
import type { Secret } from "../../../bus/sealed/secret.ts";
import type { Clock } from "../../../protocols/clock.ts";
import { VgasError } from "../../../protocols/errors.ts";
import type { KeySettings } from "../../../protocols/vault/keys.ts";
import type { RandomBytes } from "./blob.ts";
import { type Container, type Header, isCommittedTo, VAULT_ID_BYTES } from "./container.ts";
import { type ChangeContext, Contents } from "./contents.ts";
import { checkPassphrase, type Kdf, NEW_COST, SALT_BYTES, scryptKdf } from "./kdf.ts";
import { Keyring, type RootKeys, rootKeys, wipeRoot } from "./keyring.ts";
import { type Admit, openingOf } from "./opening.ts";
import type { SettingsChange } from "./provider-defaults.ts";
import type { VaultRecord } from "./records.ts";
import { VaultFiles } from "./vault-files.ts";

export interface VaultStoreOptions {
  /** Folder of the vault; made at `init`. */
  readonly dir: string;
  readonly clock: Clock;
  readonly randomBytes?: RandomBytes;
  /** scrypt unless a test gives another. */
  readonly kdf?: Kdf;
}

export type StoreState = "absent" | "sealed" | "open";

/** How a passphrase is stretched: what a rekey replaces. */
type Stretching = Pick<Header, "cost" | "salt">;

export class VaultStore {
  readonly #files: VaultFiles;
  readonly #clock: Clock;
  readonly #randomBytes: RandomBytes;
  readonly #kdf: Kdf;
  /** The file as this store last read or wrote it. */
  #container: Container | undefined;
  #contents: Contents | undefined;
  /** How often it was sealed: whoever opens it compares, so that no `seal` is missed. */
  #seals = 0;
  /** Settles when everything that was asked for is done. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(options: VaultStoreOptions) {
    this.#files = new VaultFiles(options.dir, options.clock);
    this.#clock = options.clock;
    this.#randomBytes = options.randomBytes ?? crypto.randomBytes;
    this.#kdf = options.kdf ?? scryptKdf;
  }

  /**
   * Looks at what is there, and leaves it sealed.
   *
   * @throws VgasError VAULT_DAMAGED; CONFIG if others can get at the folder or the file
   */
  static async open(options: VaultStoreOptions): Promise<VaultStore> {
    const store = new VaultStore(options);
    store.#container = await store.#files.read();
    await store.#files.cleanUp();
    return store;
  }

  get state(): StoreState {
    if (this.#contents !== undefined) return "open";
    return this.#container === undefined ? "absent" : "sealed";
  }

  /** base64url of its 16 bytes. Known while sealed, as are the next two; authentic only once it was open. */
  get vaultId(): string | undefined {
    return this.#container?.header.vaultId.toString("base64url");
  }

  get generation(): number | undefined {
    return this.#container?.header.generation;
  }

  /** SHA-256 of the file, hex. */
  get digest(): string | undefined {
    return this.#container?.digest;
  }

  /**
   * Makes the vault and leaves it open. The passphrase stays the caller's. If `admit` rejects, the vault is made and sealed.
   *
   * @throws VgasError CONFLICT, INVALID, CONFIG; what `admit` rejects with
   */
  init(passphrase: Secret, admit?: Admit): Promise<void> {
    const seals = this.#seals;
    return this.#inTurn(async () => {
      checkPassphrase(passphrase);
      if (this.#container !== undefined) throw alreadyThere();
      const vaultId = this.#randomBytes(VAULT_ID_BYTES);
      const stretching = this.#newStretching();
      const root = await this.#rootKeys(passphrase, vaultId, stretching);
      const contents = new Contents(Keyring.create(vaultId, root, this.#randomBytes), []);
      try {
        const container = contents.seal({ ...stretching, generation: 1 }, this.#randomBytes);
        await this.#files.exclusively("making the vault", async () => {
          const found = await this.#files.read();
          this.#container = found;
          if (found !== undefined) throw alreadyThere();
          await this.#files.replace(undefined, container);
        });
        this.#container = container;
        await admit?.(openingOf(container, contents));
      } catch (error) {
        contents.keyring.wipe();
        throw error;
      }
      this.#open(contents, seals);
    });
  }

  /**
   * Reads the file again and opens it. The passphrase stays the caller's. If `admit` rejects, the store stays as it was.
   *
   * @throws VgasError WRONG_PASSPHRASE, VAULT_DAMAGED, VAULT_UNINITIALISED, CONFIG; VAULT_SEALED if it was sealed meanwhile;
   *   what `admit` rejects with
   */
  unseal(passphrase: Secret, admit?: Admit): Promise<void> {
    const seals = this.#seals;
    return this.#inTurn(async () => {
      const container = await this.#files.read();
      if (container === undefined) throw uninitialised();
      const root = await this.#rootOf(container, passphrase);
      const contents = Contents.open(container, root);
      try {
        await admit?.(openingOf(container, contents));
      } catch (error) {
        contents.keyring.wipe();
        throw error;
      }
      this.#container = container;
      this.#open(contents, seals);
      await this.#retirePrevious(container);
    });
  }

  /** Wipes every key that is open. Idempotent. */
  seal(): void {
    this.#seals++;
    this.#contents?.keyring.wipe();
    this.#contents = undefined;
  }

  /** In the order of provider and name. @throws VgasError VAULT_SEALED, VAULT_UNINITIALISED, as everything below */
  records(): readonly VaultRecord[] {
    return this.#opened().views;
  }

  find(provider: string, name: string): VaultRecord | undefined {
    return this.#opened().find(provider, name);
  }

  /** Term of the keyring under which keys are sealed. */
  get term(): number {
    return this.#opened().keyring.term;
  }

  /**
   * Hands a key to `read`, which must be done with it when it returns: it is wiped then, also under a promise's feet.
   *
   * @throws VgasError NOT_FOUND, VAULT_DAMAGED, and what `read` throws
   */
  withKey<T>(provider: string, name: string, read: (key: Buffer, record: VaultRecord) => T): T {
    return this.#opened().withKey(provider, name, read);
  }

  /** 32 bytes for one purpose, the same in every life of this vault and after every rekey. The caller's to wipe. */
  derive(label: string): Secret {
    return this.#opened().keyring.derive(label);
  }

  /**
   * Stores a new key, which stays the caller's but must be there until this settles.
   *
   * @throws VgasError CONFLICT if there is one of that name, INVALID, what a write throws
   */
  async add(provider: string, name: string, key: Secret, settings: KeySettings): Promise<VaultRecord> {
    const change = (now: Contents, context: ChangeContext): Contents => now.add(provider, name, key, settings, context);
    return one(await this.#write(`storing ${provider}/${name}`, change), provider, name);
  }

  /** @throws VgasError NOT_FOUND, INVALID, what a write throws */
  async newVersion(provider: string, name: string, key: Secret): Promise<VaultRecord> {
    const change = (now: Contents, context: ChangeContext): Contents => now.newVersion(provider, name, key, context);
    return one(await this.#write(`rotating ${provider}/${name}`, change), provider, name);
  }

  /** @throws VgasError NOT_FOUND, INVALID, what a write throws */
  async changeSettings(provider: string, name: string, settings: SettingsChange): Promise<VaultRecord> {
    const change = (now: Contents): Contents => now.changeSettings(provider, name, settings);
    return one(await this.#write(`changing ${provider}/${name}`, change), provider, name);
  }

  /**
   * Resolves with what was removed. The previous generation of the file still holds it, sealed, until the next write.
   *
   * @throws VgasError NOT_FOUND, what a write throws
   */
  async remove(provider: string, name: string): Promise<VaultRecord> {
    let removed: VaultRecord | undefined;
    await this.#write(`deleting ${provider}/${name}`, (now) => {
      removed = now.find(provider, name);
      return now.remove(provider, name);
    });
    return removed ?? missing(provider, name);
  }

  /** Seals every key anew under a new term, and resolves with it. @throws VgasError what a write throws */
  async rotateTerm(): Promise<number> {
    return (await this.#write("rotating the keyring", (now, context) => now.rotateTerm(context))).keyring.term;
  }

  /**
   * Changes the passphrase, and with it the salt and the root. Both stay the caller's.
   *
   * @throws VgasError WRONG_PASSPHRASE, INVALID, what a write throws
   */
  rekey(present: Secret, next: Secret): Promise<void> {
    return this.#inTurn(async () => {
      checkPassphrase(next);
      this.#opened();
      const container = this.#known();
      wipeRoot(await this.#rootOf(container, present));
      const stretching = this.#newStretching();
      const root = await this.#rootKeys(next, container.header.vaultId, stretching);
      await this.#writeNow("re-keying the vault", (now, context) => now.underRoot(root, context), stretching).finally(
        () =>
          // Contents that were not written wiped theirs; those that never came to be did not.
          this.#contents?.keyring.body === root.body ? undefined : wipeRoot(root),
      );
      await this.#retirePrevious(this.#known());
    });
  }

  #write(operation: string, change: (now: Contents, context: ChangeContext) => Contents): Promise<Contents> {
    return this.#inTurn(() => this.#writeNow(operation, change, this.#container?.header));
  }

  /**
   * Every write: under the lock, onto the file that is known.
   *
   * @throws VgasError CONFLICT if another process has written: that is what this store knows now, so decide anew;
   *   VAULT_ROLLED_BACK if an older or foreign file was put there; VAULT_DAMAGED, CONFIG, TIMEOUT, TOO_LARGE; and what
   *   `change` throws. In every case what was open stays as it was
   */
  async #writeNow(
    operation: string,
    change: (now: Contents, context: ChangeContext) => Contents,
    stretching: Stretching | undefined,
  ): Promise<Contents> {
    this.#opened();
    const randomBytes = this.#randomBytes;
    return await this.#files.exclusively(operation, async () => {
      const found = await this.#files.read();
      const before = this.#opened();
      this.#checkUnchanged(before, found);
      const present = this.#known();
      const { cost, salt } = stretching ?? present.header;
      const after = change(before, { now: this.#clock.now(), randomBytes });
      try {
        const container = after.seal({ cost, salt, generation: present.header.generation + 1 }, randomBytes);
        await this.#files.replace(present, container);
        this.#container = container;
      } catch (error) {
        if (after.keyring !== before.keyring) after.keyring.wipe();
        throw error;
      }
      const sealedMeanwhile = this.#contents !== before;
      if (after.keyring !== before.keyring) (sealedMeanwhile ? after : before).keyring.wipe();
      if (!sealedMeanwhile) this.#contents = after;
      return after;
    });
  }

  /** Throws unless the file is the one that this store knows. What another process wrote with the same root is taken in. */
  #checkUnchanged(before: Contents, found: Container | undefined): void {
    const known = this.#known();
    if (found?.digest === known.digest) return;
    if (found === undefined)
      throw new VgasError("VAULT_DAMAGED", "the vault file was removed while the vault was open");
    const { vaultId, generation } = found.header;
    const written = `generation ${generation} stands in the vault file, and ${known.header.generation} was open`;
    if (!vaultId.equals(known.header.vaultId) || generation <= known.header.generation) {
      throw new VgasError("VAULT_ROLLED_BACK", `an older or foreign file was put in the vault's place: ${written}`);
    }
    if (!isCommittedTo(found, before.keyring.commitment)) {
      throw new VgasError(
        "CONFLICT",
        `another process has changed the passphrase: ${written}; seal and unseal the vault`,
      );
    }
    this.#contents = before.reopen(found);
    this.#container = found;
    before.keyring.wipe();
    throw new VgasError("CONFLICT", `another process has written meanwhile: ${written}`);
  }

  /** Where the previous generation opens with an older passphrase. Best effort: each unseal and rekey tries again. */
  async #retirePrevious(present: Container): Promise<void> {
    const outdated = async (): Promise<boolean> => {
      const header = (await this.#files.readPrevious())?.header;
      if (header === undefined || !header.vaultId.equals(present.header.vaultId)) return false;
      return header.generation < present.header.generation && !header.commitment.equals(present.header.commitment);
    };
    if (!(await outdated())) return;
    await this.#files
      .exclusively("retiring the previous passphrase", async () => {
        const found = await this.#files.read();
        if (found?.digest === present.digest && (await outdated())) await this.#files.replacePrevious(present);
      })
      .catch(() => undefined);
  }

  #open(contents: Contents, seals: number): void {
    if (seals !== this.#seals) {
      contents.keyring.wipe();
      throw new VgasError("VAULT_SEALED", "the vault was sealed while it was being opened");
    }
    this.#contents?.keyring.wipe();
    this.#contents = contents;
  }

  #opened(): Contents {
    if (this.#contents !== undefined) return this.#contents;
    if (this.#container === undefined) throw uninitialised();
    throw new VgasError("VAULT_SEALED", "the vault is sealed: `vgas vault unseal` opens it");
  }

  #known(): Container {
    if (this.#container === undefined) throw uninitialised();
    return this.#container;
  }

  #newStretching(): Stretching {
    return { cost: NEW_COST, salt: this.#randomBytes(SALT_BYTES) };
  }

  /** @throws VgasError WRONG_PASSPHRASE */
  async #rootOf(container: Container, passphrase: Secret): Promise<RootKeys> {
    const root = await this.#rootKeys(passphrase, container.header.vaultId, container.header);
    if (isCommittedTo(container, root.commitment)) return root;
    wipeRoot(root);
    throw new VgasError("WRONG_PASSPHRASE", "the passphrase or key file does not open this vault");
  }

  async #rootKeys(passphrase: Secret, vaultId: Buffer, { cost, salt }: Stretching): Promise<RootKeys> {
    return rootKeys(await passphrase.use((bytes) => this.#kdf(bytes, salt, cost)), vaultId);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => undefined);
    return done;
  }
}

function one(contents: Contents, provider: string, name: string): VaultRecord {
  return contents.find(provider, name) ?? missing(provider, name);
}

function missing(provider: string, name: string): never {
  throw new VgasError("INTERNAL", `the key ${provider}/${name} is not where it was stored`);
}

function alreadyThere(): VgasError {
  return new VgasError("CONFLICT", "there is a vault already");
}

function uninitialised(): VgasError {
  return new VgasError("VAULT_UNINITIALISED", "there is no vault yet: `vgas vault init` makes it");
}
