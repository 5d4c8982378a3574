/**
 * Asks the vault for operations on behalf of one user: signs each request, seals what is secret, and follows the vault
 * from one life to the next.
 *
 * 1. A request names the vault's life, a nonce of its own and the time by the vault's clock, reckoned from its last `hello`.
 * 2. A request is repeated, once and as a new one, only where the vault has refused the first unread: it was made for an
 *    earlier life, or by a clock that has gone astray since.
 * 3. Secrets are sealed anew for each request and never kept.
 * 4. A secret is sealed only for a life whose `hello` was signed by the vault's node, for a challenge of this caller's: anybody may
 *    answer a request on the bus. A caller that does not know the vault's key seals nothing.
 */
import { createHash, randomBytes } from "node:crypto";
import type { z } from "zod";
import type { Clock } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import {
  type Hello,
  hello as helloSchema,
  NONCE_BYTES,
  REQUEST_DOMAIN,
  REQUEST_WINDOW_MS,
  type Request,
} from "../../protocols/vault/messages.ts";
import { OPERATIONS, type OperationName, type OperationReply } from "../../protocols/vault/operations.ts";
import { encode } from "../codec/codec.ts";
import { isHelloOf } from "./hello-signature.ts";
import { sealBox, secretContext } from "./sealed-box.ts";
import type { Secret } from "./secret.ts";
import type { Signer } from "./signing.ts";

/** A life of the vault is asked about anew after this long: two clocks that are told of each other drift little in it, ms. */
const HELLO_MAX_AGE_MS = 60_000;

const CHALLENGE_BYTES = 32;

/** Between wall clock and monotonic clock; more, and one of them was set or this machine slept, ms. */
const MAX_DISAGREEMENT_MS = 5_000;

export interface CallOptions {
  /** For the whole call, with what is asked before it and again. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** Sends a message to the actor `vault`; resolves with the value of its reply and rejects with the error. */
export type Ask = (
  message: { readonly type: string } & Record<string, unknown>,
  options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
) => Promise<unknown>;

export type OperationInput<Name extends OperationName> = z.input<(typeof OPERATIONS)[Name]["args"]>;

/** Seals a secret for the vault, bound to the request that it goes with. */
export type Seal = (secret: Secret) => Uint8Array;

export interface Answer<Name extends OperationName> {
  readonly reply: OperationReply<Name>;
  /** SHA-256 of the request's body: what a leased key is bound to. */
  readonly digest: Uint8Array;
}

export interface VaultCallerOptions {
  readonly ask: Ask;
  readonly signer: Signer;
  readonly clock: Clock;
  /** Public nkey (`U…`) of the node that runs the vault, from where it cannot be forged. Without it, no secret can be sealed. */
  readonly vaultKey?: string | undefined;
}

/** What `hello` said, and when by our clocks. */
interface Life {
  readonly hello: Hello;
  readonly heardAt: number;
  readonly heardAtWall: number;
}

export class VaultCaller {
  readonly #ask: Ask;
  readonly #signer: Signer;
  readonly #clock: Clock;
  readonly #vaultKey: string | undefined;
  #life: Life | undefined;

  constructor({ ask, signer, clock, vaultKey }: VaultCallerOptions) {
    this.#ask = ask;
    this.#signer = signer;
    this.#clock = clock;
    this.#vaultKey = vaultKey;
  }

