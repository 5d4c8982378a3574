/**
 * Where everything is written down: the trail, the counters that follow from it, and the checkpoints that leave the machine.
 *
 * The counters change by records that are on disk, in their order, and by nothing else: they are sums of the ledger.
 */

import type { Secret } from "../../bus/sealed/secret.ts";
import type { Clock } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import type { Logger } from "../../protocols/logger.ts";
import type { Ledger } from "./accounting/ledger.ts";
import type { Checkpoints } from "./trail/checkpoints.ts";
import type { TrailEntry, TrailRecord } from "./trail/entry.ts";
import { Trail } from "./trail/trail.ts";

export interface JournalOptions {
  readonly dir: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly ledger: Ledger;
  readonly checkpoints: Checkpoints;
  readonly onTrouble: (error: VgasError) => void;
  readonly onHealthy: () => void;
}

export class Journal {
  readonly #options: JournalOptions;
  #trail: Trail | undefined;

  constructor(options: JournalOptions) {
    this.#options = options;
  }

  get trail(): Trail | undefined {
    return this.#trail;
  }

  /** Opens the trail if there is one. @throws VgasError VAULT_DAMAGED, CONFIG */
  async open(): Promise<void> {
    if (!(await Trail.exists(this.#options.dir))) return;
    const { ledger } = this.#options;
    this.#trail = await Trail.open({
      ...this.#trailOptions(),
      restore: (snapshot) => ledger.restore(snapshot),
      replay: (record) => ledger.apply(record),
    });
    for (const call of ledger.openCalls()) await this.write(lostCall(call));
  }

  /** Begins a trail whose first key is `seed`. */
  async create(seed: Secret): Promise<void> {
    this.#trail = await Trail.create({ ...this.#trailOptions(), seed });
  }

  /** Resolves when the entry is on disk and counted. @throws VgasError AUDIT_FAILED */
  async write(entry: TrailEntry): Promise<TrailRecord> {
    if (this.#trail === undefined) throw new VgasError("AUDIT_FAILED", "the vault has no audit trail");
    const record = await this.#trail.append(entry);
    this.#options.ledger.apply(record);
    this.#options.checkpoints.moved(this.#trail.head);
    return record;
  }

  /** As `write`, where nothing depends on it: before there is a trail nothing is written. */
  async note(entry: TrailEntry): Promise<void> {
    if (this.#trail !== undefined) await this.write(entry);
  }

  async close(): Promise<void> {
    await this.#options.checkpoints.close();
    await this.#trail?.close();
    this.#trail = undefined;
  }

  #trailOptions() {
    const { dir, clock, logger, ledger, onTrouble, onHealthy } = this.#options;
    return { dir, clock, logger, snapshot: () => ledger.snapshot(), onTrouble, onHealthy };
  }
}

/** What a call of a key with a budget of tokens or cost counts if its end was never written, else the budget could be passed. */
const CAPS = ["inputTokens", "outputTokens", "costNanoUsd"] as const;

/** The process ended before this call did: what it used is not known, and it counts as an error. */
function lostCall({ who, provider, key, version, task, detail }: TrailRecord): TrailEntry {
  return {
    op: "call-end",
    outcome: "failed",
    why: "INTERRUPTED: the vault ended before the call did; what it used is not known",
    ...(who && { who }),
    ...(provider !== undefined && { provider }),
    ...(key !== undefined && { key }),
    ...(version !== undefined && { version }),
    ...(task && { task }),
    detail: { call: detail?.["call"] ?? "" },
    usage: { errors: 1, ...Object.fromEntries(CAPS.map((field) => [field, Number(detail?.[field] ?? 0)])) },
  };
}
