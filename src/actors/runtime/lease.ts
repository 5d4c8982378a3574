/**
 * Exactly one owner of a name in the swarm: a record in the owners bucket, written by CAS and renewed by time.
 *
 * Owns the record's revision as last seen, the timer of the next look, and the timer of its own end. One step runs at a time.
 *
 * Invariants
 * 1. A holder counts its lease from before it sent the write that won or renewed it, and gives the name up at the end of the lease
 *    whether or not it can reach the bucket. `held` is false from that moment on, even if the event loop was blocked.
 * 2. A taker counts from after it read the record, on its own monotonic clock, and starts anew when the revision changed. It waits
 *    a quarter longer than the lease, for clocks that run apart and a holder that is slow to stop. So with 1, two never hold it.
 * 3. A lost reply to a write is settled by reading: the record says who wrote it.
 * 4. The epoch is the revision at which this ownership began: it only grows, so what it fences refuses a former owner.
 * 5. A record that cannot be read was written by nobody who owns a name. The holder whose lease runs writes over it; who stands by
 *    waits for that as for a renewal, so 2 holds.
 * 6. A record of this host by another incarnation is taken at once, at the first look only: the home's lock says that the incarnation
 *    is dead. Not later: two hosts that share an id by mistake would take the name from each other for ever.
 */
import { decode, encode } from "../../bus/codec/codec.ts";
import type { KvBucket } from "../../bus/kv.ts";
import { EPOCH_IS_REVISION, type OwnerRecord, ownerRecord } from "../../protocols/actor-messages.ts";
import type { Clock, Random, Timer } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import type { Logger } from "../../protocols/logger.ts";
import { toWireError } from "../../protocols/wire-error.ts";
import { endsWithin } from "./waiting.ts";

/** The owners bucket, as far as a lease needs it. */
export type OwnerStore = Pick<KvBucket, "getEntry" | "cas">;

export interface LeaseOptions {
  readonly name: string;
  readonly host: string;
  /** Incarnation of the host. */
  readonly run: string;
  readonly owners: OwnerStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** How long the name stays ours without a renewal, ms. */
  readonly leaseMs: number;
  /** The name is ours from now on. Must not throw. */
  readonly acquired: (epoch: number) => void;
  /** The name is no longer ours; what acted under it must be stopped before this returns. Must not throw. */
  readonly lost: (reason: string) => void;
}

/** A taker waits this many leases. */
const TAKEOVER_LEASES = 1.25;
/** Renewals per lease: two may fail before the name is lost. */
const RENEWALS_PER_LEASE = 3;
/** Looks of who stands by, per lease. */
const LOOKS_PER_LEASE = 6;
/** Giving the name back is a courtesy to who stands by; it must not hold up the stop. */
const RELEASE_TIMEOUT_MS = 2_000;

interface Holding {
  readonly epoch: number;
  /** Of the record, as we wrote it last. */
  revision: number;
  /** End of the lease on the monotonic clock, and on the wall clock: the monotonic one stands still while a machine sleeps. */
  until: number;
  wallUntil: number;
  /** A write of ours whose outcome is unknown; the next step reads before it writes. */
  uncertain: boolean;
}

export class Lease {
  readonly #options: LeaseOptions;
  #holding: Holding | undefined;
  /** Somebody else's record and since when it has not changed. */
  #seen: { readonly revision: number; readonly since: number } | undefined;
  #looked = false;
  #stopped = false;
  #step: Promise<void> = Promise.resolve();
  #ended: Promise<void> | undefined;
  #nextTimer: Timer | undefined;
  #endTimer: Timer | undefined;

  constructor(options: LeaseOptions) {
    this.#options = options;
  }

  /** Whether the name is ours at this moment. */
  get held(): boolean {
    const { clock } = this.#options;
    const holding = this.#holding;
    return holding !== undefined && clock.monotonic() < holding.until && clock.now() < holding.wallUntil;
  }

