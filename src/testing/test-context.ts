/** What a behaviour holds in a test: everything it does is kept for the test to look at. */

import type { TaskContext } from "../actors/agent/definition.ts";
import type { Run } from "../actors/agent/run.ts";
import type { TaskVault, VaultLease } from "../actors/agent/task-vault.ts";
import { decode, encode } from "../bus/codec/codec.ts";
import { VgasError } from "../protocols/errors.ts";
import { MAX_PAYLOAD_BYTES } from "../protocols/limits.ts";
import type { Logger } from "../protocols/logger.ts";
import type { TaskEvent } from "../protocols/result.ts";
import type { LogLine, TestVault } from "./test-agent.ts";

/** What the attempts of one task leave. */
export interface Kept {
  readonly events: TaskEvent[];
  readonly log: LogLine[];
  readonly checkpoints: unknown[];
}

export class TestContext implements TaskContext {
  readonly attempt: number;
  readonly ticket: number;
  readonly agent = "test-0";
  readonly host = "test";
  readonly traceparent = undefined;
  readonly log: Logger;
  readonly vault: TaskVault;
  readonly #run: Run;
  readonly #kept: Kept;
  readonly #now: () => number;
  #chunks = 0;

  constructor(run: Run, kept: Kept, vault: TestVault, now: () => number) {
    this.#run = run;
    this.#kept = kept;
    this.#now = now;
    this.attempt = run.attempt;
    this.ticket = run.ticket;
    const { id: task, attempt } = run;
    const { kind } = run.lane;
    const line = (level: LogLine["level"]) => (fields: object, message: string) =>
      void kept.log.push({ level, message, fields: { task, kind, attempt, ...fields } });
    this.log = { debug: line("debug"), info: line("info"), warn: line("warn"), error: line("error") };
    this.vault = vaultOf(run, vault);
  }

  get signal(): AbortSignal {
    return this.#run.signal;
  }

  get restored(): unknown {
    return this.#run.restored;
  }

  async checkpoint(state: unknown): Promise<void> {
    this.#run.throwIfEnded();
    this.#kept.checkpoints.push(asSent({ state }).state);
  }

  progress(data: unknown): void {
    this.#event("progress", data);
  }

  output(chunk: unknown): void {
    this.#event("output", { seq: this.#chunks++, chunk });
  }

  #event(type: TaskEvent["type"], data: unknown): void {
    const { id, attempt, ended } = this.#run;
    const bytes = encode({ id, type, at: this.#now(), attempt, data });
    if (ended) return;
    if (bytes.length > MAX_PAYLOAD_BYTES) {
      const room = `the server takes at most ${MAX_PAYLOAD_BYTES}`;
      throw new VgasError("TOO_LARGE", `the event has ${bytes.length} bytes, ${room}`);
    }
    this.#kept.events.push(decode(bytes) as TaskEvent);
  }
}

/** What arrives of a value that is sent. @throws VgasError INVALID_OUTPUT if it cannot be sent */
export function asSent<T>(value: T): T {
  return decode(encode(value)) as T;
}

function vaultOf(run: Run, { keys = {}, fetch }: TestVault): TaskVault {
  const admit = (provider: string): void => {
    run.throwIfEnded();
    if (run.providers.includes(provider)) return;
    throw new VgasError(
      "GRANT_VOID",
      `the agent does not declare the provider "${provider}": add providers: ["${provider}"] to its defineAgent`,
    );
  };
  return {
    lease: async (provider) => {
      admit(provider);
      const key = keys[provider];
      if (key === undefined) throw new VgasError("NOT_FOUND", `the test gives no key of ${provider}: vault.keys`);
      return new TestLease(run, provider, key);
    },
    fetch: async (provider, input, init) => {
      admit(provider);
      if (!fetch) throw new VgasError("NOT_FOUND", `the test answers no call to ${provider}: vault.fetch`);
      return await fetch(provider, new Request(input, init));
    },
  };
}

class TestLease implements VaultLease {
  readonly provider: string;
  readonly key = "test";
  readonly version = 1;
  readonly expiresAt = Number.MAX_SAFE_INTEGER;
  readonly #run: Run;
  readonly #secret: string;
  #released = false;

  constructor(run: Run, provider: string, secret: string) {
    this.#run = run;
    this.provider = provider;
    this.#secret = secret;
  }

  use<T>(read: (key: Buffer) => T): T {
    if (this.#released || this.#run.ended)
      throw new VgasError("GRANT_VOID", `the lease of ${this.provider}/${this.key} is over`);
    return read(Buffer.from(this.#secret));
  }

  text(): string {
    return this.use((key) => key.toString());
  }

  release(): void {
    this.#released = true;
  }
}
