/**
 * The audit trail and ledger of the vault: append-only, chained, keyed, and on disk before anybody is answered (P11).
 *
 * Owns the appends that wait, the writer behind them, and the timer of the probe.
 *
 * 1. `append` resolves when its record is on disk, in the order of the calls. `restore`, `replay` and `append` together tell each
 *    record once. What it rejected for is in the trail only if the process ended before that could be cut off.
 * 2. One write at a time. What comes meanwhile goes out together in the next: many appends, few syncs.
 * 3. After a failure nothing is acknowledged until a record was written again, which is tried once a second.
 * 4. Who finds that somebody else has written to the trail fails, and takes nothing of his away.
 * 5. An epoch ends at each start, at `advance`, and when it has many records.
 *
 * Appends that wait are not bounded here: whoever asks without waiting is.
 */
import { setImmediate } from "node:timers/promises";
import { makePrivateDir, refuseOpenDir } from "../../../bus/home/files.ts";
import type { Secret } from "../../../bus/sealed/secret.ts";
import type { Clock, Timer } from "../../../protocols/clock.ts";
import { VgasError } from "../../../protocols/errors.ts";
import type { Logger } from "../../../protocols/logger.ts";
import type { TrailEntry, TrailRecord } from "./entry.ts";
import { firstKey, readKey, removeStrays, writeKey } from "./epoch-key.ts";
import { type LoadOptions, loadTrail } from "./loading.ts";
import { TrailReader } from "./reading.ts";
import { listSegments, type Position } from "./segments.ts";
import { type TrailLimits, TrailWriter } from "./writer.ts";

export interface TrailOptions {
  /** Folder of the trail; 0700. */
  readonly dir: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /**
   * What all records told so far add up to: plain JSON, at most 8 MiB. Asked when a segment begins. Who counts a record as soon as its
   * `append` has resolved, without waiting for anything else, has counted exactly those before it.
   */
  readonly snapshot: () => object;
  /** The trail cannot be written: AUDIT_FAILED. Called once each time it fails. */
  readonly onTrouble: (error: VgasError) => void;
  /** It can be written again. */
  readonly onHealthy: () => void;
  readonly limits?: Partial<TrailLimits>;
}

/** The end of the trail: what a checkpoint vouches for. */
export interface TrailHead {
  readonly seq: number;
  readonly mac: string;
}

const LIMITS: TrailLimits = { segmentBytes: 16 * 2 ** 20, epochRecords: 10_000 };
const PROBE_MS = 1_000;

/** An append, or the end of an epoch. */
interface Waiting {
  readonly entry: TrailEntry | undefined;
  /** When it was asked for, ms since the epoch. */
  readonly at: number;
  /** Set when it was put into a batch. */
  record: TrailRecord | undefined;
  resolve(record: TrailRecord | undefined): void;
  reject(error: VgasError): void;
}

export class Trail {
  readonly #options: TrailOptions;
  readonly #writer: TrailWriter;
  readonly #reader: TrailReader;
  #waiting: Waiting[] = [];
  /** The present work of the writer. */
  #running: Promise<void> | undefined;
  #failed: VgasError | undefined;
  #failedAt = 0;
  /** Appends that were rejected since. */
  #refused = 0;
  #probe: Timer | undefined;
  #closing: Promise<void> | undefined;

  private constructor(options: TrailOptions, writer: TrailWriter) {
    this.#options = options;
    this.#writer = writer;
    this.#reader = new TrailReader(options.dir, () => writer.position);
  }

  /** Whether a trail was begun there. @throws VgasError CONFIG if others can read it, VAULT_DAMAGED */
  static async exists(dir: string): Promise<boolean> {
    if (!(await refuseOpenDir(dir))) return false;
    const key = await readKey(dir);
    key?.key.wipe();
    return key !== undefined || (await listSegments(dir)).length > 0;
  }

  /**
   * Begins a trail whose first key is `seed` (32 bytes; stays the caller's), and opens it.
   *
   * @throws VgasError CONFLICT if there is one with records, CONFIG
   */
  static async create(options: TrailOptions & { readonly seed: Secret }): Promise<Trail> {
    const { dir, seed } = options;
    await makePrivateDir(dir);
    await refuseOpenDir(dir);
    if ((await listSegments(dir)).length > 0)
      throw new VgasError("CONFLICT", `there is an audit trail in ${dir} already`);
    const key = firstKey(seed);
    try {
      await writeKey(dir, key);
    } finally {
      key.key.wipe();
    }
    return await Trail.open({ ...options, restore: () => undefined, replay: () => undefined });
  }

  /**
   * Opens a trail and ends the epoch of the process before. One that is good and cannot be written is opened too: it says `onTrouble`,
   * and goes on by itself when it can.
   *
   * @throws VgasError NOT_FOUND, VAULT_DAMAGED naming file and record, CONFIG if others can read it
   */
  static async open(options: TrailOptions & Omit<LoadOptions, "dir">): Promise<Trail> {
    const { dir, clock, logger, snapshot, limits } = options;
    if (!(await refuseOpenDir(dir))) throw new VgasError("NOT_FOUND", `there is no audit trail in ${dir}`);
    await removeStrays(dir).catch((error: unknown) => {
      logger.warn({ err: error }, "cannot remove what is left of an earlier key of the audit trail");
    });
    const loaded = await loadTrail(options);
    const trail = new Trail(options, new TrailWriter({ dir, clock, logger, snapshot, ...LIMITS, ...limits }, loaded));
    trail.#running = trail.#start();
    await trail.#running;
    return trail;
  }

  get dir(): string {
    return this.#options.dir;
  }

  get head(): TrailHead {
    const { seq, mac } = this.#writer.end;
    return { seq, mac };
  }

