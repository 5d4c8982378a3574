/**
 * What operators do to the vault: make it, open and close it, and write keys.
 *
 * 1. Operations that write come one after the other; keys stay in use meanwhile.
 * 2. A write is written down twice: what is intended before, and that it was done after, so no change of the file is without a
 *    record. Then comes the witness outside the file; a file that is newer than its witness is put right by the next unsealing.
 * 3. A file that is older than its witness, or another vault's, is not opened unless the operator says so; and none is open before
 *    its unsealing is written down.
 */
import { type BoxKeys, openBox, secretContext } from "../../bus/sealed/sealed-box.ts";
import { Secret } from "../../bus/sealed/secret.ts";
import type { Clock } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import type { Logger } from "../../protocols/logger.ts";
import type { Calls } from "./calls/calls.ts";
import type { Admitted } from "./door.ts";
import type { Journal } from "./journal.ts";
import type { Opening } from "./store/opening.ts";
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
  readonly logger: Logger;
  readonly boot: string;
  readonly boxKeys: BoxKeys;
  /** A key is gone, or has a new version: what the provider said of the old one no longer holds. */
  readonly changed: (provider: string, key: string) => void;
  /** Tells the chart what the vault is now. */
  readonly tellState: () => void;
}

interface Standing {
  readonly vaultId: string;
  readonly generation: number;
}

/** What a write is about, for its records. */
type Subject = Pick<TrailEntry, "provider" | "key" | "version">;

/** After a wrong passphrase the next is not tried for this long, ms: with the key derivation that is fewer than two guesses in 3 s. */
const WRONG_PAUSE_MS = 1_000;

const FIRST_GENERATION = 1;

/** Label of the subkey that the trail's first key is. */
export const TRAIL_SEED = "trail";

export class Custody {
  readonly #options: CustodyOptions;
  #last: Promise<unknown> = Promise.resolve();
  #stopped = false;

  constructor(options: CustodyOptions) {
    this.#options = options;
  }

