import type { Secret } from "../../bus/sealed/secret.ts";
import type { Clock, Timer } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import type { VaultLease } from "./task-vault.ts";

export interface LeasedKey {
  readonly provider: string;
  readonly key: string;
  readonly version: number;
  /** How long it may be used from now on, ms. */
  readonly remainingMs: number;
}

/** A leased key. Owns the secret and overwrites it at the end of the lease, whatever ends it first. */
export class Lease implements VaultLease {
  readonly provider: string;
  readonly key: string;
  readonly version: number;
  readonly expiresAt: number;
  readonly #secret: Secret;
  readonly #clock: Clock;
  readonly #timer: Timer;
  readonly #over: (lease: Lease) => void;
  #why: string | undefined;

  /** Takes `secret` over. `over` is called once, at the end. */
  constructor(leased: LeasedKey, secret: Secret, clock: Clock, over: (lease: Lease) => void) {
    this.provider = leased.provider;
    this.key = leased.key;
    this.version = leased.version;
    this.expiresAt = clock.now() + leased.remainingMs;
    this.#secret = secret;
    this.#clock = clock;
    this.#over = over;
    this.#timer = clock.setTimeout(() => this.end("it has expired"), leased.remainingMs);
  }

  use<T>(read: (key: Buffer) => T): T {
    if (this.#why !== undefined) {
      throw new VgasError("GRANT_VOID", `the lease of ${this.provider}/${this.key} is over: ${this.#why}`);
    }
    return this.#secret.use(read);
  }

  text(): string {
    return this.use((key) => key.toString("utf8"));
  }

  release(): void {
    this.end("it was released");
  }

  /** Ends the lease; `why` is what whoever uses it afterwards is told. Idempotent. */
  end(why: string): void {
    if (this.#why !== undefined) return;
    this.#why = why;
    this.#clock.clear(this.#timer);
    this.#secret.wipe();
    this.#over(this);
  }
}
