/**
 * The actors of one host: spawned in order, stopped in reverse, reached by name from any node.
 *
 * Owns every actor of the host, and the listeners to what happens to them.
 *
 * Invariants
 * 1. A name has at most one actor on a host; a new one may take the place of one that has ended.
 * 2. A message that reached nobody fails for its sender, and is counted as a dead letter if it was told.
 * 3. A local message is encoded and decoded like a remote one, so where an actor lives changes nothing but the speed.
 * 4. Once `stop` was called nothing new is spawned; once it has resolved nothing runs.
 */
import type { AnyActorLogic, InputFrom } from "xstate";
import { ACTOR_HEADERS, DELIVERY_TELL } from "../../protocols/actor-messages.ts";
import type { Clock, Random } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import type { Logger } from "../../protocols/logger.ts";
import type { Names } from "../../protocols/subjects.ts";
import { isToken } from "../../protocols/tokens.ts";
import { toWireError } from "../../protocols/wire-error.ts";
import type { RuntimeContext } from "./context.ts";
import { type ActorDefinition, checkDefinition, type MessageTable } from "./definition.ts";
import type { ActorDeadLetter, Escalation, EscalationDecision, InspectionEvent } from "./inspection.ts";
import type { OwnerStore } from "./lease.ts";
import { Listeners } from "./listeners.ts";
import { Local } from "./local.ts";
import { LocalRoot } from "./local-root.ts";
import { type ActorBus, NamedActor } from "./named-actor.ts";
import type { ActorHandle, ActorRef, AnyMessage, LocalActor, SendOptions } from "./refs.ts";
import type { RestartPolicy } from "./restart-intensity.ts";
import { type ActorStatus, localStatus, namedStatus } from "./status.ts";
import type { Supervised } from "./supervised.ts";
import { waitFor } from "./waiting.ts";
import { readReply, writeMessage } from "./wire.ts";

export interface ActorSystemOptions {
  readonly bus: ActorBus;
  readonly names: Names;
  /** The bucket `names.buckets.owners`. */
  readonly owners: OwnerStore;
  readonly hostId: string;
  /** Incarnation of the host: differs after each start. */
  readonly run: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly limits?: Partial<ActorLimits>;
  /** Decides about an actor whose supervisor gave up. Default: it stays stopped. Must not throw. */
  readonly onEscalate?: (escalation: Escalation) => EscalationDecision;
}

export interface ActorLimits {
  /**
   * How long a swarm-wide name stays with a host that cannot renew it, ms. Others take over a quarter later. A host whose event
   * loop is blocked for longer loses its names.
   */
  readonly leaseMs: number;
  /** How long `ask` waits, and how long a question counts in a mailbox, unless the sender says otherwise, ms. */
  readonly askTimeoutMs: number;
  /** How long `tell` waits for the mailbox, ms. */
  readonly tellTimeoutMs: number;
  /** How long `stop` lets the actors answer what they have, ms; for all of them together. */
  readonly graceMs: number;
}

const LIMITS: ActorLimits = { leaseMs: 6_000, askTimeoutMs: 30_000, tellTimeoutMs: 5_000, graceMs: 5_000 };

export class ActorSystem {
  readonly hostId: string;
  readonly #options: ActorSystemOptions;
  readonly #limits: ActorLimits;
  readonly #context: RuntimeContext;
  readonly #deadLetters: Listeners<ActorDeadLetter>;
  /** In the order of their start. */
  readonly #actors = new Map<string, NamedActor | Supervised>();
  readonly #root: LocalRoot;
  readonly #forget = (actor: Supervised): void => {
    if (this.#actors.get(actor.name) === actor) this.#actors.delete(actor.name);
  };
  #deadLetterCount = 0;
  #stopping: Promise<void> | undefined;

  constructor(options: ActorSystemOptions) {
    const { clock, random, logger } = options;
    this.hostId = options.hostId;
    this.#options = options;
    this.#limits = { ...LIMITS, ...options.limits };
    const inspection = new Listeners<InspectionEvent>(logger);
    const escalate = options.onEscalate ?? (() => "stop");
    this.#context = { clock, random, logger, inspection, escalate };
    this.#deadLetters = new Listeners(logger);
    this.#root = new LocalRoot(clock);
  }

  /** Messages that reached nobody, or that an actor lost, since the start. */
  get deadLetters(): number {
    return this.#deadLetterCount;
  }

