/**
 * A time limit, and whatever else ends an operation, in one signal. Not `AbortSignal.any` with `AbortSignal.timeout` in it: Node 20
 * holds the parts weakly, so the timeout can be collected as garbage, and then never fires.
 */
export class Deadline {
  readonly #controller = new AbortController();
  readonly #parts: readonly AbortSignal[];
  readonly #timer: NodeJS.Timeout | undefined;
  #expired = false;

  /** Without `afterMs` it never expires. */
  constructor(afterMs: number | undefined, ...others: readonly (AbortSignal | undefined)[]) {
    this.#parts = others.filter((part) => part !== undefined);
    for (const part of this.#parts) {
      if (part.aborted) this.#controller.abort(part.reason);
      else part.addEventListener("abort", this.#onAbort);
    }
    if (afterMs === undefined || this.signal.aborted) return;
    this.#timer = setTimeout(() => {
      this.#expired = true;
      this.#controller.abort(new DOMException(`timed out after ${afterMs} ms`, "TimeoutError"));
    }, afterMs);
  }

  /** Fires when the time is over, or one of the others does. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The time was over before anything else ended the operation. */
  get expired(): boolean {
    return this.#expired;
  }

  /** The operation has ended: nothing fires any more. */
  clear(): void {
    clearTimeout(this.#timer);
    for (const part of this.#parts) part.removeEventListener("abort", this.#onAbort);
  }

  readonly #onAbort = (event: Event): void => {
    clearTimeout(this.#timer);
    this.#controller.abort(event.target instanceof AbortSignal ? event.target.reason : undefined);
  };
}
