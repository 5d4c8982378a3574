/**
 * The gate between guests and the swarm. A guest is in an account of its own, out of which lead three exported subjects; behind
 * them stands this. It runs on the node that owns the broker.
 *
 * Owns the subscriptions to those subjects, and counts what is under way, and what of each guest is in the queue (queued.ts).
 *
 * Invariants
 * 1. Nothing of a guest reaches a stream unless the rules (rules.ts) admitted it.
 * 2. A guest reads only what its own name stands before; anything else is to it as if it were not there.
 * 3. What is under way is bounded, for each guest and for all: beyond that it is refused at once, and the guest may try again.
 *    So guests take no memory of the node, and no more than half of its publisher's window.
 * 4. Each request with a reply subject is answered once, where the server wants the answer (`Bus.respondAcrossAccounts`), and
 *    as JetStream would answer it. Only a node that dies leaves one without an answer.
 * 5. What a guest may have stored and not finished is bounded: beyond that it is refused until some of it has ended. So no guest
 *    fills the queue for the others.
 * 6. A submission with a message id is stored at most once, also when its answer is lost; one without is sent once.
 */
import type { Bus, BusMessage, Subscription } from "../../bus/bus.ts";
import { statusHeaders } from "../../bus/headers.ts";
import type { Publisher } from "../../bus/publisher.ts";
import { lastBySubject } from "../../bus/stored.ts";
import type { Clock } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import { isOwnId } from "../../protocols/guests.ts";
import type { Logger } from "../../protocols/logger.ts";
import type { Names } from "../../protocols/subjects.ts";
import { isToken } from "../../protocols/tokens.ts";
import { Allowance, type Limits } from "./allowance.ts";
import { ackOf, headersOfStored, refusalOf } from "./answers.ts";
import { LiveResults } from "./live-results.ts";
import { type Counted, Queued } from "./queued.ts";
import { admit } from "./rules.ts";

export interface GuestGateOptions {
  readonly bus: Bus;
  readonly publisher: Publisher;
  readonly names: Names;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Names of the guests that there are: asked for at the start, when a new one is heard, and every 30 s. */
  readonly guests: () => Promise<Iterable<string>>;
}

/** The publisher of a node has 4 096 messages and 32 MiB in flight. */
const SUBMISSIONS: Limits = {
  perGuest: { messages: 1_024, bytes: 8 * 2 ** 20 },
  all: { messages: 2_048, bytes: 16 * 2 ** 20 },
};
/** A read brings at most a message of 1 MiB into memory. */
const READS: Limits = {
  perGuest: { messages: 64, bytes: Number.POSITIVE_INFINITY },
  all: { messages: 128, bytes: Number.POSITIVE_INFINITY },
};
/** A stop waits this long for the answers of what is under way. */
const STOP_MS = 2_000;

const NOTHING = new Uint8Array();
const NOT_FOUND = statusHeaders(404, "Message Not Found");
const TOO_MANY = statusHeaders(429, "Too Many Requests");
const UNAVAILABLE = statusHeaders(503, "Service Unavailable");

export class GuestGate {
  readonly #options: GuestGateOptions;
  readonly #live: LiveResults;
  readonly #queued: Queued;
  readonly #submissions = new Allowance(SUBMISSIONS);
  readonly #reads = new Allowance(READS);
  readonly #subscriptions: Subscription[] = [];
  readonly #idleWaiters: (() => void)[] = [];
  #stored = 0;
  #refused = 0;
  #stopping: Promise<void> | undefined;

