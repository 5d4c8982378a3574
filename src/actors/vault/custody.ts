/**
 * What operators do to the vault: make it, open and close it, and write keys.
 *
 * 1. Operations that write come one after the other; keys stay in use meanwhile.
 * 2. The file is written first, then its witness outside the file, then the trail, then the answer. A crash in between leaves a
 *    file that is newer than its witness, which the next unsealing puts right.
 * 3. A file that is older than its witness, or another vault's, is not opened unless the operator says so.
 */
import { type BoxKeys, openBox, secretContext } from "../../bus/sealed/sealed-box.ts";
import { Secret } from "../../bus/sealed/secret.ts";
import type { Clock } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import type { Calls } from "./calls/calls.ts";
import type { Admitted } from "./door.ts";
import type { Journal } from "./journal.ts";
import type { VaultRecord } from "./store/records.ts";
import type { VaultStore } from "./store/vault-store.ts";
import type { Witness } from "./store/witness.ts";
import type { Checkpoints } from "./trail/checkpoints.ts";
import type { TrailEntry, Who } from "./trail/entry.ts";

export type Asked<Name extends Admitted["op"]> = Extract<Admitted, { readonly op: Name }>;

export interface CustodyOptions {
  readonly store: VaultStore;
  readonly journal: Journal;
  readonly witness: Witness;
  readonly checkpoints: Checkpoints;
  readonly calls: Calls;
  readonly clock: Clock;
  readonly boot: string;
  readonly boxKeys: BoxKeys;
  /** A key is gone, or has a new version: what the provider said of the old one no longer holds. */
  readonly changed: (provider: string, key: string) => void;
  /** Tells the chart what the store is now. */
  readonly tellState: () => void;
}

/** After a wrong passphrase the next is not tried for this long, ms: with the key derivation that is fewer than two guesses in 3 s. */
const WRONG_PAUSE_MS = 1_000;

const FIRST_GENERATION = 1;

/** Label of the subkey that the trail's first key is. */
const TRAIL_SEED = "trail";

