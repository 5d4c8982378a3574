/** What may be read of the vault: its keys without the keys, their use, and the trail. */
import type { Clock } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import type { KeyView } from "../../protocols/vault/keys.ts";
import type { OperationReply } from "../../protocols/vault/operations.ts";
import type { Budgets } from "./accounting/budgets.ts";
import type { KeyChooser } from "./accounting/chooser.ts";
import type { Ledger } from "./accounting/ledger.ts";
import { queryUsage } from "./accounting/usage-query.ts";
import { type Asked, TRAIL_SEED } from "./custody.ts";
import type { Admitted } from "./door.ts";
import type { Journal } from "./journal.ts";
import type { VaultRecord } from "./store/records.ts";
import type { VaultStore } from "./store/vault-store.ts";
import type { Checkpoints } from "./trail/checkpoints.ts";
import type { Trail } from "./trail/trail.ts";
import { verifyTrail } from "./trail/verify.ts";

export interface ReportsOptions {
  readonly store: VaultStore;
  readonly journal: Journal;
  readonly ledger: Ledger;
  readonly budgets: Budgets;
  readonly chooser: KeyChooser;
  readonly checkpoints: Checkpoints;
  readonly clock: Clock;
}

/** Questions about use that wait for the one before, at most. */
const MAX_SCANS = 8;

export class Reports {
  readonly #options: ReportsOptions;
  #scan: Promise<unknown> = Promise.resolve();
  #scans = 0;

  constructor(options: ReportsOptions) {
    this.#options = options;
  }

  async list(asked: Asked<"list">): Promise<OperationReply<"list">> {
    const keys = this.#options.store.records().map((record) => this.view(record));
    await this.#told(asked);
    return { keys };
  }

  async show(asked: Asked<"show">): Promise<KeyView> {
    const { provider, name } = asked.args;
    const record = this.#options.store.find(provider, name);
    if (record === undefined) throw new VgasError("NOT_FOUND", `the vault has no key ${provider}/${name}`);
    await this.#told(asked);
    return this.view(record);
  }

  async usage(asked: Asked<"usage">): Promise<OperationReply<"usage">> {
    if (this.#scans >= MAX_SCANS)
      throw new VgasError("MAILBOX_FULL", `${MAX_SCANS} questions about use are being answered; ask again`);
    this.#scans++;
    try {
      // One reads the whole trail: one at a time, so that agents that want keys get their turn.
      const scan = this.#scan.then(() => queryUsage(this.#trail().scan(), asked.args));
      this.#scan = scan.catch(() => undefined);
      const answer = await scan;
      await this.#told(asked);
      return answer;
    } finally {
      this.#scans--;
    }
  }

  async audit(asked: Asked<"audit">): Promise<OperationReply<"audit">> {
    const { args } = asked;
    if (args.action === "list") {
      const records = await this.#trail().records(args);
      await this.#told(asked);
      return { records };
    }
    const { store, checkpoints } = this.#options;
    const trail = this.#trail();
    await checkpoints.flush();
    const seed = store.derive(TRAIL_SEED);
    try {
      const verdict = await verifyTrail({ trail, seed, checkpoints: await checkpoints.read() });
      await this.#told(asked, { ok: verdict.ok, ...(verdict.at !== undefined && { at: verdict.at }) });
      return { verdict };
    } finally {
      seed.wipe();
    }
  }

  view(record: VaultRecord): KeyView {
    const { ledger, budgets, chooser, clock } = this.#options;
    const { provider, name, version, term, fingerprint, createdAt, changedAt, last4, settings } = record;
    const id = { provider, key: name };
    const now = clock.now();
    const resting = chooser.resting(id, now);
    const lastUsedAt = ledger.lastUsedAt(provider, name);
    return {
      ...{ provider, name, version, term, fingerprint, createdAt, changedAt, settings },
      ...(last4 !== undefined && { last4 }),
      ...(lastUsedAt !== undefined && { lastUsedAt }),
      ...(resting && { resting }),
      usage: ledger.usageOf(provider, name),
      budgets: budgets.view(id, settings.budgets, now),
    };
  }

  async #told(
    { op, who, args }: Admitted,
    detail: Readonly<Record<string, string | number | boolean>> = {},
  ): Promise<void> {
    const action = "action" in args ? { action: args.action } : {};
    await this.#options.journal.write({ op, outcome: "ok", who, detail: { ...action, ...detail } });
  }

  #trail(): Trail {
    const { trail } = this.#options.journal;
    if (trail === undefined) throw new VgasError("AUDIT_FAILED", "the vault has no audit trail");
    return trail;
  }
}
