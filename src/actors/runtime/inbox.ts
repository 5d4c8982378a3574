/**
 * The inbox of an actor: bytes in, checked letters for the machine, answers out.
 *
 * Owns the bounded mailbox and the answer to every letter in it.
 *
 * Invariants
 * 1. Whoever can be answered is answered once, whatever becomes of the actor; a loss that nobody can be told of is a dead letter.
 * 2. A letter counts until the machine has processed it (told) or answered it (asked), and never longer than its sender waits, so an
 *    actor that forgets to answer does not fill its mailbox for ever.
 */
import type { EventObject } from "xstate";
import type { Timer } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import { toWireError } from "../../protocols/wire-error.ts";
import type { RuntimeContext } from "./context.ts";
import type { MessageTable } from "./definition.ts";
import { Letter, type Outcome } from "./letter.ts";
import { Mailbox } from "./mailbox.ts";
import { checkFields, type Encoding, encodingOf, type ReadMessage, readMessage, writeReply } from "./wire.ts";

/** A message on its way in. */
export interface Incoming {
  readonly data: Uint8Array;
  /** Answer when the mailbox has it. */
  readonly tell: boolean;
  /** How long the sender waits, ms, if it said so. */
  readonly timeoutMs: number | undefined;
  /** It came to the swarm-wide address, where a new owner may have got it too. */
  readonly shared: boolean;
  /** Undefined where nobody waits. */
  readonly respond: ((reply: Uint8Array) => void) | undefined;
}

export interface InboxOptions {
  readonly name: string;
  readonly protocol: MessageTable;
  readonly mailboxLimit: number;
  readonly context: RuntimeContext;
  /** How long a question counts if its sender does not say, ms. */
  readonly answerWithinMs: number;
  /** Largest reply, in bytes; a function, because another server may take another size. */
  readonly maxReplyBytes: () => number;
  readonly deadLetter: (message: string | undefined, error: VgasError) => void;
}

/** A sender that claims to wait longer is not believed. */
const MAX_ANSWER_MS = 3_600_000;

export class Inbox {
  readonly #options: InboxOptions;
  readonly #mailbox: Mailbox;

  constructor(options: InboxOptions) {
    this.#options = options;
    this.#mailbox = new Mailbox(options.mailboxLimit);
  }

  /** Letters waiting or unanswered. */
  get size(): number {
    return this.#mailbox.size;
  }

  /** Resolves when nothing waits and nothing is unanswered. */
  idle(): Promise<void> {
    return this.#mailbox.idle();
  }

  /** The next letter, now in the machine's hands. */
  take(): Letter | undefined {
    return this.#mailbox.take();
  }

  /** Puts a message into the mailbox, or answers why not. Says whether it is there. Never throws. */
  admit(incoming: Incoming): boolean {
    let type: string | undefined;
    try {
      const message = readMessage(incoming.data);
      type = message.type;
      this.#put(incoming, message);
      return true;
    } catch (error) {
      this.refuse(
        incoming,
        error instanceof VgasError ? error : new VgasError("INTERNAL", String(error), { cause: error }),
        type,
      );
      return false;
    }
  }

  /** Answers a message that does not get into the mailbox. */
  refuse(incoming: Incoming, error: VgasError, type?: string): void {
    if (incoming.respond === undefined) this.#options.deadLetter(type, error);
    else this.#answer(incoming.respond, { error }, encodingOf(incoming.data));
  }

  /** The machine has taken the event without failing. */
  processed(event: EventObject): void {
    const letter = this.#mailbox.letterOf(event);
    if (letter === undefined) return;
    if (!letter.asked) {
      letter.processed();
      this.#mailbox.remove(letter);
    } else if (this.#options.protocol[letter.type]?.reply === undefined) {
      letter.answer(null);
    }
  }

  /** The machine failed: what it had is lost, what waits for it is kept. */
  failed(error: unknown): void {
    const { message } = toWireError(error);
    const { name } = this.#options;
    for (const letter of this.#mailbox.taken) {
      letter.lose(
        new VgasError("AGENT_ERROR", `actor "${name}" failed before it was done with "${letter.type}": ${message}`),
      );
    }
  }

  loseAll(error: VgasError): void {
    for (const letter of this.#mailbox.all) letter.lose(error);
  }

  #put(incoming: Incoming, message: ReadMessage): void {
    const { name, protocol } = this.#options;
    const { type, encoding } = message;
    const spec = Object.hasOwn(protocol, type) ? protocol[type] : undefined;
    if (spec === undefined) throw new VgasError("UNKNOWN_MESSAGE", `actor "${name}" has no message "${type}"`);
    if (this.#mailbox.full) {
      throw new VgasError("MAILBOX_FULL", `actor "${name}" has ${this.#mailbox.limit} messages unread or unanswered`);
    }
    const fields = checkFields(spec, message);
    const { respond } = incoming;
    if (incoming.tell || respond === undefined) {
      this.#mailbox.put(this.#told(type, fields));
      if (respond !== undefined) this.#answer(respond, { value: null }, encoding);
    } else {
      this.#mailbox.put(
        this.#asked(type, fields, incoming.timeoutMs, (outcome) => this.#answer(respond, outcome, encoding)),
      );
    }
  }

  #told(type: string, fields: object): Letter {
    const settle = (outcome: Outcome): void => {
      this.#mailbox.remove(letter);
      if ("error" in outcome && outcome.error instanceof VgasError) this.#options.deadLetter(type, outcome.error);
    };
    const letter = new Letter({ type, fields, asked: false, settle });
    return letter;
  }

  #asked(type: string, fields: object, timeoutMs: number | undefined, answer: (outcome: Outcome) => void): Letter {
    const { name, context, answerWithinMs } = this.#options;
    const delayMs = Math.min(timeoutMs ?? answerWithinMs, MAX_ANSWER_MS);
    let timer: Timer | undefined;
    const settle = (outcome: Outcome): void => {
      context.clock.clear(timer);
      this.#mailbox.remove(letter);
      answer(this.#checkedReply(type, outcome));
    };
    const letter = new Letter({ type, fields, asked: true, settle });
    timer = context.clock.setTimeout(() => {
      letter.lose(new VgasError("TIMEOUT", `${name}.${type} timed out after ${delayMs} ms`));
    }, delayMs);
    return letter;
  }

  /** What the protocol says about replies holds for the machine too. */
  #checkedReply(type: string, outcome: Outcome): Outcome {
    const { name, protocol, context } = this.#options;
    const schema = protocol[type]?.reply;
    if ("error" in outcome || schema === undefined) return outcome;
    let cause: unknown;
    try {
      const parsed = schema.safeParse(outcome.value);
      if (parsed.success) return { value: parsed.data };
      cause = parsed.error;
    } catch (error) {
      cause = error;
    }
    const message = `the reply of actor "${name}" to "${type}" is not what its protocol says`;
    context.logger.error({ actor: name, message: type, error: cause }, message);
    return { error: new VgasError("INVALID_OUTPUT", message, { cause }) };
  }

  #answer(respond: (reply: Uint8Array) => void, outcome: Outcome, encoding: Encoding): void {
    const { name, context, maxReplyBytes } = this.#options;
    try {
      respond(writeReply(outcome, encoding, maxReplyBytes()));
    } catch (error) {
      context.logger.warn({ actor: name, error }, "An answer of an actor could not be sent.");
    }
  }
}
