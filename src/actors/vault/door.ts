/**
 * The one door of the vault: what comes in as bytes goes on as an operation of a known user, or is refused.
 *
 * 1. Nothing of a request is believed before its signature was checked with the key that the swarm gave its user.
 * 2. A request is taken once, by the life of the vault that it names, within the window of the door's own clock. That one never
 *    goes back, whatever is done to the machine's: else a request could come into its window again when it was forgotten.
 * 3. Its role must be one of the operation's, and its fields what the table of operations says. Only a request that is good in
 *    all of this is remembered, in the room of its own user.
 */
import { createHash } from "node:crypto";
import { decode } from "../../bus/codec/codec.ts";
import { verifySignature } from "../../bus/sealed/signing.ts";
import type { Clock } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import { isNodeRole, type UserRole } from "../../protocols/roles.ts";
import { type OperationMessage, REQUEST_DOMAIN, REQUEST_WINDOW_MS, request } from "../../protocols/vault/messages.ts";
import { OPERATIONS, type OperationArgs, type OperationName } from "../../protocols/vault/operations.ts";
import { Nonces } from "./nonces.ts";
import type { Who } from "./trail/entry.ts";

/** The users of the swarm, as the node that issues their credentials knows them. */
export interface Principals {
  /** Undefined for who is not known, or not any more. */
  find(user: string): Promise<{ readonly publicKey: string; readonly role: UserRole } | undefined>;
}

/** An operation that may be done. */
export type Admitted = {
  [Name in OperationName]: {
    readonly op: Name;
    readonly args: OperationArgs<Name>;
    readonly who: Who;
    readonly nonce: Uint8Array;
    /** SHA-256 of the request's body: what an answer is bound to. */
    readonly digest: Uint8Array;
  };
}[OperationName];

export interface DoorOptions {
  readonly principals: Principals;
  /** The node that the vault lives on, whose own credential is `system`. */
  readonly hostId: string;
  /** This life of the vault. */
  readonly boot: string;
  readonly clock: Clock;
}

/** A refusal, with what is known of who was refused. */
export class Refused extends Error {
  readonly error: VgasError;
  /** Undefined until the signature was found to be good. */
  readonly who: Who | undefined;
  readonly op: OperationName | undefined;

  constructor(error: VgasError, who?: Who, op?: OperationName) {
    super(error.message, { cause: error });
    this.error = error;
    this.who = who;
    this.op = op;
  }
}

const domain = Buffer.from(REQUEST_DOMAIN);

/** Complaints of a schema that are passed on. */
const MAX_ISSUES = 3;

export class Door {
  readonly #options: DoorOptions;
  readonly #nonces = new Nonces();
  /** The wall clock at the beginning of this life, less the monotonic one. */
  readonly #offsetMs: number;

  constructor(options: DoorOptions) {
    const { clock } = options;
    this.#options = options;
    this.#offsetMs = clock.now() - clock.monotonic();
  }

  /**
   * The clock that requests are judged by, ms since the epoch: the machine's as it was when this life began, and gone on evenly since.
   * What `hello` tells as the vault's clock.
   */
  now(): number {
    return this.#offsetMs + this.#options.clock.monotonic();
  }

  /**
   * The operation that a message asks for.
   *
   * @throws Refused around PERMISSION_DENIED, VAULT_RESTARTED, REPLAYED, INVALID, UNKNOWN_MESSAGE, MAILBOX_FULL
   */
  async admit({ user, body, signature }: OperationMessage): Promise<Admitted> {
    const { principals, hostId } = this.#options;
    const principal = await principals.find(user);
    // One answer for both, so that nobody learns who exists.
    if (principal === undefined || !verifySignature(principal.publicKey, Buffer.concat([domain, body]), signature))
      throw new Refused(
        new VgasError("PERMISSION_DENIED", `the request is not signed by a user "${user}" of this swarm`),
      );
    const { role } = principal;
    const host = role === "system" ? hostId : isNodeRole(role) ? user : undefined;
    const who: Who = { user, role, ...(host !== undefined && { host }) };
    let op: OperationName | undefined;
    try {
      const parsed = request.parse(decode(body));
      op = nameOf(parsed.op);
      const now = this.now();
      this.#checkTime(parsed, now);
      if (!OPERATIONS[op].roles.includes(role))
        throw new VgasError("PERMISSION_DENIED", `the role ${role} may not do vault.${op}`);
      const args = argsOf(op, parsed.args);
      this.#nonces.take(user, parsed.nonce, { at: parsed.at, now });
      const digest = createHash("sha256").update(body).digest();
      return { op, args, who, nonce: parsed.nonce, digest } as Admitted;
    } catch (error) {
      const known = error instanceof VgasError ? error : new VgasError("INVALID", "the request is not what it must be");
      throw new Refused(known, who, op);
    }
  }

  #checkTime({ boot, at }: ReturnType<typeof request.parse>, now: number): void {
    if (boot !== this.#options.boot)
      throw new VgasError("VAULT_RESTARTED", "the request names another life of the vault than this one");
    const offMs = now - at;
    if (!(Math.abs(offMs) <= REQUEST_WINDOW_MS))
      throw new VgasError(
        "REPLAYED",
        `the request is ${Math.round(Math.abs(offMs))} ms ${offMs > 0 ? "old" : "ahead"}; at most ${REQUEST_WINDOW_MS} are taken`,
      );
  }
}

function nameOf(op: string): OperationName {
  if (Object.hasOwn(OPERATIONS, op)) return op as OperationName;
  throw new VgasError("UNKNOWN_MESSAGE", `the vault has no operation "${op}"`);
}

function argsOf(op: OperationName, args: unknown): unknown {
  const parsed = OPERATIONS[op].args.safeParse(args);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.slice(0, MAX_ISSUES);
  const said = issues.map(({ path, message }) => `${path.join(".") || "fields"}: ${message}`);
  throw new VgasError("INVALID", `vault.${op}: ${said.join("; ")}`);
}
