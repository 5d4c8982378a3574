/** An operator's way to the vault of a swarm: questions and operations over one connection. */
import type { Bus } from "../bus/bus.ts";
import { signerOf } from "../bus/sealed/signing.ts";
import { type Ask, type CallOptions, type OperationInput, type Seal, VaultCaller } from "../bus/sealed/vault-caller.ts";
import { type Clock, systemClock } from "../protocols/clock.ts";
import { VgasError } from "../protocols/errors.ts";
import type { Names } from "../protocols/subjects.ts";
import { type Hello, hello, VAULT } from "../protocols/vault/messages.ts";
import type { OperationName, OperationReply } from "../protocols/vault/operations.ts";
import { askActor } from "./ask-actor.ts";

export interface VaultOperatorOptions {
  readonly bus: Bus;
  readonly names: Names;
  /** Seed of the credential that `bus` connected with; undefined where NATS asks for none. */
  readonly seed: Uint8Array | undefined;
  /** Public nkey (`U…`) of the node that runs the vault; without it no secret is sealed. */
  readonly vaultKey: string | undefined;
  readonly clock?: Clock;
}

/** Speaks for the user of a connection. Its errors are the vault's own, and UNDELIVERABLE where no node runs one. */
export class VaultOperator {
  readonly #bus: Bus;
  readonly #names: Names;
  readonly #caller: VaultCaller | undefined;

  /** @throws VgasError INVALID if `seed` is none */
  constructor({ bus, names, seed, vaultKey, clock = systemClock }: VaultOperatorOptions) {
    this.#bus = bus;
    this.#names = names;
    const ask = askVault(bus, names);
    this.#caller = seed && new VaultCaller({ ask, signer: signerOf(bus.user, seed), clock, vaultKey });
  }

  /** @throws VgasError as `askHello`; PERMISSION_DENIED too if the vault's key is known and has not signed the answer */
  async hello(options: CallOptions): Promise<Hello> {
    return (await this.#caller?.hello(options)) ?? (await askHello(this.#bus, this.#names, options));
  }

  /**
   * Asks for one operation; `args` may be made from a sealer for what is secret in them.
   *
   * @throws VgasError what the vault refuses with; UNDELIVERABLE without a vault, PERMISSION_DENIED without a credential
   *   or if something else answers for the vault, CONFIG if `args` seals and the vault's key is not known, TIMEOUT, ABORTED
   */
  async call<Name extends OperationName>(
    op: Name,
    args: OperationInput<Name> | ((seal: Seal) => OperationInput<Name>),
    options: CallOptions,
  ): Promise<OperationReply<Name>> {
    if (this.#caller !== undefined) return (await this.#caller.call(op, args, options)).reply;
    throw new VgasError(
      "PERMISSION_DENIED",
      "the vault answers only to a credential of its swarm: give --home, or --connection with what `vgas connection --role admin` printed",
    );
  }
}

/**
 * What the vault says of itself to anybody; unproven.
 *
 * @throws VgasError UNDELIVERABLE without a vault, PERMISSION_DENIED, TIMEOUT, ABORTED
 */
export async function askHello(bus: Bus, names: Names, { timeoutMs, signal }: CallOptions): Promise<Hello> {
  const answer = await askVault(bus, names)({ type: "hello" }, { timeoutMs, ...(signal && { signal }) });
  const parsed = hello.safeParse(answer);
  if (parsed.success) return parsed.data;
  throw new VgasError("INTERNAL", "what answered for the vault is no vault");
}

function askVault(bus: Bus, names: Names): Ask {
  return async (message, options) => {
    try {
      return await askActor(bus, names, { name: VAULT }, message, options);
    } catch (cause) {
      if (!(cause instanceof VgasError) || cause.code !== "UNDELIVERABLE") throw cause;
      throw new VgasError(
        "UNDELIVERABLE",
        "no vault answers in this swarm: the node that owns its home runs it (`vgas up`, unless --roles leaves vault out), and may be down, cut off, or without the vault's name for a moment",
        { cause },
      );
    }
  };
}
