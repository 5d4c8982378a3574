/**
 * `ctx.vault`: the vault for one run. Made when a behaviour first asks for it.
 *
 * Owns: the leases of the run, and the signal that ends its brokered calls.
 *
 * 1. Nothing outlives the attempt: when it ends, in whatever way, leases are overwritten, calls are broken off, and everything
 *    that is asked afterwards is refused.
 * 2. A vault that cannot answer yet is waited for. A brokered call is opened again only if the vault has refused it for sure: one
 *    that may be under way is never made twice.
 * 3. What was used is counted in `run.usage` before the outcome of the run is told.
 */
import { generateBoxKeys, openBox } from "../../bus/sealed/sealed-box.ts";
import { Secret } from "../../bus/sealed/secret.ts";
import type { VaultCaller } from "../../bus/sealed/vault-caller.ts";
import type { Clock, Random } from "../../protocols/clock.ts";
import { type ErrorCode, VgasError } from "../../protocols/errors.ts";
import { addUsage, NO_USAGE, type Usage } from "../../protocols/vault/keys.ts";
import type { Run } from "./run.ts";
import type { TaskVault, VaultLease, VaultWaitOptions } from "./task-vault.ts";
import { type BrokerPort, brokeredFetch } from "./vault-fetch.ts";
import { Lease } from "./vault-lease.ts";

const DEFAULT_WAIT_MS = 5_000;

/** How long one request for a lease may take, ms: a vault that answers at all has written its trail by then. */
const LEASE_TIMEOUT_MS = 10_000;

/** Pauses between two tries, ms: doubled from the first to the last, each shortened by up to a half at random. */
const FIRST_PAUSE_MS = 50;
const LAST_PAUSE_MS = 1_000;

/** The vault has refused, and may take the same request in a while. */
const REFUSED_FOR_NOW: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "AUDIT_FAILED",
  "MAILBOX_FULL",
  "UNDELIVERABLE",
  "VAULT_RESTARTED",
  "VAULT_SEALED",
  "VAULT_UNINITIALISED",
]);

/** It may have been done, but a lease that nobody got does no harm. */
const UNKNOWN_OR_REFUSED: ReadonlySet<ErrorCode> = new Set([...REFUSED_FOR_NOW, "SHUTTING_DOWN", "TIMEOUT"]);

/** What it needs of a run, and of who asks the vault. */
export type VaultRun = Pick<Run, "ended" | "onEnd" | "providers" | "grant" | "usage">;
export type VaultPort = Pick<VaultCaller, "call" | "remainingMs">;

export interface VaultAccessOptions {
  readonly run: VaultRun;
  readonly caller: VaultPort | undefined;
  readonly clock: Clock;
  readonly random: Random;
}

export class VaultAccess implements TaskVault {
  readonly #options: VaultAccessOptions;
  readonly #leases = new Set<Lease>();
  readonly #over = new AbortController();

  constructor(options: VaultAccessOptions) {
    this.#options = options;
    if (options.run.ended) this.#end(undefined);
    else options.run.onEnd((abortedBy) => this.#end(abortedBy));
  }

  async lease(provider: string, { waitMs = DEFAULT_WAIT_MS }: VaultWaitOptions = {}): Promise<VaultLease> {
    const { caller, grant } = this.#admit(provider);
    const { signal } = this.#over;
    return await this.#patiently(waitMs, UNKNOWN_OR_REFUSED, signal, async () => {
      const keys = generateBoxKeys();
      const { reply, digest } = await caller.call(
        "lease",
        { provider, grant, publicKey: keys.publicKey },
        { timeoutMs: LEASE_TIMEOUT_MS, signal },
      );
      signal.throwIfAborted();
      const remainingMs = caller.remainingMs(reply.expiresAt);
      const secret = new Secret(openBox(keys, reply.sealed, digest));
      const { key, version } = reply;
      const lease = new Lease({ provider, key, version, remainingMs }, secret, this.#options.clock, (ended) =>
        this.#leases.delete(ended),
      );
      this.#leases.add(lease);
      this.#count({ leases: 1 });
      return lease;
    });
  }

  async fetch(
    provider: string,
    input: string | URL | Request,
    init?: RequestInit,
    { waitMs = DEFAULT_WAIT_MS }: VaultWaitOptions = {},
  ): Promise<Response> {
    const { caller, grant } = this.#admit(provider);
    const port: BrokerPort = async (request, options) => {
      const ask = async () => (await caller.call("call", request, options)).reply;
      if (request.action !== "open") return await ask();
      return await this.#patiently(waitMs, REFUSED_FOR_NOW, options.signal ?? this.#over.signal, ask);
    };
    const onUsage = (usage: Usage): void => this.#count(usage);
    return await brokeredFetch(port, { provider, grant, signal: this.#over.signal, onUsage }, input, init);
  }

  /** What a request needs. @throws VgasError GRANT_VOID, CONFIG; the reason if the run was broken off */
  #admit(provider: string): { readonly caller: VaultPort; readonly grant: Uint8Array } {
    const { run, caller } = this.#options;
    this.#over.signal.throwIfAborted();
    if (!run.providers.includes(provider)) {
      throw new VgasError(
        "GRANT_VOID",
        `the agent does not declare the provider "${provider}": add providers: ["${provider}"] to its defineAgent`,
      );
    }
    if (caller === undefined) {
      throw new VgasError("CONFIG", "this node has no credential of the swarm, so the vault would not know it");
    }
    if (run.grant === undefined) {
      throw new VgasError("GRANT_VOID", "the task came without a grant: its dispatcher has no credential to sign one");
    }
    return { caller, grant: run.grant };
  }

  /** Tries until it succeeds, fails for another reason, or the next try would come after `waitMs`. */
  async #patiently<T>(
    waitMs: number,
    codes: ReadonlySet<ErrorCode>,
    signal: AbortSignal,
    attempt: () => Promise<T>,
  ): Promise<T> {
    const { clock, random } = this.#options;
    const until = clock.monotonic() + waitMs;
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(LAST_PAUSE_MS, pauseMs * 2)) {
      try {
        return await attempt();
      } catch (error) {
        signal.throwIfAborted();
        const delayMs = pauseMs * (1 - random() / 2);
        const again = error instanceof VgasError && codes.has(error.code) && clock.monotonic() + delayMs <= until;
        if (!again) throw error;
        await this.#pause(delayMs, signal);
      }
    }
  }

  async #pause(delayMs: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clock.clear(timer);
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = clock.setTimeout(done, delayMs);
      signal.addEventListener("abort", done);
    });
    signal.throwIfAborted();
  }

  #count(used: Partial<Usage>): void {
    const { run } = this.#options;
    // What comes after the end is in the vault's ledger all the same.
    if (!run.ended) run.usage = addUsage(run.usage ?? NO_USAGE, used);
  }

  #end(abortedBy: Error | undefined): void {
    const ended = "the attempt has ended";
    for (const lease of this.#leases) lease.end(ended);
    this.#over.abort(abortedBy ?? new VgasError("GRANT_VOID", ended));
  }
}
