/**
 * The brokered calls that are under way.
 *
 * Owns the calls and the connections to providers.
 * 1. A call answers to the user that opened it; to anybody else it is not there.
 * 2. At most `calls` take up room at a time, and `callsPerOwner` of one user. The ends of others are remembered for a while, so that
 *    a lost answer can be asked for again; as many at most, the oldest are forgotten first.
 */
import { randomBytes as systemRandomBytes } from "node:crypto";
import type { Clock } from "../../../protocols/clock.ts";
import { VgasError } from "../../../protocols/errors.ts";
import type { Logger } from "../../../protocols/logger.ts";
import type { CallReply } from "../../../protocols/vault/operations.ts";
import { Call } from "./call.ts";
import { Connections } from "./exchange.ts";
import { type Lookup, systemLookup } from "./guard.ts";
import { CALL_LIMITS, type CallLimits } from "./limits.ts";
import { type CallSurroundings, checkCall, type OpenCall } from "./open-call.ts";

export interface CallsOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly lookup?: Lookup;
  readonly limits?: Partial<CallLimits>;
  /** Certificates of authorities, in PEM, that are trusted besides the usual ones. */
  readonly ca?: string;
  readonly randomBytes?: (length: number) => Buffer;
}

const ID_BYTES = 16;

export class Calls {
  readonly #around: CallSurroundings;
  readonly #randomBytes: (length: number) => Buffer;
  /** Those that take up room, and by user how many. */
  readonly #open = new Map<string, Call>();
  readonly #byOwner = new Map<string, number>();
  /** The others, oldest end first. */
  readonly #ended = new Map<string, Call>();
  #stopped = false;

  constructor({ clock, logger, lookup = systemLookup, limits, ca, randomBytes = systemRandomBytes }: CallsOptions) {
    const resolved = Object.freeze({ ...CALL_LIMITS, ...limits });
    this.#around = { clock, logger, lookup, limits: resolved, connections: new Connections(ca) };
    this.#randomBytes = randomBytes;
  }

  /** Calls that take up room. */
  get size(): number {
    return this.#open.size;
  }

  /** An id that cannot be guessed, for a call that is to be recorded before it is opened. */
  newId(): string {
    return this.#randomBytes(ID_BYTES).toString("base64url");
  }

  /** Throws what `open` would throw at once: INVALID, PERMISSION_DENIED, MAILBOX_FULL, SHUTTING_DOWN. */
  check(options: Pick<OpenCall, "owner" | "method" | "url" | "headers" | "settings" | "body" | "more">): void {
    const { limits } = this.#around;
    if (this.#stopped) throw new VgasError("SHUTTING_DOWN", "the vault is stopping");
    checkCall(options);
    if (this.#open.size >= limits.calls)
      throw new VgasError("MAILBOX_FULL", `there are ${limits.calls} calls under way, which is the most that may be`);
    if ((this.#byOwner.get(options.owner) ?? 0) >= limits.callsPerOwner)
      throw new VgasError(
        "MAILBOX_FULL",
        `${options.owner} has ${limits.callsPerOwner} calls under way, the most it may have`,
      );
  }

  /** Starts a call and returns its id. Throws as `check` does, and INVALID for headers that cannot be sent. */
  open(options: OpenCall): string {
    this.check(options);
    const id = options.id ?? this.newId();
    const { owner } = options;
    const call = new Call(options, this.#around, {
      closed: () => this.#retire(id, call),
      forgotten: () => this.#forget(id),
    });
    this.#open.set(id, call);
    this.#byOwner.set(owner, (this.#byOwner.get(owner) ?? 0) + 1);
    return id;
  }

  /**
   * Replies when the piece is taken; until then the next one is INVALID. `seq` counts from 1, for the first piece after the one that
   * `open` had. Whoever asks for the same again, here and below, takes the place of the one that still waits, who gets TIMEOUT.
   */
  async write(owner: string, id: string, seq: number, data: Uint8Array, more: boolean): Promise<CallReply> {
    return this.#ask(owner, id, (call) => call.write(seq, data, more));
  }

  /** Replies as soon as there is something, or with nothing after `waitMs`. `seq` counts from 1. */
  async read(owner: string, id: string, seq: number): Promise<CallReply> {
    return this.#ask(owner, id, (call) => call.read(seq));
  }

  /** Replies once the end is recorded: `done`, and the usage if it could be recorded. */
  async cancel(owner: string, id: string): Promise<CallReply> {
    return this.#ask(owner, id, (call) => call.cancel());
  }

  /** Ends every call, and resolves once their ends are recorded. */
  async abortAll(reason: VgasError): Promise<void> {
    const calls = [...this.#open.values()];
    for (const call of calls) call.abort(reason);
    await Promise.all(calls.map((call) => call.settled()));
  }

  /** Ends every call and closes the connections; nothing can be opened any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.abortAll(new VgasError("SHUTTING_DOWN", "the vault is stopping"));
    for (const id of [...this.#ended.keys()]) this.#forget(id);
    this.#around.connections.destroy();
  }

  async #ask(owner: string, id: string, ask: (call: Call) => Promise<CallReply>): Promise<CallReply> {
    const call = this.#open.get(id) ?? this.#ended.get(id);
    if (call === undefined || call.owner !== owner) throw new VgasError("NOT_FOUND", "there is no such call");
    return ask(call);
  }

  /** It takes up no room any more. */
  #retire(id: string, call: Call): void {
    if (!this.#open.delete(id)) return;
    const left = (this.#byOwner.get(call.owner) ?? 0) - 1;
    if (left > 0) this.#byOwner.set(call.owner, left);
    else this.#byOwner.delete(call.owner);
    this.#ended.set(id, call);
    const [oldest] = this.#ended.keys();
    if (this.#ended.size > this.#around.limits.calls && oldest !== undefined) this.#forget(oldest);
  }

  #forget(id: string): void {
    this.#ended.get(id)?.dispose();
    this.#ended.delete(id);
  }
}