  /** Fencing token while the name is ours. */
  get epoch(): number | undefined {
    return this.#holding?.epoch;
  }

  /**
   * Tries for the name once and goes on trying until `stop`. Resolves after the first try: `held` says how it went.
   *
   * @throws what the first look at the bucket throws; nothing goes on then
   */
  async start(): Promise<void> {
    const first = this.#acquire();
    // What `stop` waits for must not fail a second time.
    this.#step = first.catch(() => undefined);
    try {
      await first;
    } catch (error) {
      this.#stopped = true;
      throw error;
    }
    this.#schedule();
  }

  /** Gives the name up because its lease has ended, if it has. For who is about to act under the name. */
  check(): boolean {
    if (this.#holding !== undefined && !this.held) this.#lose("it was not renewed in time");
    return this.#holding !== undefined;
  }

  /** Stops, and gives the name back if it is ours. What acts under the name must have been stopped before. Idempotent. */
  stop(): Promise<void> {
    this.#ended ??= this.#end();
    return this.#ended;
  }

  async #end(): Promise<void> {
    const { clock } = this.#options;
    this.#stopped = true;
    clock.clear(this.#nextTimer);
    clock.clear(this.#endTimer);
    await endsWithin(
      clock,
      RELEASE_TIMEOUT_MS,
      this.#step.then(() => this.#release()),
    );
  }

  #schedule(): void {
    if (this.#stopped) return;
    const { clock, random, leaseMs } = this.#options;
    const steps = this.#holding === undefined ? LOOKS_PER_LEASE : RENEWALS_PER_LEASE;
    // A little less each time, at random, so that the hosts' looks spread.
    const delayMs = (leaseMs / steps) * (1 - random() / 4);
    this.#nextTimer = clock.setTimeout(() => {
      this.#step = this.#runStep();
    }, delayMs);
  }