export class Custody {
  readonly #options: CustodyOptions;
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: CustodyOptions) {
    this.#options = options;
  }

  init(asked: Asked<"init">): Promise<{ vaultId: string; generation: number }> {
    const { store, tellState } = this.#options;
    return this.#inTurn(async () => {
      await this.#withSecret(asked, asked.args.sealed, (passphrase) => store.init(passphrase));
      await this.#startTrail();
      await this.#witnessed(true);
      await this.#done(asked, this.#whereItStands());
      tellState();
      return this.#whereItStands();
    });
  }

  unseal(asked: Asked<"unseal">): Promise<{ vaultId: string; generation: number }> {
    return this.#withSecret(asked, asked.args.sealed, (passphrase) =>
      this.unlock(passphrase, asked.who, asked.args.acceptRollback),
    );
  }

  /** Opens the vault for `who`. Does nothing to one that is open. */
  unlock(passphrase: Secret, who: Who, acceptRollback = false): Promise<{ vaultId: string; generation: number }> {
    const { store, journal, clock, tellState } = this.#options;
    return this.#inTurn(async () => {
      if (store.state === "absent")
        throw new VgasError("VAULT_UNINITIALISED", "there is no vault yet: `vgas vault init` makes it");
      if (store.state === "sealed") {
        try {
          await store.unseal(passphrase);
        } catch (error) {
          if (error instanceof VgasError && error.code === "WRONG_PASSPHRASE")
            await new Promise<void>((resolve) => clock.setTimeout(resolve, WRONG_PAUSE_MS));
          throw error;
        }
        try {
          await this.#witnessed(acceptRollback);
          if (journal.trail === undefined) await this.#newTrail(acceptRollback);
          await journal.trail?.advance();
          await journal.write({ op: "unseal", outcome: "ok", who, detail: this.#whereItStands() });
        } catch (error) {
          store.seal();
          throw error;
        }
      }
      tellState();
      return this.#whereItStands();
    });
  }

  /** Takes effect at once: it waits for no other operation. */
  async seal(asked: Asked<"seal">): Promise<object> {
    const { store, journal, calls, checkpoints, tellState } = this.#options;
    const aborted = calls.abortAll(new VgasError("VAULT_SEALED", "the vault was sealed"));
    store.seal();
    if (store.state === "sealed") tellState();
    await aborted;
    await this.#done(asked);
    await journal.trail?.advance();
    await checkpoints.flush();
    return {};
  }

  put(asked: Asked<"store">): Promise<VaultRecord> {
    const { provider, name, sealed, settings } = asked.args;
    const { store } = this.#options;
    return this.#write(asked, async () => {
      if (sealed === undefined) return await store.changeSettings(provider, name, settings);
      return await this.#withSecret(asked, sealed, (key) => store.add(provider, name, key, settings));
    });
  }

  rotate(asked: Asked<"rotate">): Promise<{ term: number; key?: VaultRecord }> {
    const { store } = this.#options;
    const { args } = asked;
    return this.#inTurn(async () => {
      if (!("provider" in args)) {
        await store.rotateTerm();
        await this.#witnessed();
        await this.#done(asked, { term: store.term });
        return { term: store.term };
      }
      const key = await this.#withSecret(asked, args.sealed, (secret) =>
        store.newVersion(args.provider, args.name, secret),
      );
      this.#options.changed(args.provider, args.name);
      await this.#wrote(asked, key);
      return { term: key.term, key };
    });
  }

  async remove(asked: Asked<"delete">): Promise<object> {
    const { provider, name } = asked.args;
    const { store, changed } = this.#options;
    await this.#write(asked, () => store.remove(provider, name));
    changed(provider, name);
    return {};
  }

  rekey(asked: Asked<"rekey">): Promise<{ generation: number }> {
    const { store } = this.#options;
    return this.#inTurn(async () => {
      await this.#withSecret(asked, asked.args.sealed, (present) =>
        this.#withSecret(asked, asked.args.next, (next) => store.rekey(present, next)),
      );
      await this.#witnessed();
      await this.#done(asked, this.#whereItStands());
      return { generation: this.#whereItStands().generation };
    });
  }

  #write(asked: Admitted, change: () => Promise<VaultRecord>): Promise<VaultRecord> {
    return this.#inTurn(async () => {
      const key = await change();
      await this.#wrote(asked, key);
      return key;
    });
  }

  async #wrote(asked: Admitted, { provider, name, version, term }: VaultRecord): Promise<void> {
    await this.#witnessed();
    await this.#options.journal.write({
      ...{ op: asked.op, outcome: "ok", who: asked.who },
      ...{ provider, key: name, version, detail: { term, ...this.#whereItStands() } },
    });
  }

  async #done(asked: Admitted, detail?: TrailEntry["detail"]): Promise<void> {
    await this.#options.journal.note({ op: asked.op, outcome: "ok", who: asked.who, ...(detail && { detail }) });
  }

  /** The vault was made and its trail was not, or the trail is gone: the one is a crash, the other needs to be said. */
  async #newTrail(accept: boolean): Promise<void> {
    const { generation } = this.#whereItStands();
    if (generation > FIRST_GENERATION && !accept)
      throw new VgasError(
        "VAULT_ROLLED_BACK",
        "the vault's audit trail is gone: put it back, or accept that it begins anew",
      );
    await this.#startTrail();
  }

  async #startTrail(): Promise<void> {
    const { store, journal } = this.#options;
    const seed = store.derive(TRAIL_SEED);
    try {
      await journal.create(seed);
    } finally {
      seed.wipe();
    }
  }

  /**
   * Compares the file with its witness and brings the witness up to it.
   *
   * @throws VgasError VAULT_ROLLED_BACK unless `accept`ed
   */
  async #witnessed(accept = false): Promise<void> {
    const { store, witness, journal } = this.#options;
    const file = { ...this.#whereItStands(), digest: store.digest ?? "" };
    const found = await witness.check(file);
    const refused = found.verdict === "rolled-back" || found.verdict === "foreign";
    if (refused) {
      const why =
        found.verdict === "foreign"
          ? `this is the vault ${file.vaultId}, and the swarm's is ${found.vaultId ?? "unknown"}`
          : `the file is generation ${file.generation}, and generation ${found.generation} was written`;
      await journal.note({
        ...{ op: "witness", outcome: accept ? "ok" : "refused", why: `VAULT_ROLLED_BACK: ${why}` },
        detail: this.#whereItStands(),
      });
      if (!accept) throw new VgasError("VAULT_ROLLED_BACK", `${why}: an older or another file was put in its place`);
    }
    if (found.verdict !== "same") await witness.advance(file, { force: refused });
  }

  #whereItStands(): { vaultId: string; generation: number } {
    const { vaultId = "", generation = 0 } = this.#options.store;
    return { vaultId, generation };
  }

  /** Opens a sealed field for as long as `use` takes. */
  async #withSecret<T>(asked: Admitted, sealed: Uint8Array, use: (secret: Secret) => Promise<T>): Promise<T> {
    const { boot, boxKeys } = this.#options;
    const secret = new Secret(openBox(boxKeys, sealed, secretContext(asked.op, boot, asked.nonce)));
    try {
      return await use(secret);
    } finally {
      secret.wipe();
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}
