/**
 * Something that is done once, and whose reply can be asked for again because it may have been lost.
 *
 * 1. At most one asker waits: whoever asks again takes the place of the one before, who gets TIMEOUT. So nobody can have any number of
 *    requests wait for one thing, and it never holds more than one of them.
 * 2. It is TIMEOUT and not an empty reply, since that would be one: should the two have come in the wrong order, the asker that is
 *    still there asks once more, and nothing is lost.
 */
import { VgasError } from "../../../protocols/errors.ts";
import type { CallReply } from "../../../protocols/vault/operations.ts";

interface Asker {
  resolve(reply: CallReply): void;
  reject(error: unknown): void;
}

export class Repeatable {
  readonly #work: Promise<CallReply>;
  readonly #what: string;
  #pending = true;
  #asker: Asker | undefined;

  /** `what` is done, for the error: `read 3`. That `work` fails is for the askers alone. */
  constructor(work: Promise<CallReply>, what: string) {
    this.#work = work;
    this.#what = what;
    work.then(
      (reply) => this.#over()?.resolve(reply),
      (error: unknown) => this.#over()?.reject(error),
    );
  }

  /** There is no reply yet. */
  get pending(): boolean {
    return this.#pending;
  }

  /** Settles as the work does. Rejects with TIMEOUT when somebody else asks before that. */
  reply(): Promise<CallReply> {
    if (!this.#pending) return this.#work;
    this.#asker?.reject(new VgasError("TIMEOUT", `${this.#what} was asked for again, and that is answered instead`));
    return new Promise((resolve, reject) => {
      this.#asker = { resolve, reject };
    });
  }

  #over(): Asker | undefined {
    const asker = this.#asker;
    this.#asker = undefined;
    this.#pending = false;
    return asker;
  }
}