  /** Begins nothing more; resolves when what has begun is done and written down. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#last;
  }

  init(asked: Asked<"init">): Promise<Standing> {
    const { store, journal, tellState } = this.#options;
    const { acceptRollback = false } = asked.args;
    return this.#inTurn(async () => {
      if (store.state === "absent") await this.#checkNothingLost(acceptRollback);
      try {
        await this.#withSecret(asked, asked.args.sealed, (passphrase) =>
          store.init(passphrase, async (opening) => {
            await this.#startTrail(opening);
            await journal.write({ op: "init", outcome: "ok", who: asked.who, detail: standingOf(opening) });
          }),
        );
      } finally {
        tellState();
      }
      await this.#witness(acceptRollback);
      return this.#standing();
    });
  }

  unseal(asked: Asked<"unseal">): Promise<Standing> {
    return this.#withSecret(asked, asked.args.sealed, (passphrase) =>
      this.unlock(passphrase, asked.who, asked.args.acceptRollback),
    );
  }

  /** Opens the vault for `who`; one that is open stays so, if the passphrase is its own. */
  unlock(passphrase: Secret, who: Who, acceptRollback = false): Promise<Standing> {
    const { store, journal, clock, tellState } = this.#options;
    return this.#inTurn(async () => {
      try {
        await store.unseal(passphrase, async (opening) => {
          await this.#checkWitness(opening, acceptRollback);
          // It may have been put back since.
          if (journal.trail === undefined) await journal.open();
          if (journal.trail === undefined) await this.#newTrail(opening, acceptRollback);
          await journal.trail?.advance();
          await journal.write({ op: "unseal", outcome: "ok", who, detail: standingOf(opening) });
        });
      } catch (error) {
        if (error instanceof VgasError && error.code === "WRONG_PASSPHRASE")
          await new Promise<void>((resolve) => clock.setTimeout(resolve, WRONG_PAUSE_MS));
        throw error;
      }
      tellState();
      await this.#witness(acceptRollback);
      return this.#standing();
    });
  }

  /** Takes effect at once: it waits for no other operation. */
  async seal(asked: Asked<"seal">): Promise<object> {
    const { store, journal, calls, checkpoints, tellState } = this.#options;
    const aborted = calls.abortAll(new VgasError("VAULT_SEALED", "the vault was sealed"));
    store.seal();
    tellState();
    await aborted;
    if (journal.trail !== undefined && !(await journal.owe({ op: "seal", outcome: "ok", who: asked.who })))
      throw new VgasError("AUDIT_FAILED", "the vault was sealed, and the audit trail cannot be written now");
    await journal.trail?.advance();
    await checkpoints.flush();
    return {};
  }

  put(asked: Asked<"store">): Promise<VaultRecord> {
    const { provider, name, sealed, settings } = asked.args;
    const { store } = this.#options;
    return this.#write(asked, { provider, key: name }, async () => {
      if (sealed === undefined) return await store.changeSettings(provider, name, settings);
      return await this.#withSecret(asked, sealed, (key) => store.add(provider, name, key, settings));
    });
  }

  async rotate(asked: Asked<"rotate">): Promise<{ term: number; key?: VaultRecord }> {
    const { store } = this.#options;
    const { args } = asked;
    if (!("provider" in args)) {
      const term = await this.#write(asked, {}, () => store.rotateTerm());
      return { term };
    }
    const { provider, name, sealed } = args;
    const key = await this.#write(asked, { provider, key: name }, () =>
      this.#withSecret(asked, sealed, (secret) => store.newVersion(provider, name, secret)),
    );
    return { term: key.term, key };
  }

  async remove(asked: Asked<"delete">): Promise<object> {
    const { provider, name } = asked.args;
    await this.#write(asked, { provider, key: name }, () => this.#options.store.remove(provider, name));
    return {};
  }

  async rekey(asked: Asked<"rekey">): Promise<{ generation: number }> {
    const { store } = this.#options;
    await this.#write(asked, {}, async () => {
      await this.#withSecret(asked, asked.args.sealed, (present) =>
        this.#withSecret(asked, asked.args.next, (next) => store.rekey(present, next)),
      );
      return undefined;
    });
    return { generation: this.#standing().generation };
  }

  /** @throws VgasError what `change` throws; AUDIT_FAILED, which says so if it was done all the same */
  #write<T extends VaultRecord | number | undefined>(
    asked: Asked<"store" | "rotate" | "delete" | "rekey">,
    subject: Subject,
    change: () => Promise<T>,
  ): Promise<T> {
    const { journal, changed } = this.#options;
    const entry = { op: asked.op, outcome: "ok", who: asked.who, ...subject } as const;
    return this.#inTurn(async () => {
      const generation = this.#standing().generation + 1;
      await journal.write({ ...entry, detail: { intended: true, generation } });
      const done = await change();
      if (subject.provider !== undefined && subject.key !== undefined) changed(subject.provider, subject.key);
      const record = typeof done === "object" ? { version: done.version, detail: { term: done.term, generation } } : {};
      const written = await journal.owe({ ...entry, detail: { generation }, ...record });
      await this.#witness();
      if (written) return done;
      throw new VgasError(
        "AUDIT_FAILED",
        `vault.${asked.op} was done (generation ${generation}), and the audit trail cannot be written now`,
      );
    });
  }

  /** A new vault must not hide that there was another. @throws VgasError VAULT_ROLLED_BACK unless `accept`ed */
  async #checkNothingLost(accept: boolean): Promise<void> {
    const { witness } = this.#options;
    const { verdict, vaultId } = await witness.check({ vaultId: "", generation: 0, digest: "" });
    if (verdict !== "absent" && !accept)
      throw new VgasError(
        "VAULT_ROLLED_BACK",
        `the swarm has had the vault ${vaultId ?? "unknown"}, whose file is gone: put it back, or accept that it is lost`,
      );
  }

  /** The vault was made and its trail was not, or the trail is gone: the one is a crash, the other needs to be said. */
  async #newTrail(opening: Opening, accept: boolean): Promise<void> {
    if (opening.generation > FIRST_GENERATION && !accept)
      throw new VgasError(
        "VAULT_ROLLED_BACK",
        "the vault's audit trail is gone: put it back, or accept that it begins anew",
      );
    await this.#startTrail(opening);
    if (opening.generation === FIRST_GENERATION) return;
    await this.#options.checkpoints.beginAnew();
    await this.#options.journal.write({
      op: "witness",
      outcome: "ok",
      why: "the trail was gone; this one begins anew",
    });
  }

  async #startTrail(opening: Opening): Promise<void> {
    const seed = opening.derive(TRAIL_SEED);
    try {
      await this.#options.journal.create(seed);
    } finally {
      seed.wipe();
    }
  }

  /** @throws VgasError VAULT_ROLLED_BACK, unless `accept`ed, for a file that is not the newest that was written */
  async #checkWitness(opening: Opening, accept: boolean): Promise<void> {
    const { witness, journal } = this.#options;
    const { vaultId, generation, digest } = opening;
    const found = await witness.check({ vaultId, generation, digest });
    if (found.verdict === "same" || found.verdict === "ahead") return;
    if (found.verdict === "absent" && generation === FIRST_GENERATION) return;
    const why =
      found.verdict === "foreign"
        ? `this is the vault ${vaultId}, and the swarm's is ${found.vaultId ?? "unknown"}`
        : found.verdict === "absent"
          ? `the file is generation ${generation}, and the record of the newest is gone from the bucket`
          : `the file is generation ${generation}, and generation ${found.generation} was written`;
    await journal.note({
      ...{ op: "witness", outcome: accept ? "ok" : "refused", why: `VAULT_ROLLED_BACK: ${why}` },
      detail: standingOf(opening),
    });
    if (!accept) throw new VgasError("VAULT_ROLLED_BACK", `${why}: it may be that an older or another file was put in`);
  }

  /** Brings the witness up to the file. One that lags is harmless: the file is newer then. */
  async #witness(force = false): Promise<void> {
    const { store, witness, logger } = this.#options;
    const file = { ...this.#standing(), digest: store.digest ?? "" };
    try {
      await witness.advance(file, { force });
    } catch (error) {
      logger.warn({ err: error }, "the witness of the vault's file could not be written; the next write tries again");
    }
  }

  #standing(): Standing {
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
    const turn = this.#last.then(() => {
      if (this.#stopped) throw new VgasError("SHUTTING_DOWN", "the vault is stopping");
      return work();
    });
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}

function standingOf({ vaultId, generation }: Opening): { vaultId: string; generation: number } {
  return { vaultId, generation };
}
