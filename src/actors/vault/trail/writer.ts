/**
 * The writing end of a trail. Owns the last segment's file and the key of the present epoch. Its methods are called one at a time.
 *
 * 1. `end` and `position` tell what is on disk and counts. A method that rejects leaves them as they were, and can be called again.
 * 2. An epoch ends with an `epoch` record, and its key is replaced on disk before the next record.
 * 3. A segment begins with a snapshot of what its predecessors add up to.
 */
import type { Clock } from "../../../protocols/clock.ts";
import { VgasError } from "../../../protocols/errors.ts";
import type { Logger } from "../../../protocols/logger.ts";
import { Batch } from "./batch.ts";
import type { ChainEnd } from "./chain.ts";
import type { TrailEntry } from "./entry.ts";
import { type EpochKey, nextKey, writeKey } from "./epoch-key.ts";
import { MAX_HEAD_BYTES } from "./line.ts";
import { type Loaded, loadTrail } from "./loading.ts";
import { SegmentFile, type SegmentPaths } from "./segment-file.ts";
import { type Position, segmentPath } from "./segments.ts";

export interface TrailLimits {
  /** A segment that has so many bytes is the last one no longer. */
  readonly segmentBytes: number;
  /** An epoch ends with so many records. */
  readonly epochRecords: number;
}

export interface WriterOptions extends TrailLimits {
  readonly dir: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly snapshot: () => object;
}

export class TrailWriter {
  readonly #options: WriterOptions;
  #key: EpochKey;
  #end: ChainEnd;
  #position: Position;
  #file: SegmentFile | undefined;
  /** Size from which the next segment is begun. */
  #rollAt: number;
  /** What a crash left behind the last record, until the file is opened for writing. */
  #torn: Buffer;
  /** How much that was, until a record says so. */
  #tornBytes: number;
  /** The epoch is that of an earlier process. */
  #inherited: boolean;

  constructor(options: WriterOptions, { key, end, position, torn }: Loaded) {
    this.#options = options;
    this.#key = key;
    this.#end = end;
    this.#position = position ?? { segment: 0, size: 0 };
    this.#rollAt = options.segmentBytes;
    this.#torn = torn;
    this.#tornBytes = torn.length;
    this.#inherited = end.seq > 0;
  }

  get end(): ChainEnd {
    return this.#end;
  }

  get position(): Position {
    return this.#position;
  }

  /** Records behind the end, to be filled and committed. */
  batch(): Batch {
    return new Batch(this.#end, this.#key, this.#options.epochRecords);
  }

  /** Resolves when the batch is on disk. @throws an error of the system, VgasError AUDIT_FAILED */
  async commit(batch: Batch): Promise<void> {
    if (this.#file === undefined) throw new VgasError("AUDIT_FAILED", "the audit trail is not open");
    await this.#file.append(batch.bytes);
    this.#position = { segment: this.#position.segment, size: this.#file.size };
    this.#end = batch.end;
  }

  /** Writes one record of the trail's own. @throws as `commit` */
  async write(entry: TrailEntry): Promise<void> {
    const batch = this.batch();
    batch.add(entry, this.#options.clock.now());
    await this.commit(batch);
  }

  /** Does what must be done before the next record. @throws as `commit` */
  async prepare(): Promise<void> {
    if (this.#file?.replaced) await this.#reopen();
    if (this.#position.segment > 0 && this.#file === undefined) await this.#open();
    await this.evolve();
    if (this.#tornBytes > 0) {
      await this.write({ op: "recovered", outcome: "ok", detail: { bytes: this.#tornBytes } });
      this.#tornBytes = 0;
    }
    if (this.#inherited) {
      const batch = this.batch();
      if (batch.ofEpoch > 0) {
        batch.endEpoch(this.#options.clock.now());
        await this.commit(batch);
      }
      this.#inherited = false;
      await this.evolve();
    }
    if (this.#file === undefined || this.#position.size >= this.#rollAt) await this.#roll();
  }

  /** Replaces the key if its epoch has ended. @throws as `commit`, VgasError CONFIG */
  async evolve(): Promise<void> {
    if (!this.#end.ended || this.#end.epoch !== this.#key.epoch) return;
    // Whoever has written behind that end has a later key already, and it must not be replaced by ours.
    await this.#file?.trust();
    const next = nextKey(this.#key);
    try {
      await writeKey(this.#options.dir, next);
    } catch (error) {
      next.key.wipe();
      throw error;
    }
    this.#key.key.wipe();
    this.#key = next;
  }

  /** Takes away what a failed commit left, as far as that is possible now. */
  async cut(): Promise<void> {
    await this.#file?.cut().catch((error: unknown) => {
      this.#options.logger.debug({ err: error }, "cannot cut off a failed write yet; the next write does");
    });
  }

  /** Closes the file and wipes the key. */
  async close(): Promise<void> {
    await this.#file?.close().catch(() => undefined);
    this.#key.key.wipe();
  }

  async #open(): Promise<void> {
    const { segment, size } = this.#position;
    this.#file = await SegmentFile.open(this.#paths(segment), { size, torn: this.#torn });
    this.#torn = Buffer.alloc(0);
  }

  #paths(segment: number): SegmentPaths {
    const { dir } = this.#options;
    return { path: segmentPath(dir, segment), nextPath: segmentPath(dir, segment + 1) };
  }

  async #roll(): Promise<void> {
    const { snapshot, clock, logger, segmentBytes } = this.#options;
    const segment = this.#position.segment + 1;
    const batch = this.batch();
    try {
      batch.add({ op: "segment", outcome: "ok", detail: { segment } }, clock.now(), snapshot());
      if (batch.bytes.length > MAX_HEAD_BYTES) throw new Error(`the snapshot has ${batch.bytes.length} bytes`);
    } catch (error) {
      if (this.#file === undefined) throw error;
      // A long segment is a slow start; a trail that stops is worse.
      logger.error({ err: error }, "cannot begin a new file of the audit trail; goes on with the present one");
      this.#rollAt = this.#position.size + segmentBytes;
      return;
    }
    await this.#file?.trust();
    const file = await SegmentFile.create(this.#paths(segment), batch.bytes);
    await this.#file?.close().catch(() => undefined);
    this.#file = file;
    this.#position = { segment, size: file.size };
    this.#rollAt = segmentBytes;
    this.#end = batch.end;
  }

  /** Takes the file that stands at the path now, if it ends as ours did: each record vouches for all before it. */
  async #reopen(): Promise<void> {
    const { dir } = this.#options;
    const ignore = (): void => undefined;
    const { key, end, position, torn } = await loadTrail({ dir, restore: ignore, replay: ignore });
    key.key.wipe();
    const { segment } = this.#position;
    if (end.digest !== this.#end.digest || position?.segment !== segment)
      throw new VgasError(
        "AUDIT_FAILED",
        `${segmentPath(dir, segment)} is not the file that was there; put that one back`,
      );
    await this.#file?.close().catch(() => undefined);
    this.#file = undefined;
    this.#torn = torn;
  }
}
