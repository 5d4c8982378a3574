/** Everything that one life of the vault has open, and the operations on it. */
import { join } from "node:path";
import type { AttemptsLog } from "../../bus/attempts.ts";
import type { Bus } from "../../bus/bus.ts";
import type { KvBucket } from "../../bus/kv.ts";
import type { Publisher } from "../../bus/publisher.ts";
import type { ResultStore } from "../../bus/results.ts";
import type { BoxKeys } from "../../bus/sealed/sealed-box.ts";
import type { Signer } from "../../bus/sealed/signing.ts";
import type { Clock } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import type { Logger } from "../../protocols/logger.ts";
import type { Names } from "../../protocols/subjects.ts";
import { Budgets } from "./accounting/budgets.ts";
import { KeyChooser } from "./accounting/chooser.ts";
import { Ledger } from "./accounting/ledger.ts";
import { Prices } from "./accounting/prices.ts";
import { Calls } from "./calls/calls.ts";
import { Custody } from "./custody.ts";
import type { Admitted, Principals } from "./door.ts";
import { Grants } from "./grants.ts";
import { Journal } from "./journal.ts";
import { KeyUse } from "./key-use.ts";
import type { VaultEvent } from "./machine.ts";
import { Reports } from "./reports.ts";
import type { VaultStore } from "./store/vault-store.ts";
import { Witness } from "./store/witness.ts";
import { Checkpoints } from "./trail/checkpoints.ts";

export interface OpenedOptions {
  /** Folder of the vault in the node's home. */
  readonly dir: string;
  readonly hostId: string;
  readonly bus: Bus;
  readonly publisher: Publisher;
  readonly names: Names;
  /** The bucket `names.buckets.vault`. */
  readonly witnesses: KvBucket;
  readonly results: ResultStore;
  readonly attempts: AttemptsLog;
  readonly principals: Principals;
  /** Signs the checkpoints of the trail. */
  readonly signer: Signer;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly boot: string;
  readonly boxKeys: BoxKeys;
  /** Hears what has become true. */
  readonly tell: (event: VaultEvent) => void;
}

export class Opened {
  readonly store: VaultStore;
  readonly journal: Journal;
  readonly custody: Custody;
  readonly #use: KeyUse;
  readonly #reports: Reports;
  readonly #calls: Calls;
  readonly #tellState: () => void;

  private constructor(store: VaultStore, options: OpenedOptions) {
    const { dir, bus, publisher, names, witnesses, signer, clock, logger, boot, boxKeys, tell } = options;
    const ledger = new Ledger();
    const prices = new Prices({ path: join(dir, "prices.json"), clock, logger });
    const budgets = new Budgets(ledger);
    const chooser = new KeyChooser();
    const checkpoints = new Checkpoints({ bus, publisher, names, signer, clock, logger, vaultId: () => store.vaultId });
    const grants = new Grants(options);
    this.store = store;
    this.#calls = new Calls({ clock, logger });
    const tellState = (): void => {
      const failure = this.journal.trail?.failure;
      if (failure === undefined) tell({ type: stateEvent(store) });
      else tell({ type: "TROUBLE", why: `${failure.code}: ${failure.message}` });
    };
    this.journal = new Journal({
      dir: join(dir, "trail"),
      clock,
      logger,
      ledger,
      checkpoints,
      onChange: tellState,
    });
    this.#tellState = tellState;
    const { journal } = this;
    const calls = this.#calls;
    const witness = new Witness(witnesses);
    const changed = (provider: string, key: string): void => chooser.forget({ provider, key });
    const shared = { store, journal, clock, logger };
    this.custody = new Custody({ ...shared, witness, checkpoints, calls, boot, boxKeys, changed, tellState });
    this.#reports = new Reports({ ...shared, ledger, budgets, chooser, checkpoints });
    this.#use = new KeyUse({ ...shared, budgets, chooser, prices, grants, calls });
  }

  /** `store` stays the caller's. @throws VgasError VAULT_DAMAGED, CONFIG if the trail is not what was written, or others can read it */
  static async open(store: VaultStore, options: OpenedOptions): Promise<Opened> {
    const opened = new Opened(store, options);
    try {
      if (store.state === "absent" && (await opened.journal.exists()))
        throw new VgasError(
          "VAULT_DAMAGED",
          `the vault's file is gone, and its audit trail is there: put vault.bin back into ${options.dir}, or move the trail away to begin anew`,
        );
      await opened.journal.open();
    } catch (error) {
      await opened.close();
      throw error;
    }
    opened.#tellState();
    return opened;
  }

  /** Gives nothing out any more, and closes the trail. */
  async close(): Promise<void> {
    await Promise.all([this.#calls.stop(), this.custody.stop()]);
    await this.journal.note({ op: "stop", outcome: "ok" }).catch(() => undefined);
    await this.journal.close();
  }

  /** Does what was asked for and has written it down when it resolves. */
  perform(asked: Admitted): Promise<unknown> {
    switch (asked.op) {
      case "init":
        return this.custody.init(asked);
      case "unseal":
        return this.custody.unseal(asked);
      case "seal":
        return this.custody.seal(asked);
      case "store":
        return this.custody.put(asked).then((key) => this.#reports.view(key));
      case "rotate":
        return this.custody
          .rotate(asked)
          .then(({ term, key }) => ({ term, ...(key && { key: this.#reports.view(key) }) }));
      case "delete":
        return this.custody.remove(asked);
      case "rekey":
        return this.custody.rekey(asked);
      case "list":
        return this.#reports.list(asked);
      case "show":
        return this.#reports.show(asked);
      case "usage":
        return this.#reports.usage(asked);
      case "audit":
        return this.#reports.audit(asked);
      case "lease":
        return this.#use.lease(asked);
      case "call":
        return this.#use.call(asked);
    }
  }
}

function stateEvent({ state }: VaultStore): Extract<VaultEvent["type"], "ABSENT" | "SEALED" | "UNSEALED"> {
  return state === "absent" ? "ABSENT" : state === "sealed" ? "SEALED" : "UNSEALED";
}