  /**
   * Asks the vault who it is and how it does. The request is not signed; the answer is if this caller knows the vault's key.
   *
   * @throws VgasError what `ask` throws, INTERNAL if something else answered, PERMISSION_DENIED if the answer is not signed by
   *   the vault
   */
  async hello(options: CallOptions): Promise<Hello> {
    return (await this.#greet(options)).hello;
  }

  /**
   * Asks for one operation. `args` may be made from a sealer: then it is called again for a request that is repeated.
   *
   * @throws VgasError the vault's refusal, what `ask` throws, INTERNAL if the answer is not one of this operation; as `hello`;
   *   CONFIG if `args` seals and the vault's key is not known
   */
  async call<Name extends OperationName>(
    op: Name,
    args: OperationInput<Name> | ((seal: Seal) => OperationInput<Name>),
    options: CallOptions,
  ): Promise<Answer<Name>> {
    const until = this.#clock.monotonic() + options.timeoutMs;
    const left = (): CallOptions => ({ ...options, timeoutMs: this.#left(op, until, options.timeoutMs) });
    const life = this.#fresh() ?? (await this.#greet(left()));
    try {
      return await this.#request(life, op, args, left());
    } catch (error) {
      const next = await this.#another(life, error, left);
      if (next === undefined) throw error;
      return await this.#request(next, op, args, left());
    }
  }

  /** How long it is to a time of the vault's clock, ms; negative if it has passed. */
  remainingMs(vaultTime: number): number {
    return vaultTime - (this.#life === undefined ? this.#clock.now() : this.#vaultTime(this.#life));
  }

  /** The life to ask again, if the request was refused for what it said of the life before. */
  async #another(life: Life, error: unknown, left: () => CallOptions): Promise<Life | undefined> {
    if (!(error instanceof VgasError)) return undefined;
    if (error.code !== "VAULT_RESTARTED" && error.code !== "REPLAYED") return undefined;
    if (this.#life === life) this.#life = undefined;
    const next = this.#fresh() ?? (await this.#greet(left()));
    if (error.code === "VAULT_RESTARTED") return next;
    // Refused by a clock that we had reckoned wrongly. By one that is right it was seen before: that stays refused.
    const astray = Math.abs(this.#vaultTime(next) - this.#vaultTime(life));
    return astray > REQUEST_WINDOW_MS / 2 ? next : undefined;
  }

  async #request<Name extends OperationName>(
    life: Life,
    op: Name,
    args: OperationInput<Name> | ((seal: Seal) => OperationInput<Name>),
    { timeoutMs, signal }: CallOptions,
  ): Promise<Answer<Name>> {
    const { boot, publicKey } = life.hello;
    const nonce = randomBytes(NONCE_BYTES);
    const seal: Seal = (secret) => {
      if (this.#vaultKey === undefined) throw unknownVault();
      return secret.use((bytes) => sealBox(publicKey, bytes, secretContext(op, boot, nonce)));
    };
    const request: Request = {
      v: 1,
      op,
      boot,
      at: this.#vaultTime(life),
      nonce,
      args: typeof args === "function" ? args(seal) : args,
    };
    const body = encode(request);
    const signature = this.#signer.sign(Buffer.concat([Buffer.from(REQUEST_DOMAIN), body]));
    const message = { type: "operation", user: this.#signer.user, body, signature };
    const answer = await this.#ask(message, { timeoutMs, ...(signal ? { signal } : {}) });
    const parsed = OPERATIONS[op].reply.safeParse(answer);
    if (!parsed.success) throw new VgasError("INTERNAL", `what the vault answered is no reply to ${op}`);
    return { reply: parsed.data as OperationReply<Name>, digest: createHash("sha256").update(body).digest() };
  }

  async #greet({ timeoutMs, signal }: CallOptions): Promise<Life> {
    const challenge = randomBytes(CHALLENGE_BYTES);
    const message = { type: "hello", ...(this.#vaultKey !== undefined && { challenge }) };
    const answer = await this.#ask(message, { timeoutMs, ...(signal ? { signal } : {}) });
    const parsed = helloSchema.safeParse(answer);
    if (!parsed.success) throw new VgasError("INTERNAL", "what answered for the vault is no vault");
    if (this.#vaultKey !== undefined && !isHelloOf(this.#vaultKey, parsed.data, challenge))
      throw forged(this.#vaultKey);
    const life = { hello: parsed.data, heardAt: this.#clock.monotonic(), heardAtWall: this.#clock.now() };
    this.#life = life;
    return life;
  }

  /** The life known, unless it is old or our own clocks tell that time has passed which one of them did not count. */
  #fresh(): Life | undefined {
    const life = this.#life;
    if (life === undefined) return undefined;
    const age = this.#clock.monotonic() - life.heardAt;
    const ageByWall = this.#clock.now() - life.heardAtWall;
    return age <= HELLO_MAX_AGE_MS && Math.abs(ageByWall - age) <= MAX_DISAGREEMENT_MS ? life : undefined;
  }

  /** The vault's clock now, as that life told it. */
  #vaultTime(life: Life): number {
    return Math.round(life.hello.now + this.#clock.monotonic() - life.heardAt);
  }

  #left(op: string, until: number, timeoutMs: number): number {
    const left = until - this.#clock.monotonic();
    if (left <= 0) throw new VgasError("TIMEOUT", `vault.${op} timed out after ${timeoutMs} ms`);
    return Math.ceil(left);
  }
}

function forged(vaultKey: string): VgasError {
  return new VgasError(
    "PERMISSION_DENIED",
    `what answered for the vault is not signed by the vault's node, whose key is ${vaultKey}: somebody else answers in its place, ` +
      "or the node has another key now and the connection file is of before: make it anew, `vgas connection --role admin`",
  );
}

function unknownVault(): VgasError {
  return new VgasError(
    "CONFIG",
    "nothing secret is sent to a vault that cannot prove itself, and this connection does not hold the vault's key: make the " +
      "connection file anew: `vgas connection --role admin`",
  );
}
