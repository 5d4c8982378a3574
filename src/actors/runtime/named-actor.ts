/**
 * An actor with addresses: `actors.<name>.<hostId>`, and for a swarm-wide name `actors.<name>` while this host owns it.
 *
 * Owns the supervised machine, the inbox, the subscriptions and the lease on the name.
 *
 * Invariants
 * 1. The machine of a swarm-wide name runs only while the lease is held; the lease is checked before every letter.
 * 2. The machine runs before its addresses open, and stops after they have closed, so nobody is left without an answer. Only a lost
 *    lease closes them at once.
 * 3. A restart keeps the addresses and the waiting letters.
 * 4. It ends once. After `stop` or an end of its own nothing starts it again.
 */
import type { Bus, BusMessage, Subscription } from "../../bus/bus.ts";
import { ACTOR_HEADERS, DELIVERY_TELL } from "../../protocols/actor-messages.ts";
import { VgasError } from "../../protocols/errors.ts";
import type { Names } from "../../protocols/subjects.ts";
import { isInbox } from "../../protocols/tokens.ts";
import type { RuntimeContext } from "./context.ts";
import { type ActorDefinition, type ActorScope, type ActorStart, DEFAULT_MAILBOX_LIMIT } from "./definition.ts";
import { Inbox, type Incoming } from "./inbox.ts";
import type { StopReason } from "./inspection.ts";
import { Lease, type OwnerStore } from "./lease.ts";
import { shuttingDown, undeliverable } from "./refusals.ts";
import { Supervised } from "./supervised.ts";
import { endsWithin } from "./waiting.ts";

/** The bus as far as actors need it. */
export type ActorBus = Pick<Bus, "request" | "subscribe" | "respond" | "maxPayload">;

export interface NamedActorOptions {
  readonly name: string;
  readonly definition: ActorDefinition;
  readonly context: RuntimeContext;
  readonly bus: ActorBus;
  readonly names: Names;
  readonly hostId: string;
  readonly run: string;
  readonly owners: OwnerStore;
  readonly leaseMs: number;
  readonly answerWithinMs: number;
  readonly deadLetter: (message: string | undefined, error: VgasError) => void;
}

/**
 * `standby`: another host owns the name. `active`: the machine runs or is about to be started again. `ended`: stopped,
 * at its final state, or given up.
 */
export type ActorPhase = "starting" | "standby" | "active" | "stopping" | "ended";

export class NamedActor {
  readonly name: string;
  readonly scope: ActorScope;
  readonly #options: NamedActorOptions;
  readonly #machine: Supervised;
  readonly #inbox: Inbox;
  readonly #lease: Lease | undefined;
  #phase: ActorPhase = "starting";
  #subscriptions: Subscription[] = [];
  /** Counts openings and closings of the addresses, so that a late subscription knows that it is late. */
  #opening = 0;
  #opened: Promise<void> = Promise.resolve();
  #pumping = false;
  #stopping: Promise<void> | undefined;
  #startFailure: { readonly error: unknown } | undefined;
  #endReason: StopReason | undefined;

