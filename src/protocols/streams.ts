/** The one table of streams and buckets. bus/topology.ts makes what is missing and reports what differs. */
import { MAX_TASK_BYTES } from "./limits.ts";
import type { Names } from "./subjects.ts";

export interface TopologyOptions {
  readonly replicas: number;
  /** How long results are kept, ms. */
  readonly resultsTtlMs: number;
  /** Size caps, bytes. */
  readonly maxTaskBytes: number;
  /** Most messages of a lane and priority that are not finished; 0 is no limit. */
  readonly maxWaiting: number;
  readonly maxResultBytes: number;
  readonly maxDeadBytes: number;
  /** Tasks and results may come in atomic batches. Undefined leaves it as it is, or to the server's default. */
  readonly batches?: boolean | undefined;
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

export const TOPOLOGY_DEFAULTS: TopologyOptions = {
  replicas: 1,
  resultsTtlMs: DAY_MS,
  maxTaskBytes: 16 * 2 ** 30,
  maxWaiting: 0,
  maxResultBytes: 8 * 2 ** 30,
  maxDeadBytes: 2 ** 30,
};

/** A stream as vgas needs it; durations in ms, sizes in bytes; -1 is unlimited. */
export interface StreamSpec {
  readonly name: string;
  readonly subjects: readonly string[];
  readonly retention: "limits" | "workqueue";
  readonly discard: "old" | "new";
  readonly discardNewPerSubject: boolean;
  readonly maxMsgsPerSubject: number;
  readonly maxBytes: number;
  readonly maxMsgSize: number;
  readonly maxAgeMs: number;
  readonly duplicateWindowMs: number;
  readonly allowDirect: boolean;
  readonly replicas: number;
  /** First sequence of a new stream is the microseconds since the epoch, so automatic ids never repeat after a loss of the store. */
  readonly firstSequenceIsTime: boolean;
  /** What is stored can be neither deleted nor purged; the server never takes that back. */
  readonly appendOnly: boolean;
  /** It takes atomic batches; undefined leaves that as it is. */
  readonly batches?: boolean | undefined;
  /** It takes fast-ingest batches, where the server knows them. */
  readonly fastBatches: boolean;
}

export interface BucketSpec {
  readonly name: string;
  readonly history: number;
  readonly maxAgeMs: number;
  readonly replicas: number;
  /** Direct reads can be stale; false sends every read to the leader. */
  readonly allowDirect: boolean;
  /** A key's history can be neither purged nor deleted; the server never takes that back. */
  readonly appendOnly?: boolean;
}

/** An object store: a stream by the convention of NATS that object-store clients keep. */
export interface ObjectStoreSpec {
  readonly name: string;
  readonly maxAgeMs: number;
  readonly replicas: number;
}

/** Durable consumer of a lane: the dispatchers' credit is the limit, so nothing else limits it. */
export const LANE_CONSUMER = {
  ackWaitMs: 10_000,
  maxDeliver: -1,
  maxAckPending: -1,
  maxWaiting: 4_096,
} as const;

const DUPLICATE_WINDOW_MS = 120_000;

/** A task that was cancelled while it waited is dropped when it is reached, if that is within this. */
const CANCELS_MS = 90 * DAY_MS;

/** Inputs go with their task. Those of a failed one stay for its replay, and this bounds what nobody removes. */
const INPUTS_MS = 30 * DAY_MS;

/** About 180 000 checkpoints of 350 bytes. Each vouches for all records before it, so losing the oldest loses nothing. */
const MAX_AUDIT_BYTES = 64 * 2 ** 20;

export function streamSpecs(names: Names, options: TopologyOptions): readonly StreamSpec[] {
  const common = {
    allowDirect: true,
    replicas: options.replicas,
    duplicateWindowMs: DUPLICATE_WINDOW_MS,
    maxMsgSize: -1,
    appendOnly: false,
    fastBatches: false,
  } as const;
  return [
    {
      ...common,
      name: names.streams.tasks,
      subjects: names.tasks("*", "*"),
      retention: "workqueue",
      discard: "new",
      discardNewPerSubject: options.maxWaiting > 0,
      maxMsgsPerSubject: options.maxWaiting > 0 ? options.maxWaiting : -1,
      maxBytes: options.maxTaskBytes,
      maxMsgSize: MAX_TASK_BYTES,
      maxAgeMs: 0,
      firstSequenceIsTime: true,
      batches: options.batches,
    },
    {
      ...common,
      name: names.streams.results,
      subjects: [names.result("*", "*")],
      retention: "limits",
      discard: "new",
      discardNewPerSubject: true,
      maxMsgsPerSubject: 1,
      maxBytes: options.maxResultBytes,
      maxAgeMs: options.resultsTtlMs,
      // The server takes no window that is longer than what it keeps.
      duplicateWindowMs: Math.min(DUPLICATE_WINDOW_MS, options.resultsTtlMs),
      firstSequenceIsTime: false,
      batches: options.batches,
      fastBatches: true,
    },
    {
      ...common,
      name: names.streams.dead,
      subjects: [names.dead("*", "*")],
      retention: "limits",
      discard: "old",
      discardNewPerSubject: false,
      maxMsgsPerSubject: 1,
      maxBytes: options.maxDeadBytes,
      maxAgeMs: 0,
      firstSequenceIsTime: false,
    },
    {
      ...common,
      name: names.streams.audit,
      subjects: [names.audit("*")],
      retention: "limits",
      discard: "old",
      discardNewPerSubject: false,
      maxMsgsPerSubject: -1,
      maxBytes: MAX_AUDIT_BYTES,
      maxAgeMs: 0,
      firstSequenceIsTime: false,
      appendOnly: true,
    },
  ];
}

export function bucketSpecs(names: Names, options: TopologyOptions): readonly BucketSpec[] {
  const { replicas } = options;
  return [
    // A lane whose record is gone, with no dispatcher alive that remembers, would draw its tickets a second time (P3).
    { name: names.buckets.rotation, history: 16, maxAgeMs: 0, replicas, allowDirect: false, appendOnly: true },
    // A record outlives its task only if the task was never delivered again; a result's lifetime is long enough.
    { name: names.buckets.attempts, history: 1, maxAgeMs: 7 * DAY_MS, replicas, allowDirect: false },
    { name: names.buckets.owners, history: 1, maxAgeMs: 0, replicas, allowDirect: false },
    { name: names.buckets.vault, history: 5, maxAgeMs: 0, replicas, allowDirect: false },
    { name: names.buckets.control, history: 1, maxAgeMs: 0, replicas, allowDirect: false },
    { name: names.buckets.cancels, history: 1, maxAgeMs: CANCELS_MS, replicas, allowDirect: false },
    // As long as a record of attempts: what a task wrote down is of no use once it is done.
    { name: names.buckets.checkpoints, history: 1, maxAgeMs: 7 * DAY_MS, replicas, allowDirect: false },
    { name: names.buckets.batches, history: 1, maxAgeMs: 7 * DAY_MS, replicas, allowDirect: false },
  ];
}

export function objectStoreSpecs(names: Names, options: TopologyOptions): readonly ObjectStoreSpec[] {
  const { replicas, resultsTtlMs } = options;
  return [
    { name: names.objectStores.inputs, maxAgeMs: INPUTS_MS, replicas },
    // An output is stored before its result, and whoever reads the result at the end of its life still finds it.
    { name: names.objectStores.outputs, maxAgeMs: resultsTtlMs + HOUR_MS, replicas },
  ];
}
