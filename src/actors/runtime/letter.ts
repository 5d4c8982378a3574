import type { EventObject } from "xstate";
import type { VgasError } from "../../protocols/errors.ts";

/** How a letter ended for its sender. */
export type Outcome = { readonly value: unknown } | { readonly error: unknown };

export interface LetterOptions {
  readonly type: string;
  readonly fields: object;
  /** Asked: `settle` waits for an answer. Told: it waits for nothing, and only learns of a loss. */
  readonly asked: boolean;
  /** Called once: with the answer to what was asked, or with the error by which the letter was lost. */
  readonly settle: (outcome: Outcome) => void;
}

/** One message in the hands of an actor. `event` is what the machine gets: the fields, `reply` and `fail`. */
export class Letter {
  readonly type: string;
  readonly asked: boolean;
  readonly event: EventObject;
  readonly #settle: (outcome: Outcome) => void;
  #settled = false;

  constructor({ type, fields, asked, settle }: LetterOptions) {
    this.type = type;
    this.asked = asked;
    this.#settle = settle;
    const reply = (value: unknown): void => {
      if (asked) this.#end({ value });
    };
    const fail = (error: unknown): void => {
      if (asked) this.#end({ error });
    };
    this.event = Object.assign({ ...fields, type }, { reply, fail });
  }

  /** Answered, processed or lost: nothing more follows from it. */
  get settled(): boolean {
    return this.#settled;
  }

  /** The machine has taken it, and nobody waits for an answer. */
  processed(): void {
    this.#settled = true;
  }

  answer(value: unknown): void {
    this.#end({ value });
  }

  lose(error: VgasError): void {
    this.#end({ error });
  }

  #end(outcome: Outcome): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#settle(outcome);
  }
}
