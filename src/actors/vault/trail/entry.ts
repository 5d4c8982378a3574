/** What the vault writes down of each thing that it does or refuses: the audit trail and the ledger of use in one. */
import type { Usage } from "../../../protocols/vault/keys.ts";
import type { OperationName } from "../../../protocols/vault/operations.ts";

export interface Who {
  readonly user: string;
  readonly role: string;
  /** Host id of a node. */
  readonly host?: string;
}

export interface TaskName {
  readonly pool: string;
  readonly kind: string;
  readonly id: string;
  readonly attempt: number;
  readonly agent: string;
}

/**
 * Besides the operations: `call-end` of a brokered call; `start` and `stop` of the vault's process; `recovered`: a torn end was cut
 * off; `witness`: what the file's witness said; `refusals`: a count of requests that nobody known had signed, or of what a known user
 * was refused beyond what is written one by one; `unknown`: a known user's request that could not be read. The trail's own:
 * `segment` begins a file, `epoch` ends the use of a key, `resumed`: the trail could be written again after a failure.
 */
export type TrailOperation =
  | OperationName
  | "call-end"
  | "epoch"
  | "recovered"
  | "refusals"
  | "resumed"
  | "segment"
  | "start"
  | "stop"
  | "unknown"
  | "witness";

/** One thing that happened. Never holds a key, a passphrase, a body or a header. */
export interface TrailEntry {
  readonly op: TrailOperation;
  readonly outcome: "ok" | "refused" | "failed";
  readonly who?: Who;
  /** `CODE: message` of what was refused or failed. */
  readonly why?: string;
  readonly provider?: string;
  readonly key?: string;
  readonly version?: number;
  readonly task?: TaskName;
  /** What this adds to the counters. */
  readonly usage?: Partial<Usage>;
  /** Other facts: generation, origin, status, id of a call. */
  readonly detail?: Readonly<Record<string, string | number | boolean>>;
}

/** An entry as it stands in the trail, without its MAC. Times are milliseconds since the epoch. */
export interface TrailRecord extends TrailEntry {
  readonly seq: number;
  readonly at: number;
}