  constructor(options: NamedActorOptions) {
    const { name, definition, context, bus, deadLetter, answerWithinMs } = options;
    const { protocol, mailboxLimit = DEFAULT_MAILBOX_LIMIT } = definition;
    this.name = name;
    this.scope = definition.scope;
    this.#options = options;
    const maxReplyBytes = (): number => bus.maxPayload;
    this.#inbox = new Inbox({ name, protocol, mailboxLimit, context, answerWithinMs, maxReplyBytes, deadLetter });
    this.#machine = new Supervised(context, {
      name,
      logic: definition.machine,
      restart: definition.restart,
      hooks: {
        input: () => this.#input(),
        epoch: () => this.epoch,
        running: () => this.#pump(),
        processed: (event) => this.#inbox.processed(event),
        failed: (error) => this.#inbox.failed(error),
        ended: (reason) => void this.#end(reason),
      },
    });
    if (definition.scope === "node") return;
    const { hostId: host, run, owners, leaseMs } = options;
    const { clock, random, logger } = context;
    const common = { name, host, run, owners, leaseMs, clock, random, logger };
    this.#lease = new Lease({ ...common, acquired: () => this.#acquired(), lost: () => this.#lost() });
  }

  get phase(): ActorPhase {
    return this.#phase;
  }

  /** Why it came to its end by itself. */
  get endReason(): StopReason | undefined {
    return this.#endReason;
  }

  get machine(): Pick<Supervised, "state" | "restarts" | "snapshot" | "value"> {
    return this.#machine;
  }

  get mailboxSize(): number {
    return this.#inbox.size;
  }

  /** Fencing token of a swarm-wide name while this host owns it. */
  get epoch(): number | undefined {
    return this.#lease?.epoch;
  }

  /**
   * Resolves when the actor can be reached at its addresses, or stands by.
   *
   * @throws what the machine throws at its start, or what keeps it from its addresses; it has ended then
   */
  async start(): Promise<void> {
    if (this.#stopping !== undefined) throw shuttingDown(this.name);
    try {
      if (this.#lease === undefined) {
        this.#activate("caller");
      } else {
        await this.#lease.start();
      }
      if (this.#startFailure !== undefined) throw this.#startFailure.error;
      if (this.#phase === "starting") this.#standBy();
      await this.#opened;
    } catch (error) {
      await this.#end("stopped");
      throw error;
    }
    if (this.#stopping !== undefined) throw shuttingDown(this.name);
  }

  /**
   * Takes nothing new, lets the machine answer what it has for at most `graceMs`, stops it, answers the rest with
   * SHUTTING_DOWN and gives the name back. Idempotent.
   */
  stop(graceMs: number): Promise<void> {
    this.#stopping ??= this.#stop(graceMs);
    return this.#stopping;
  }

  /** Takes in one message, or answers why not. Never throws. */
  receive(incoming: Incoming): void {
    if (this.#phase === "stopping") {
      this.#inbox.refuse(incoming, shuttingDown(this.name));
    } else if (this.#phase !== "active") {
      this.#inbox.refuse(incoming, undeliverable(this.name));
    } else if (this.#lease?.check() === false) {
      // The new owner may have this very message and be about to answer it: two answers would be one too many.
      this.#inbox.refuse(incoming.shared ? { ...incoming, respond: undefined } : incoming, undeliverable(this.name));
    } else if (this.#inbox.admit(incoming)) {
      this.#pump();
    }
  }

  /** The lease is ours. At the first try the caller of `start` answers for a failure, later nobody is there but the supervisor. */
  #acquired(): void {
    if (this.#stopping !== undefined || this.#phase === "ended") return;
    const first = this.#phase === "starting";
    this.#activate(first ? "caller" : "supervisor");
    if (!first) this.#opened.catch((error: unknown) => this.#giveUp(error));
  }

  /** The machine first, then the addresses. */
  #activate(answers: "caller" | "supervisor"): void {
    try {
      this.#machine.start(answers);
    } catch (error) {
      this.#startFailure = { error };
      return;
    }
    // A machine may be at its final state at once.
    if (this.#machine.state === "ended") return;
    this.#phase = "active";
    this.#opened = this.#open();
  }

  /** The lease has ended: stop at once, then stand by. */
  #lost(): void {
    if (this.#phase !== "active" && this.#phase !== "stopping") return;
    this.#opening++;
    for (const subscription of this.#subscriptions.splice(0)) subscription.unsubscribe();
    this.#machine.stop("lease-lost");
    this.#inbox.loseAll(undeliverable(this.name));
    if (this.#phase === "active") this.#standBy();
  }

  #standBy(): void {
    this.#phase = "standby";
    const { inspection, clock } = this.#options.context;
    if (inspection.any) inspection.emit({ type: "standby", name: this.name, at: clock.now() });
  }

  /** The addresses of a name that was taken over do not open: the name goes to another host. */
  #giveUp(error: unknown): void {
    if (this.#phase === "ended" || this.#stopping !== undefined) return;
    const { logger } = this.#options.context;
    logger.error(
      { actor: this.name, error },
      "An actor's name could not be taken over; this host leaves it to others.",
    );
    void this.#end("failed");
  }

  /** Ends without grace. */
  async #end(reason: StopReason): Promise<void> {
    this.#endReason ??= reason;
    this.#phase = "ended";
    const closed = this.#close();
    this.#machine.stop(reason);
    this.#inbox.loseAll(undeliverable(this.name));
    await closed;
    await this.#lease?.stop();
  }

  async #stop(graceMs: number): Promise<void> {
    const { clock } = this.#options.context;
    if (this.#phase !== "ended") {
      this.#phase = "stopping";
      const until = clock.monotonic() + graceMs;
      await endsWithin(clock, graceMs, this.#close());
      await endsWithin(clock, Math.max(0, until - clock.monotonic()), this.#inbox.idle());
      this.#phase = "ended";
    }
    this.#machine.stop();
    this.#inbox.loseAll(shuttingDown(this.name));
    await this.#lease?.stop();
  }

  async #open(): Promise<void> {
    const { names, hostId } = this.#options;
    const opening = ++this.#opening;
    await this.#address(opening, names.actor(this.name, hostId), false);
    if (this.scope === "swarm") await this.#address(opening, names.actor(this.name), true);
  }

  /** Subscribes, also if that takes until the connection is back; gives up when the addresses were closed meanwhile. */
  async #address(opening: number, subject: string, shared: boolean): Promise<void> {
    while (opening === this.#opening) {
      try {
        const subscription = await this.#options.bus.subscribe(subject, (message) => this.#arrived(message, shared));
        if (opening === this.#opening) this.#subscriptions.push(subscription);
        else subscription.unsubscribe();
        return;
      } catch (error) {
        if (opening !== this.#opening) return;
        if (!(error instanceof VgasError && error.code === "TIMEOUT")) throw error;
      }
    }
  }

  /** Resolves when everything that had arrived was taken or refused. */
  async #close(): Promise<void> {
    this.#opening++;
    await Promise.all(this.#subscriptions.splice(0).map((subscription) => subscription.drain()));
  }

  #arrived(message: BusMessage, shared: boolean): void {
    const { bus } = this.#options;
    const tell = message.header(ACTOR_HEADERS.delivery) === DELIVERY_TELL;
    const timeoutMs = readTimeout(message.header(ACTOR_HEADERS.timeoutMs));
    const incoming = { data: message.data, tell, timeoutMs, shared };
    if (message.reply === undefined) {
      this.receive({ ...incoming, respond: undefined });
    } else if (isInbox(message.reply)) {
      this.receive({ ...incoming, respond: (reply) => void bus.respond(message, reply) });
    } else {
      const error = new VgasError("INVALID", "the reply subject is no inbox (_INBOX.…)");
      this.#inbox.refuse({ ...incoming, respond: undefined }, error);
    }
  }

  /** Gives the machine what waits, one letter after the other, also when a machine sends to itself. */
  #pump(): void {
    if (this.#pumping) return;
    if (this.#machine.busy) {
      // What the machine takes is decided by the state that it is on its way to.
      queueMicrotask(() => this.#pump());
      return;
    }
    this.#pumping = true;
    try {
      while (this.#machine.state === "running" && this.#lease?.check() !== false) {
        const letter = this.#inbox.take();
        if (letter === undefined) break;
        if (this.#machine.takes(letter.event)) {
          this.#machine.send(letter.event);
        } else {
          const state = JSON.stringify(this.#machine.value());
          letter.lose(
            new VgasError("UNDELIVERABLE", `actor "${this.name}" takes no "${letter.type}" in its state ${state}`),
          );
        }
      }
    } finally {
      this.#pumping = false;
    }
  }

  #input(): unknown {
    const { definition, name, hostId } = this.#options;
    const start: ActorStart = { name, host: hostId, epoch: this.epoch };
    return typeof definition.input === "function" ? definition.input(start) : definition.input;
  }
}

function readTimeout(header: string | undefined): number | undefined {
  const timeoutMs = Number(header);
  return header !== undefined && Number.isSafeInteger(timeoutMs) && timeoutMs > 0 ? timeoutMs : undefined;
}
