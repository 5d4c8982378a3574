/**
 * Where everything is written down: the trail, the counters that follow from it, and the checkpoints that leave the machine.
 *
 * Owns the trail, and what is owed to it while it cannot be written.
 *
 * 1. The counters change by records that are on disk, in their order, and by nothing else: they are sums of the ledger.
 * 2. What has happened already and could not be written down is owed: it is written first when the trail can be written again.
 *    If the process ends before, the next start finds calls without an end and settles them.
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
  /** The trail cannot be written, or can be again. */
  readonly onChange: () => void;
}

/** What happened before it could be written down. */
interface Debt {
  readonly entry: TrailEntry;
  readonly written: () => void;
}

export class Journal {
  readonly #options: JournalOptions;
  readonly #debts: Debt[] = [];
  #paying: Promise<void> = Promise.resolve();
  #trail: Trail | undefined;

  constructor(options: JournalOptions) {
    this.#options = options;
  }

  get trail(): Trail | undefined {
    return this.#trail;
  }

  /** Opens the trail if there is one, also if it cannot be written for now. @throws VgasError VAULT_DAMAGED, CONFIG */
  async open(): Promise<void> {
    if (!(await this.exists())) return;
    const { ledger } = this.#options;
    this.#trail = await Trail.open({
      ...this.#trailOptions(),
      restore: (snapshot) => ledger.restore(snapshot),
      replay: (record) => ledger.apply(record),
    });
    for (const call of ledger.openCalls()) await this.owe(lostCall(call));
    await this.owe({ op: "start", outcome: "ok" });
  }

  exists(): Promise<boolean> {
    return Trail.exists(this.#options.dir);
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

  /**
   * Writes down what has happened already: now, or as soon as that is possible. Resolves with whether it was now; `written` is
   * called when it was, in the moment in which it counts.
   */
  async owe(entry: TrailEntry, written: () => void = () => undefined): Promise<boolean> {
    try {
      await this.write(entry);
      written();
      return true;
    } catch (error) {
      if (!(error instanceof VgasError && error.code === "AUDIT_FAILED")) throw error;
      this.#debts.push({ entry, written });
      return false;
    }
  }

  async close(): Promise<void> {
    await this.#paying;
    await this.#options.checkpoints.close();
    await this.#trail?.close();
    this.#trail = undefined;
  }

  /** The trail can be written again. What cannot be paid stays owed. */
  async #payDebts(): Promise<void> {
    for (let debt = this.#debts[0]; debt !== undefined; debt = this.#debts[0]) {
      await this.write(debt.entry);
      this.#debts.shift();
      debt.written();
    }
  }

  #trailOptions() {
    const { dir, clock, logger, ledger, onChange } = this.#options;
    const onHealthy = (): void => {
      onChange();
      this.#paying = this.#payDebts().catch((error: unknown) => {
        logger.warn({ err: error }, "what the vault owes to its audit trail could not be written yet");
      });
    };
    return { dir, clock, logger, snapshot: () => ledger.snapshot(), onTrouble: onChange, onHealthy };
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
