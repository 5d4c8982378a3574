import type { OwnerStore } from "../../src/actors/runtime/lease.ts";
import { VgasError } from "../../src/protocols/errors.ts";

/** An owners bucket in memory, with the faults that a real one has. */
export class MemoryOwners implements OwnerStore {
  readonly #entries = new Map<string, { value: Uint8Array; revision: number; deleted: boolean }>();
  #revision = 0;
  /** Reads and writes fail as when the connection is gone. */
  down = false;
  /** The next write is made, but its reply is lost. */
  loseNextReply = false;

  async getEntry(key: string): ReturnType<OwnerStore["getEntry"]> {
    if (this.down) throw new VgasError("TIMEOUT", "kv.get timed out after 1 ms");
    const entry = this.#entries.get(key);
    return entry && { ...entry, key, timestampMs: 0, header: () => undefined };
  }

  async cas(key: string, value: Uint8Array, expectedRevision: number): Promise<number> {
    if (this.down) throw new VgasError("TIMEOUT", "kv.cas timed out after 1 ms");
    if ((this.#entries.get(key)?.revision ?? 0) !== expectedRevision) throw new VgasError("CONFLICT", "it changed");
    const revision = this.put(key, value);
    if (!this.loseNextReply) return revision;
    this.loseNextReply = false;
    throw new VgasError("TIMEOUT", "kv.cas timed out after 1 ms");
  }

  put(key: string, value: Uint8Array): number {
    this.#revision++;
    this.#entries.set(key, { value, revision: this.#revision, deleted: false });
    return this.#revision;
  }

  /** As an operator's `nats kv del`. */
  delete(key: string): void {
    this.#revision++;
    this.#entries.set(key, { value: new Uint8Array(), revision: this.#revision, deleted: true });
  }
}