  async #runStep(): Promise<void> {
    try {
      if (this.check()) await this.#renew();
      else await this.#acquire();
    } catch (error) {
      const { name, logger } = this.#options;
      logger.warn(
        { actor: name, error: toWireError(error), held: this.held },
        "The owner of an actor's name could not be read or written.",
      );
    }
    this.#schedule();
  }

  async #acquire(): Promise<void> {
    const { name, owners, host, run, clock } = this.#options;
    const entry = await owners.getEntry(name);
    const first = !this.#looked;
    this.#looked = true;
    const record = entry === undefined || entry.deleted ? undefined : readRecord(entry.value);
    const revision = entry?.revision ?? 0;
    const own = record?.host === host && (record.run === run || first);
    const free = entry === undefined || entry.deleted || record?.released === true || own;
    if (!free && !this.#expired(revision, record)) return;
    const sentAt = this.#now();
    const won = await this.#write(revision, { epoch: EPOCH_IS_REVISION, released: false });
    if (won === undefined) return;
    this.#seen = undefined;
    this.#holding = { epoch: won, revision: won, uncertain: false, ...this.#ends(sentAt) };
    // `stop` came meanwhile; it waits for this step and gives the name back.
    if (this.#stopped) return;
    if (!this.held) {
      // The write took longer than the lease it won.
      this.#holding = undefined;
      return;
    }
    this.#armEnd();
    this.#options.logger.info({ actor: name, epoch: won, at: clock.now() }, "This host owns the actor's name.");
    this.#options.acquired(won);
  }

  /** Whether the record of this revision has not changed for longer than its holder may act on it. */
  #expired(revision: number, record: OwnerRecord | undefined): boolean {
    const now = this.#options.clock.monotonic();
    if (this.#seen?.revision !== revision) {
      this.#seen = { revision, since: now };
      return false;
    }
    // A record that cannot be read was not written by a holder that knows this protocol; it gets one lease of ours.
    return now - this.#seen.since >= (record?.leaseMs ?? this.#options.leaseMs) * TAKEOVER_LEASES;
  }

  async #renew(): Promise<void> {
    const holding = this.#holding;
    if (holding === undefined) return;
    if (holding.uncertain) {
      const revision = await this.#ownRevision(holding);
      if (this.#holding !== holding) return;
      if (revision === undefined) {
        this.#lose("another host took it");
        return;
      }
      holding.revision = revision;
      holding.uncertain = false;
    }
    const sentAt = this.#now();
    // Set before the write and cleared by its answer, so that every other way out leaves it set.
    holding.uncertain = true;
    const revision = await this.#write(holding.revision, { epoch: holding.epoch, released: false });
    if (this.#holding !== holding) return;
    // Taken by somebody else, or changed by an earlier write of ours whose reply was lost: reading tells.
    if (revision === undefined) return this.#renew();
    holding.uncertain = false;
    holding.revision = revision;
    Object.assign(holding, this.#ends(sentAt));
    this.#armEnd();
  }

  /** Revision of the record if it is still the one of this ownership, or rubbish that somebody wrote over it. */
  async #ownRevision(holding: Holding): Promise<number | undefined> {
    const { name, owners, host, run, logger } = this.#options;
    const entry = await owners.getEntry(name);
    if (entry === undefined || entry.deleted) return undefined;
    const record = readRecord(entry.value);
    if (record === undefined) {
      logger.warn({ actor: name, revision: entry.revision }, "What stood for this host's ownership was overwritten.");
      return this.held ? entry.revision : undefined;
    }
    const ours =
      record.host === host &&
      record.run === run &&
      (record.epoch === holding.epoch || entry.revision === holding.epoch);
    return ours ? entry.revision : undefined;
  }

  async #release(): Promise<void> {
    const holding = this.#holding;
    this.#holding = undefined;
    if (holding === undefined) return;
    try {
      await this.#write(holding.revision, { epoch: holding.epoch, released: true });
    } catch (error) {
      const { name, logger } = this.#options;
      logger.debug(
        { actor: name, error: toWireError(error) },
        "An actor's name was not given back; its lease ends by itself.",
      );
    }
  }

  /** Writes the record; undefined if it had changed. */
  async #write(expected: number, fields: Pick<OwnerRecord, "epoch" | "released">): Promise<number | undefined> {
    const { name, owners, host, run, leaseMs } = this.#options;
    const record: OwnerRecord = { v: 1, host, run, leaseMs, ...fields };
    try {
      return await owners.cas(name, encode(record), expected);
    } catch (error) {
      if (error instanceof VgasError && error.code === "CONFLICT") return undefined;
      throw error;
    }
  }

  #lose(reason: string): void {
    const { name, clock, logger, lost } = this.#options;
    clock.clear(this.#endTimer);
    this.#holding = undefined;
    logger.warn({ actor: name, reason }, "This host no longer owns the actor's name.");
    lost(reason);
  }

  #armEnd(): void {
    const { clock } = this.#options;
    clock.clear(this.#endTimer);
    const holding = this.#holding;
    if (holding === undefined || this.#stopped) return;
    this.#endTimer = clock.setTimeout(
      () => {
        // A timer may come a little early; then the rest is waited for.
        if (this.check()) this.#armEnd();
      },
      Math.max(1, holding.until - clock.monotonic()),
    );
  }

  #now(): { readonly monotonic: number; readonly wall: number } {
    const { clock } = this.#options;
    return { monotonic: clock.monotonic(), wall: clock.now() };
  }

  #ends(sentAt: { readonly monotonic: number; readonly wall: number }): Pick<Holding, "until" | "wallUntil"> {
    const { leaseMs } = this.#options;
    return { until: sentAt.monotonic + leaseMs, wallUntil: sentAt.wall + leaseMs };
  }
}

function readRecord(value: Uint8Array): OwnerRecord | undefined {
  try {
    return ownerRecord.safeParse(decode(value)).data;
  } catch {
    return undefined;
  }
}
