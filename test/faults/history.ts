/**
 * What happened in a world of faults, as its processes, its clients and its observers wrote it down. `check.ts` judges it.
 *
 * All moments are milliseconds of this machine's monotonic clock: every process reads the same one, and no clock that jumps
 * moves it.
 */
import type { TaskResult } from "../../src/protocols/result.ts";
import type { RosterRange, RotationRecord } from "../../src/protocols/rotation.ts";

export function moment(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Own ids of tasks that may run only once end so. */
export const ONCE = "-once";

interface At {
  readonly at: number;
}

/** What a client is about to submit, written before it does. `call` is unique in the history. */
export interface Submit extends At {
  readonly type: "submit";
  readonly call: string;
  readonly pool: string;
  readonly kind: string;
  /** Own ids of its tasks; null where the swarm gives them. */
  readonly ids: readonly string[] | null;
  /** Tasks in this message. */
  readonly count: number;
  readonly maxAttempts: number;
  /** How its tasks may end, whatever happens besides. */
  readonly ends: readonly TaskResult["status"][];
  /** Bytes that are no task, or a task that is none of ours: the reason that their dead letters have. */
  readonly hostile?: "malformed" | "invalid";
}

/**
 * How a submission came out. `accepted`: it was acknowledged; `ids` are those of its tasks. `refused`: it is known not to be
 * stored. `unknown`: nobody knows, a timeout for one.
 */
export type Outcome =
  | (At & { readonly type: "accepted"; readonly call: string; readonly ids: readonly string[] })
  | (At & { readonly type: "refused"; readonly call: string; readonly code: string })
  | (At & { readonly type: "unknown"; readonly call: string; readonly code: string });

/** A behaviour began to run. Written by it, before anything else. */
export interface Began extends At {
  readonly type: "began";
  readonly pool: string;
  readonly kind: string;
  readonly id: string;
  readonly attempt: number;
  readonly ticket: number;
  readonly agent: string;
  readonly host: string;
  readonly pid: number;
}

/** It returned or threw. One that was killed wrote nothing. */
export interface Ended extends At {
  readonly type: "ended";
  readonly id: string;
  readonly attempt: number;
  readonly agent: string;
  readonly host: string;
  readonly pid: number;
  /** It threw: another attempt may follow. */
  readonly threw: boolean;
}

/** A stored result, as an observer of the stream got it. */
export interface Saw extends At {
  readonly type: "saw";
  readonly sequence: number;
  readonly digest: string;
  readonly result: TaskResult;
}

/** What a client that waited for it was told of a task. */
export interface Told extends At {
  readonly type: "told";
  readonly pool: string;
  readonly id: string;
  readonly status: TaskResult["status"];
  readonly attempt: number;
  readonly finishedAt: number;
}

/** A process of the world began. */
export interface Started extends At {
  readonly type: "started";
  readonly process: string;
  readonly pid: number;
  readonly role: "dispatcher" | "host" | "node" | "broker" | "client";
  /** Of a node. */
  readonly host?: string;
}

/** It ended. `expected`: the world, or a failpoint, ended it so. */
export interface Exited extends At {
  readonly type: "exited";
  readonly process: string;
  readonly pid: number;
  readonly code: number | string;
  readonly expected: boolean;
  /** When SIGTERM was sent to it, if that is what ended it. */
  readonly stoppedAt?: number;
}

/** A fault struck; `process` is whom, where it is one. Without it whatever lies between the processes is struck. */
export interface Struck extends At {
  readonly type: "struck";
  readonly fault: string;
  readonly process?: string;
  /** It only keeps the host busy: no reason to put it out of the rotation before this moment. */
  readonly busyUntil?: number;
}

/** It is over. */
export interface Healed extends At {
  readonly type: "healed";
  readonly fault: string;
  readonly process?: string;
}

/** A heartbeat, as an observer heard it. */
export interface Beat extends At {
  readonly type: "beat";
  readonly host: string;
  readonly run: string;
}

/** A dispatcher put a host out of the rotation, as its log says. */
export interface Evicted extends At {
  readonly type: "evicted";
  readonly process: string;
  readonly host: string;
  readonly why: string;
}

export type Entry = Submit | Outcome | Began | Ended | Saw | Told | Started | Exited | Struck | Healed | Beat | Evicted;
export type History = readonly Entry[];

/** What is stored when everything has been drained. */
export interface Streams {
  /** Every message of the results stream. */
  readonly results: readonly { readonly sequence: number; readonly digest: string; readonly result: TaskResult }[];
  readonly dead: readonly { readonly id: string; readonly pool: string; readonly reason: string }[];
  /** Messages left in the task stream. */
  readonly waiting: number;
}

/** The rotation of one lane: what was ever seen stored under its keys, by revision. */
export interface LaneIndex {
  readonly pool: string;
  readonly kind: string;
  readonly records: readonly { readonly revision: number; readonly record: RotationRecord }[];
  readonly rosters: readonly { readonly revision: number; readonly ranges: readonly RosterRange[] }[];
}

export type Index = readonly LaneIndex[];

export type Promised = "P1" | "P2" | "P3" | "P4" | "P5" | "P6" | "P7" | "P8" | "P9";

export interface Violation {
  readonly promise: Promised;
  readonly what: string;
}
