/**
 * Sends signed checkpoints of the trail to a stream where nobody can delete one, and reads them back. The stream keeps 64 MiB, about
 * 180 000 of them, and drops the oldest: who may publish there can push them out by as much of anything else, which stays to be seen.
 *
 * Owns one publish at a time and the timer of the next.
 *
 * 1. Nobody waits for a checkpoint, except who asked for `flush`, and then not longer than FLUSH_MS.
 * 2. What the trail has last moved to is sent within a second of it, or of the moment when the stream can be reached again.
 * 3. A head that was sent is not sent again.
 */
import { setImmediate } from "node:timers/promises";
import type { Bus } from "../../../bus/bus.ts";
import type { Publisher } from "../../../bus/publisher.ts";
import { readAll } from "../../../bus/reader.ts";
import type { Signer } from "../../../bus/sealed/signing.ts";
import type { Clock, Timer } from "../../../protocols/clock.ts";
import { VgasError } from "../../../protocols/errors.ts";
import type { Logger } from "../../../protocols/logger.ts";
import type { Names } from "../../../protocols/subjects.ts";
import { type ReadCheckpoint, readCheckpoint, signCheckpoint } from "./checkpoint.ts";
import type { TrailHead } from "./trail.ts";

export interface CheckpointsOptions {
  readonly bus: Bus;
  readonly publisher: Pick<Publisher, "publish">;
  readonly names: Names;
  readonly signer: Signer;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Undefined as long as there is no vault: nothing is sent then. */
  readonly vaultId: () => string | undefined;
}

/** A message of the stream, and what it says or what is wrong with it. */
export interface StoredCheckpoint {
  /** Sequence in the stream. */
  readonly sequence: number;
  readonly checkpoint: ReadCheckpoint;
}

const PERIOD_MS = 1_000;
const FLUSH_MS = 2_000;
const READ_MS = 30_000;
/** A signature takes about 0.1 ms to check: others get their turn after so many. */
const TURN_CHECKPOINTS = 64;

export class Checkpoints {
  readonly #options: CheckpointsOptions;
  readonly #stopped = new AbortController();
  #head: TrailHead | undefined;
  /** MAC of the head that was sent last. */
  #sent: string | undefined;
  #sentAt = Number.NEGATIVE_INFINITY;
  #sending: Promise<void> | undefined;
  #timer: Timer | undefined;
  #failing = false;

  constructor(options: CheckpointsOptions) {
    this.#options = options;
  }

  /** The trail ends there now. */
  moved(head: TrailHead): void {
    this.#head = head;
    this.#sendLater();
  }

  /** Says that an operator has accepted that the trail is gone and begins anew. Never rejects. */
  async beginAnew(): Promise<void> {
    const { publisher, names, signer, clock, logger } = this.#options;
    const vaultId = this.#options.vaultId();
    if (vaultId === undefined) return;
    try {
      const data = signCheckpoint({ vaultId, seq: 0, mac: "", at: clock.now() }, signer);
      await publisher.publish(names.audit(vaultId), data, { signal: AbortSignal.timeout(FLUSH_MS) });
    } catch (error) {
      logger.warn(
        { err: error },
        "that the audit trail begins anew could not be told: verifying it will name its old checkpoints",
      );
    }
  }

  /** Sends the present head at once; resolves when it is stored, or could not be in time. Never rejects. */
  async flush(): Promise<void> {
    const { clock } = this.#options;
    let timer: Timer | undefined;
    const late = new Promise<void>((resolve) => {
      timer = clock.setTimeout(resolve, FLUSH_MS);
    });
    // What is on its way may be an earlier head.
    const done = (async () => {
      await this.#sending;
      await this.#send();
    })();
    await Promise.race([done, late]);
    clock.clear(timer);
  }

  /** Sends the present head, as `flush` does, and nothing after it. Idempotent. */
  async close(): Promise<void> {
    if (!this.#stopped.signal.aborted) await this.flush();
    this.#options.clock.clear(this.#timer);
    this.#stopped.abort();
  }

  /**
   * All that is still stored of this vault, oldest first, with its signatures checked.
   *
   * @throws VgasError VAULT_UNINITIALISED, NOT_FOUND if there is no such stream, TIMEOUT, PERMISSION_DENIED
   */
  async read(): Promise<StoredCheckpoint[]> {
    const { bus, names, signer, vaultId } = this.#options;
    const id = vaultId();
    if (id === undefined) throw new VgasError("VAULT_UNINITIALISED", "there is no vault, so it has no checkpoints");
    const messages = await readAll(bus, "reading the checkpoints of the audit trail", {
      stream: names.streams.audit,
      filter: names.audit(id),
      from: "all",
      timeoutMs: READ_MS,
    });
    const stored: StoredCheckpoint[] = [];
    for (const { sequence, data } of messages) {
      stored.push({ sequence, checkpoint: readCheckpoint(data, id, signer.publicKey) });
      if (stored.length % TURN_CHECKPOINTS === 0) await setImmediate();
    }
    return stored;
  }

  #sendLater(): void {
    if (this.#timer !== undefined || this.#sending !== undefined || this.#stopped.signal.aborted) return;
    const { clock } = this.#options;
    const waitMs = Math.max(0, this.#sentAt + PERIOD_MS - clock.monotonic());
    this.#timer = clock.setTimeout(() => {
      this.#timer = undefined;
      void this.#send();
    }, waitMs);
  }

  #send(): Promise<void> {
    this.#sending ??= this.#publish().finally(() => {
      this.#sending = undefined;
      if (this.#head !== undefined && this.#head.mac !== this.#sent) this.#sendLater();
    });
    return this.#sending;
  }

  async #publish(): Promise<void> {
    const { publisher, names, signer, clock, logger } = this.#options;
    const head = this.#head;
    const vaultId = this.#options.vaultId();
    const { signal } = this.#stopped;
    if (head === undefined || vaultId === undefined || head.seq === 0 || head.mac === this.#sent || signal.aborted)
      return;
    this.#sentAt = clock.monotonic();
    try {
      const data = signCheckpoint({ vaultId, ...head, at: clock.now() }, signer);
      // The MAC, not the sequence: two records of one sequence are what a checkpoint is to tell apart.
      await publisher.publish(names.audit(vaultId), data, { msgId: head.mac, signal });
      this.#sent = head.mac;
      this.#failing = false;
    } catch (error) {
      if (!this.#failing && !signal.aborted)
        logger.warn({ err: error }, "a checkpoint of the audit trail cannot be stored; tries again each second");
      this.#failing = true;
    }
  }
}