  /** Tells `listener` every dead letter; returns how to stop that. */
  onDeadLetter(listener: (letter: ActorDeadLetter) => void): () => void {
    return this.#deadLetters.add(listener);
  }

  /** Tells `listener` what happens to the actors; returns how to stop that. */
  inspect(listener: (event: InspectionEvent) => void): () => void {
    return this.#context.inspection.add(listener);
  }

  /**
   * Hosts an actor. Resolves when it can be reached, or stands by for a name that another host owns.
   *
   * @throws VgasError INVALID for a bad name or definition, CONFLICT if the host has an actor of that name, SHUTTING_DOWN,
   *   PERMISSION_DENIED; and what the machine throws at its start
   */
  async spawn<const Table extends MessageTable, Logic extends AnyActorLogic>(
    name: string,
    definition: ActorDefinition<Table, Logic>,
  ): Promise<ActorHandle<Table>> {
    this.#checkName(name);
    checkDefinition(name, definition);
    const { bus, names, hostId, run, owners } = this.#options;
    const { leaseMs, askTimeoutMs: answerWithinMs } = this.#limits;
    const actor = new NamedActor({
      ...{ name, definition, bus, names, hostId, run, owners, leaseMs, answerWithinMs },
      context: this.#context,
      deadLetter: (message, error) => this.#deadLetter(name, message, error),
    });
    const former = this.#actors.get(name);
    this.#enter(name, actor);
    try {
      // One that has just ended may be about to give the name back; that write and ours must not meet.
      if (former instanceof NamedActor) await former.stop(0);
      await actor.start();
    } catch (error) {
      if (this.#actors.get(name) === actor) this.#actors.delete(name);
      throw error;
    }
    const host = definition.scope === "node" ? { host: hostId } : {};
    return {
      ...this.ref<Table>(name, host),
      status: () => namedStatus(actor),
      stop: async (options) => {
        await actor.stop(options?.graceMs ?? this.#limits.graceMs);
        if (this.#actors.get(name) === actor) this.#actors.delete(name);
      },
    };
  }

  /**
   * Hosts a supervised machine that only its owner talks to: no address, no mailbox; cheap enough for thousands. All of them share
   * one XState system, so no two may give a child the same `systemId`.
   *
   * @throws VgasError INVALID, CONFLICT, SHUTTING_DOWN as `spawn`; and what the machine throws at its start
   */
  spawnLocal<Logic extends AnyActorLogic>(
    name: string,
    machine: Logic,
    input?: InputFrom<Logic>,
    restart?: Partial<RestartPolicy>,
  ): LocalActor<Logic> {
    this.#checkName(name);
    const local = new Local(this.#context, this.#root, { name, logic: machine, input, restart, forget: this.#forget });
    this.#enter(name, local.actor);
    try {
      local.actor.start();
    } catch (error) {
      this.#forget(local.actor);
      throw error;
    }
    return local;
  }

  /** The actor of that name wherever it is, with the types of its protocol. `defaults` go with every message. */
  ref<Table extends MessageTable>(name: string, defaults: SendOptions = {}): ActorRef<Table> {
    return {
      name,
      ask: async (message, options) => (await this.ask(name, message, { ...defaults, ...options })) as never,
      tell: (message, options) => this.tell(name, message, { ...defaults, ...options }),
    };
  }

  /**
   * Asks the owner of `name`, or the actor of that name on `host`. Without `host`, a `node` actor of this host is meant before
   * the owner of the name. Resolves with the answer, null if the message has none.
   *
   * @throws VgasError UNDELIVERABLE at once if nobody has that name; TIMEOUT "<name>.<type> timed out after N ms"; ABORTED;
   *   MAILBOX_FULL; UNKNOWN_MESSAGE; SHUTTING_DOWN; AGENT_ERROR if the actor failed over it; TaskError with the actor's own code
   */
  async ask<Message extends AnyMessage>(name: string, message: Message, options: SendOptions = {}): Promise<unknown> {
    const timeoutMs = options.timeoutMs ?? this.#limits.askTimeoutMs;
    return readReply(await this.#request(name, message, { ...options, timeoutMs }, false));
  }

  /**
   * Resolves when the mailbox of the actor has the message.
   *
   * @throws as `ask`; what was refused for sure is a dead letter too, and after TIMEOUT or ABORTED it may have arrived
   */
  async tell<Message extends AnyMessage>(name: string, message: Message, options: SendOptions = {}): Promise<void> {
    const timeoutMs = options.timeoutMs ?? this.#limits.tellTimeoutMs;
    try {
      readReply(await this.#request(name, message, { ...options, timeoutMs }, true));
    } catch (error) {
      const unknown = error instanceof VgasError && (error.code === "TIMEOUT" || error.code === "ABORTED");
      if (!unknown) this.#deadLetter(name, message.type, error);
      throw error;
    }
  }

  /** For display; in the order of their start. */
  status(): readonly ActorStatus[] {
    return [...this.#actors.values()].map((actor) =>
      actor instanceof NamedActor ? namedStatus(actor) : localStatus(actor),
    );
  }

  /**
   * Stops the actors one after the other, the last one first. Each takes nothing new, answers what it has within `graceMs`, and
   * then stops; what is unanswered gets SHUTTING_DOWN. Idempotent; works before anything was spawned. Never rejects.
   */
  stop(options: { readonly graceMs?: number } = {}): Promise<void> {
    this.#stopping ??= this.#stop(options.graceMs ?? this.#limits.graceMs);
    return this.#stopping;
  }

  async #stop(graceMs: number): Promise<void> {
    const { clock } = this.#options;
    const until = clock.monotonic() + graceMs;
    for (const actor of [...this.#actors.values()].reverse()) {
      if (actor instanceof NamedActor) await actor.stop(Math.max(0, until - clock.monotonic()));
      else actor.stop();
    }
  }

  async #request(
    name: string,
    message: AnyMessage,
    options: SendOptions & { timeoutMs: number },
    tell: boolean,
  ): Promise<Uint8Array> {
    const { timeoutMs, signal, host } = options;
    const { bus, names, clock } = this.#options;
    if (!isToken(name)) throw badName(name);
    if (host !== undefined && !isToken(host)) throw badName(host);
    if (!(timeoutMs > 0)) throw new VgasError("INVALID", `timeoutMs must be above 0, got ${timeoutMs}`);
    const data = writeMessage(message);
    if (data.length > bus.maxPayload) {
      throw new VgasError(
        "TOO_LARGE",
        `message "${message.type}" has ${data.length} bytes, the server takes at most ${bus.maxPayload}`,
      );
    }
    const operation = `${name}.${message.type}`;
    const local = this.#localFor(name, host);
    if (local !== undefined) {
      return waitFor({ clock, operation, timeoutMs, signal }, (respond) => {
        local.receive({ data, tell, timeoutMs, shared: false, respond });
      });
    }
    const headers = {
      [ACTOR_HEADERS.timeoutMs]: String(Math.ceil(timeoutMs)),
      ...(tell && { [ACTOR_HEADERS.delivery]: DELIVERY_TELL }),
    };
    const reply = await bus.request(operation, names.actor(name, host), data, {
      timeoutMs,
      headers,
      ...(signal && { signal }),
    });
    return reply.data;
  }

  /** The actor of this host that a message is for, if it is for one of this host. */
  #localFor(name: string, host: string | undefined): NamedActor | undefined {
    if (host !== undefined && host !== this.hostId) return undefined;
    const actor = this.#actors.get(name);
    if (!(actor instanceof NamedActor)) return undefined;
    return actor.phase === "active" || actor.phase === "stopping" ? actor : undefined;
  }

  #checkName(name: string): void {
    if (!isToken(name)) throw badName(name);
    if (this.#stopping !== undefined)
      throw new VgasError("SHUTTING_DOWN", `actor "${name}" cannot start: its host is stopping`);
    const present = this.#actors.get(name);
    const ended = present instanceof NamedActor ? present.phase === "ended" : present?.state === "ended";
    if (present !== undefined && !ended) throw new VgasError("CONFLICT", `this host has an actor "${name}" already`);
  }

  /** Puts the actor last in the order, also if one of its name has ended before. */
  #enter(name: string, actor: NamedActor | Supervised): void {
    this.#actors.delete(name);
    this.#actors.set(name, actor);
  }

  #deadLetter(name: string, message: string | undefined, thrown: unknown): void {
    const { logger, clock } = this.#options;
    const error = toWireError(thrown);
    this.#deadLetterCount++;
    logger.warn({ actor: name, message, code: error.code }, "A message to an actor is a dead letter.");
    if (this.#deadLetters.any) this.#deadLetters.emit({ type: "dead-letter", name, message, error, at: clock.now() });
  }
}

function badName(name: string): VgasError {
  return new VgasError(
    "INVALID",
    `an actor or host is named by a token [A-Za-z0-9_-]{1,64}, got ${JSON.stringify(name).slice(0, 80)}`,
  );
}