  /** Up to where it is on disk. */
  get position(): Position {
    return this.#writer.position;
  }

  /** Why it cannot be written at present. */
  get failure(): VgasError | undefined {
    return this.#failed;
  }

  /** Resolves with the record when it is on disk. @throws VgasError AUDIT_FAILED, SHUTTING_DOWN */
  append(entry: TrailEntry): Promise<TrailRecord> {
    return this.#enqueue(entry) as Promise<TrailRecord>;
  }

  /** Ends the epoch, unless nothing was written in it: what was appended before cannot be rewritten any more. @throws as `append` */
  async advance(): Promise<void> {
    await this.#enqueue(undefined);
  }

  /** Raw lines of the records with a sequence above `after`, oldest first; fewer than `limit` if they would be too large to send. */
  records(query: { readonly after: number; readonly limit: number }): Promise<string[]> {
    return this.#reader.records(query);
  }

  /** Every record up to now, oldest first, not checked. @throws VgasError VAULT_DAMAGED, CONFIG */
  scan(): AsyncGenerator<TrailRecord, void, undefined> {
    return this.#reader.scan();
  }

  /** Writes what waits, closes the files and wipes the key. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#options.clock.clear(this.#probe);
    while (this.#running !== undefined) await this.#running;
    await this.#writer.close();
  }

  #enqueue(entry: TrailEntry | undefined): Promise<TrailRecord | undefined> {
    return new Promise((resolve, reject) => {
      if (this.#closing !== undefined) throw new VgasError("SHUTTING_DOWN", "the audit trail is closed");
      if (this.#failed !== undefined) {
        this.#refused++;
        throw this.#failed;
      }
      this.#waiting.push({ entry, at: this.#options.clock.now(), record: undefined, resolve, reject });
      this.#run();
    });
  }

  #run(): void {
    this.#running ??= this.#work();
  }

  async #work(): Promise<void> {
    while (this.#waiting.length > 0 && this.#failed === undefined) {
      // What is asked for in this turn goes out together, and who was answered has counted: a snapshot taken now is exact.
      await setImmediate();
      const taken: Waiting[] = [];
      try {
        await this.#writer.prepare();
        await this.#writeSome(taken);
      } catch (error) {
        await this.#fail(error, taken);
      }
    }
    // In the same step as the look at the queue, so that nothing comes in between.
    this.#running = undefined;
  }

  /** Moves appends from the queue to `taken`, writes them, and answers them. */
  async #writeSome(taken: Waiting[]): Promise<void> {
    const batch = this.#writer.batch();
    for (const next of this.#waiting) {
      if (batch.isFull) break;
      taken.push(next);
      if (next.entry === undefined) break;
      next.record = batch.add(next.entry, next.at);
    }
    this.#waiting.splice(0, taken.length);
    const last = taken.at(-1);
    const advance = last !== undefined && last.entry === undefined ? last : undefined;
    if (batch.epochIsFull || (advance !== undefined && batch.ofEpoch > 0)) batch.endEpoch(this.#options.clock.now());
    if (!batch.isEmpty) await this.#writer.commit(batch);
    for (const each of taken.splice(0)) if (each !== advance) each.resolve(each.record);
    if (advance !== undefined) taken.push(advance);
    await this.#writer.evolve();
    taken.length = 0;
    advance?.resolve(undefined);
  }

  async #start(): Promise<void> {
    try {
      await this.#writer.prepare();
    } catch (error) {
      await this.#fail(error, []);
    }
    this.#running = undefined;
  }

  async #fail(thrown: unknown, taken: readonly Waiting[]): Promise<void> {
    const { clock, logger, onTrouble } = this.#options;
    const error = auditFailed(thrown);
    const rejected = [...taken, ...this.#waiting.splice(0)];
    this.#failed = error;
    this.#failedAt = clock.monotonic();
    this.#refused = rejected.length;
    logger.error({ err: error }, "the audit trail cannot be written: no key is given out");
    // First: whoever is rejected may ask at once how the vault is.
    this.#tell(() => onTrouble(error));
    await this.#writer.cut();
    for (const { reject } of rejected) reject(error);
    this.#probeLater();
  }

  #probeLater(): void {
    if (this.#closing !== undefined) return;
    this.#probe = this.#options.clock.setTimeout(() => {
      this.#running ??= this.#tryAgain();
    }, PROBE_MS);
  }

  /** Writes a record that says what was missed. */
  async #tryAgain(): Promise<void> {
    const { clock, logger, onHealthy } = this.#options;
    try {
      await this.#writer.prepare();
      const failedMs = Math.round(clock.monotonic() - this.#failedAt);
      await this.#writer.write({ op: "resumed", outcome: "ok", detail: { failedMs, refused: this.#refused } });
      this.#failed = undefined;
      logger.info({ failedMs }, "the audit trail can be written again");
      this.#tell(onHealthy);
    } catch (error) {
      logger.debug({ err: error }, "the audit trail cannot be written yet");
      await this.#writer.cut();
      this.#probeLater();
    }
    this.#running = undefined;
    if (this.#waiting.length > 0) this.#run();
  }

  #tell(listener: () => void): void {
    try {
      listener();
    } catch (error) {
      this.#options.logger.error({ err: error }, "a listener of the audit trail threw");
    }
  }
}

function auditFailed(thrown: unknown): VgasError {
  if (thrown instanceof VgasError && thrown.code === "AUDIT_FAILED") return thrown;
  const why = thrown instanceof Error ? thrown.message : String(thrown);
  return new VgasError("AUDIT_FAILED", `the audit trail cannot be written: ${why}`, { cause: thrown });
}
