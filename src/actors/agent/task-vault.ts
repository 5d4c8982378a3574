/** What a behaviour gets of the vault: `ctx.vault`. */

export interface VaultWaitOptions {
  /** How long to wait for a vault that is sealed, not made yet or restarting, ms. Default 5 000. */
  readonly waitMs?: number;
}

/**
 * The vault, for one attempt of a task.
 *
 * What both methods throw: VgasError GRANT_VOID once the attempt has ended, or if the agent does not declare the provider;
 * VAULT_SEALED, VAULT_UNINITIALISED, AUDIT_FAILED, UNDELIVERABLE or TIMEOUT if the vault did not come in time; NOT_FOUND,
 * PERMISSION_DENIED, BUDGET_EXCEEDED, KEY_RESTING as the keys of the provider are; the reason of `ctx.signal` when it fires.
 */
export interface TaskVault {
  /** The key itself, for as long as the attempt runs. */
  lease(provider: string, options?: VaultWaitOptions): Promise<VaultLease>;
  /**
   * A `fetch` that the vault makes with the key put in: the key never comes here. Official clients take it as theirs:
   * `new OpenAI({ apiKey: "unused", fetch: (url, init) => ctx.vault.fetch("openai", url, init) })`.
   */
  fetch(
    provider: string,
    input: string | URL | Request,
    init?: RequestInit,
    options?: VaultWaitOptions,
  ): Promise<Response>;
}

/** A key in this process's memory, until it is released, expires or the attempt ends: then it is overwritten. */
export interface VaultLease {
  readonly provider: string;
  /** Name and version of the key. */
  readonly key: string;
  readonly version: number;
  /** By this machine's clock, ms since the epoch. */
  readonly expiresAt: number;
  /**
   * Hands the key to `read`, which must neither keep nor change the bytes.
   *
   * @throws VgasError GRANT_VOID once the lease is over
   */
  use<T>(read: (key: Buffer) => T): T;
  /** The key as a string, which cannot be overwritten: it stays in memory until it is collected. Throws as `use`. */
  text(): string;
  /** Ends the lease. Idempotent. */
  release(): void;
}
