import type { Receipt } from "../../protocols/host-messages.ts";

/** Receipts and recalls remembered per dispatcher: many times what it can have open within the second it waits. */
const REMEMBERED = 1_024;

/** Dispatchers remembered: more than ever deal at once. */
const DISPATCHERS = 64;

interface Memory {
  readonly receipts: Map<number, Receipt>;
  readonly recalled: Set<number>;
}

/** What was answered to which burst, so that a dispatcher that missed the receipt can ask again. */
export class Receipts {
  readonly #byDispatcher = new Map<string, Memory>();

  keep(dispatcher: string, receipt: Receipt): void {
    const { receipts } = this.#of(dispatcher);
    receipts.set(receipt.burst, receipt);
    if (receipts.size > REMEMBERED) receipts.delete(oldest(receipts.keys()));
  }

  /** The receipt of `burst`; undefined if it never came, and then it is never taken. */
  recall(dispatcher: string, burst: number): Receipt | undefined {
    const { receipts, recalled } = this.#of(dispatcher);
    const receipt = receipts.get(burst);
    if (!receipt) {
      recalled.add(burst);
      if (recalled.size > REMEMBERED) recalled.delete(oldest(recalled.values()));
    }
    return receipt;
  }

  isRecalled(dispatcher: string, burst: number): boolean {
    return this.#byDispatcher.get(dispatcher)?.recalled.has(burst) ?? false;
  }

  #of(dispatcher: string): Memory {
    let memory = this.#byDispatcher.get(dispatcher);
    if (!memory) {
      memory = { receipts: new Map(), recalled: new Set() };
      this.#byDispatcher.set(dispatcher, memory);
      // Each life of a dispatcher has an id of its own.
      if (this.#byDispatcher.size > DISPATCHERS) this.#byDispatcher.delete(oldest(this.#byDispatcher.keys()));
    }
    return memory;
  }
}

function oldest<T>(items: Iterator<T>): T {
  return items.next().value as T;
}
