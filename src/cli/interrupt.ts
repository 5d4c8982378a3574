/**
 * SIGINT, SIGTERM and SIGHUP. The first asks the command to end, in its own way; the second ends the process at once. Exit
 * handlers run in both cases, so a nats-server of this process is told to stop.
 */
import { readFileSync } from "node:fs";
import { VgasError } from "../protocols/errors.ts";
import { EXIT } from "./failure.ts";

export type StopSignal = "SIGINT" | "SIGTERM" | "SIGHUP";

export class Interrupt {
  readonly #controller = new AbortController();
  #first: StopSignal | undefined;

  constructor() {
    const signals: readonly StopSignal[] = hangupIsIgnored() ? ["SIGINT", "SIGTERM"] : ["SIGINT", "SIGTERM", "SIGHUP"];
    for (const name of signals) process.on(name, () => this.#received(name));
  }

  /** Aborted by the first signal. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The first signal that came. */
  get received(): StopSignal | undefined {
    return this.#first;
  }

  /** Exit code of a command that ends because of the signal. */
  get exitCode(): number {
    return EXIT[this.#first ?? "SIGINT"];
  }

  /** Whether `error` only says that the signal was obeyed. */
  explains(error: unknown): boolean {
    return this.#first !== undefined && error instanceof VgasError && error.code === "ABORTED";
  }

  #received(name: StopSignal): void {
    if (this.#first !== undefined) process.exit(EXIT[name]);
    this.#first = name;
    this.#controller.abort();
  }
}

/** True under `nohup`: a handler of ours would undo it. Where it cannot be known, it is not. */
function hangupIsIgnored(): boolean {
  try {
    const [, ignored = "0"] = /^SigIgn:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
    return (BigInt(`0x${ignored}`) & 1n) === 1n;
  } catch {
    return false;
  }
}
