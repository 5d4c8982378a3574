/**
 * What a node and the process of an isolated behaviour say to each other, over the process's IPC channel. One task at a time.
 *
 * | message | sender | answer |
 * |---|---|---|
 * | run | node | `ended` or `failed`, with its number |
 * | abort | node | none; a process that has not ended its task soon after is killed |
 * | answer, refusal | node | to an `ask` of that number |
 * | progress, output, log, usage | process | none |
 * | ask | process | `answer` or `refusal` |
 * | drop | process | none: the answer to that `ask` is no longer wanted |
 * | ended, failed | process | none |
 *
 * What behaviours made travels as msgpack, so that it is checked where it was made, as it is in a node. `run` numbers the tasks
 * of a process: what belongs to an earlier one is ignored.
 */

import type { Logger } from "../../../protocols/logger.ts";
import type { Usage } from "../../../protocols/vault/keys.ts";
import type { WireError } from "../../../protocols/wire-error.ts";
import type { Task } from "../definition.ts";

/** An agent that a module exports: it can be loaded again elsewhere. */
export interface ModuleAgent {
  /** Absolute path. */
  readonly file: string;
  /** Place among those that the module exports. */
  readonly index: number;
}

export interface RunMessage {
  readonly type: "run";
  readonly run: number;
  readonly module: ModuleAgent;
  readonly task: Task;
  readonly attempt: number;
  readonly ticket: number;
  readonly agent: string;
  readonly host: string;
  readonly traceparent: string | undefined;
  readonly restored: unknown;
  readonly providers: readonly string[];
  readonly grant: Uint8Array | undefined;
}

export type ToProcess =
  | RunMessage
  | { readonly type: "abort"; readonly run: number; readonly error: WireError }
  | { readonly type: "answer"; readonly n: number; readonly value: unknown }
  | { readonly type: "refusal"; readonly n: number; readonly error: WireError };

/** What a process asks its node. `vault`: an operation in the node's name, for the task that runs. */
export type Question =
  | { readonly what: "checkpoint"; readonly state: Uint8Array }
  | {
      readonly what: "vault";
      readonly op: "lease" | "call";
      readonly args: Readonly<Record<string, unknown>>;
      readonly timeoutMs: number;
    };

/** Answer to a question to the vault. `aheadMs`: wall clock of the machine less that of the vault. */
export interface VaultAnswer {
  readonly reply: unknown;
  readonly digest: Uint8Array;
  readonly aheadMs: number;
}

export type FromProcess = { readonly run: number } & (
  | { readonly type: "progress" | "output"; readonly data: Uint8Array }
  | { readonly type: "log"; readonly level: keyof Logger; readonly fields: object; readonly message: string }
  | { readonly type: "usage"; readonly usage: Usage }
  | { readonly type: "ask"; readonly n: number; readonly question: Question }
  | { readonly type: "drop"; readonly n: number }
  | { readonly type: "ended"; readonly output: Uint8Array | undefined }
  | { readonly type: "failed"; readonly error: WireError }
);