  constructor(options: GuestGateOptions) {
    this.#options = options;
    this.#queued = new Queued(options);
    this.#live = new LiveResults({
      ...options,
      onResult: (guest, task) => this.#queued.finished(guest, task),
      onGuests: (guests) => this.#queued.present(guests),
    });
  }

  /** Submissions that were stored and refused, and results that were shown live, since the start. */
  get counters(): { readonly stored: number; readonly refused: number; readonly shown: number } {
    return { stored: this.#stored, refused: this.#refused, shown: this.#live.shown };
  }

  /** Resolves when guests are served. @throws VgasError PERMISSION_DENIED, TIMEOUT, SHUTTING_DOWN */
  async start(): Promise<void> {
    const { bus, names } = this.#options;
    const open = async (operation: "tasks" | "read", handler: (message: BusMessage) => void): Promise<void> => {
      const subscription = await bus.subscribe(names.guest("*", operation, "*", "*"), handler);
      if (this.#stopping === undefined) this.#subscriptions.push(subscription);
      else subscription.unsubscribe();
    };
    await Promise.all([
      open("tasks", (message) => this.#submit(message)),
      open("read", (message) => this.#read(message)),
      this.#live.start(),
    ]);
  }

  /** Takes nothing new, and waits a moment for what is under way. Idempotent; works before the start. */
  stop(): Promise<void> {
    this.#stopping ??= (async () => {
      this.#live.stop();
      await Promise.all(this.#subscriptions.map((subscription) => subscription.drain()));
      await this.#idle();
    })();
    return this.#stopping;
  }

  #submit(message: BusMessage): void {
    const { publisher, names } = this.#options;
    const { guest, pool, name: kind } = partsOf(message.subject);
    this.#live.know(guest);
    let release: (() => void) | undefined;
    let counted: Counted | undefined;
    try {
      release = this.#submissions.take(guest, message.data.length);
      if (release === undefined)
        throw new VgasError("RESOURCE_LIMIT", "too much is under way already; send less at once, and try again");
      const { ids, msgId, headers } = admit(guest, { pool, kind }, message);
      counted = this.#queued.add(guest, pool, ids, message.data.length);
      const options = msgId === undefined ? { retry: false } : { msgId };
      const [done, submission] = [release, counted];
      publisher.send(
        names.task(pool, kind),
        message.data,
        headers,
        (error, ack) => {
          done();
          submission.settle(error, ack);
          if (ack === undefined) this.#refuse(message, guest, asVgasError(error));
          else {
            this.#stored++;
            this.#answer(message, ackOf(ack));
          }
          this.#settled();
        },
        options,
      );
    } catch (error) {
      release?.();
      counted?.cancel();
      this.#refuse(message, guest, asVgasError(error));
    }
  }

  #refuse(message: BusMessage, guest: string, error: VgasError): void {
    this.#refused++;
    this.#options.logger.debug({ guest, subject: message.subject, code: error.code }, error.message);
    this.#answer(message, refusalOf(error));
  }

  #read(message: BusMessage): void {
    const { guest, pool, name: id } = partsOf(message.subject);
    if (message.reply === undefined) return;
    if (!isToken(pool) || !isOwnId(guest, id)) {
      this.#answer(message, NOTHING, NOT_FOUND);
      return;
    }
    const release = this.#reads.take(guest, 0);
    if (release === undefined) {
      this.#answer(message, NOTHING, TOO_MANY);
      return;
    }
    const { bus, names, logger } = this.#options;
    void lastBySubject(bus, names.streams.results, names.result(pool, id))
      .then(
        (stored) => {
          if (stored === undefined) this.#answer(message, NOTHING, NOT_FOUND);
          else this.#answer(message, stored.data, headersOfStored(stored));
        },
        (error: unknown) => {
          logger.debug({ guest, error: String(error) }, "a guest's read failed");
          this.#answer(message, NOTHING, UNAVAILABLE);
        },
      )
      .finally(() => {
        release();
        this.#settled();
      });
  }

  /** Never throws: an answer that cannot be sent is asked for again. */
  #answer(message: BusMessage, ...answer: AnswerOf): void {
    const { bus, logger } = this.#options;
    try {
      bus.respondAcrossAccounts(message, ...answer);
    } catch (error) {
      logger.debug({ subject: message.subject, error: String(error) }, "a guest could not be answered");
    }
  }

  get #busy(): boolean {
    return this.#submissions.messages + this.#reads.messages > 0;
  }

  #settled(): void {
    if (!this.#busy) for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }

  async #idle(): Promise<void> {
    if (!this.#busy) return;
    const { clock } = this.#options;
    await new Promise<void>((resolve) => {
      const timer = clock.setTimeout(resolve, STOP_MS);
      this.#idleWaiters.push(() => {
        clock.clear(timer);
        resolve();
      });
    });
  }
}

type AnswerOf = readonly [data: Uint8Array, headers?: Parameters<Bus["respondAcrossAccounts"]>[2]];

/** Of `<prefix>.guests.<guest>.<operation>.<pool>.<name>`, which is what the subscriptions bring: a prefix is one token. */
function partsOf(subject: string): { readonly guest: string; readonly pool: string; readonly name: string } {
  const [, , guest = "", , pool = "", name = ""] = subject.split(".");
  return { guest, pool, name };
}

function asVgasError(error: unknown): VgasError {
  return error instanceof VgasError ? error : new VgasError("INTERNAL", String(error), { cause: error });
}
