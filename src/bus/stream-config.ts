/** The table of streams and buckets (protocols/streams.ts) as the server's configuration, and the comparison of the two. Pure. */
import { DiscardPolicy, RetentionPolicy, StorageType, type StreamConfig } from "@nats-io/jetstream";
import {
  type BucketSpec,
  bucketSpecs,
  type ObjectStoreSpec,
  objectStoreSpecs,
  type StreamSpec,
  streamSpecs,
  type TopologyOptions,
} from "../protocols/streams.ts";
import { kvStream, kvSubject, type Names, objectStream, objectSubjects } from "../protocols/subjects.ts";

/** What vgas says about a stream; the rest is the server's default. */
export type WantedConfig = Pick<
  StreamConfig,
  | "name"
  | "subjects"
  | "storage"
  | "retention"
  | "discard"
  | "discard_new_per_subject"
  | "max_msgs"
  | "max_msgs_per_subject"
  | "max_bytes"
  | "max_msg_size"
  | "max_age"
  | "duplicate_window"
  | "allow_direct"
  | "allow_rollup_hdrs"
  | "num_replicas"
  | "deny_delete"
  | "deny_purge"
> & {
  readonly first_seq?: number;
  readonly allow_msg_ttl?: boolean;
  readonly allow_atomic?: boolean;
  readonly allow_batched?: boolean;
};

/** A field that differs and cannot be brought in line without losing what the stream promises. */
export interface Difference {
  readonly field: string;
  readonly wanted: unknown;
  readonly found: unknown;
}

export interface Comparison {
  readonly drift: readonly Difference[];
  /** Compatible changes to apply; empty if there is none. */
  readonly update: Partial<StreamConfig>;
}

const NANOS_PER_MS = 1_000_000;
const MICROS_PER_MS = 1_000;
const UNLIMITED = -1;
const KV_DUPLICATE_WINDOW_MS = 120_000;

/** What there is to be. `server` says what the server knows: it refuses settings that are newer than itself. */
export function wantedStreams(
  names: Names,
  options: TopologyOptions,
  server: { readonly fastBatches: boolean },
): readonly WantedConfig[] {
  const nowMs = Date.now();
  const known = (spec: StreamSpec): StreamSpec => ({ ...spec, fastBatches: spec.fastBatches && server.fastBatches });
  return [
    ...streamSpecs(names, options).map((spec) => streamConfig(known(spec), nowMs)),
    ...bucketSpecs(names, options).map(bucketConfig),
    ...objectStoreSpecs(names, options).map(objectStoreConfig),
  ];
}

/** `nowMs` becomes the first sequence where the spec wants it. */
function streamConfig(spec: StreamSpec, nowMs: number): WantedConfig {
  return {
    name: spec.name,
    subjects: [...spec.subjects],
    storage: StorageType.File,
    retention: spec.retention === "workqueue" ? RetentionPolicy.Workqueue : RetentionPolicy.Limits,
    discard: spec.discard === "new" ? DiscardPolicy.New : DiscardPolicy.Old,
    discard_new_per_subject: spec.discardNewPerSubject,
    max_msgs: UNLIMITED,
    max_msgs_per_subject: spec.maxMsgsPerSubject,
    max_bytes: spec.maxBytes,
    max_msg_size: spec.maxMsgSize,
    max_age: spec.maxAgeMs * NANOS_PER_MS,
    duplicate_window: spec.duplicateWindowMs * NANOS_PER_MS,
    allow_direct: spec.allowDirect,
    allow_rollup_hdrs: false,
    deny_delete: spec.appendOnly,
    deny_purge: spec.appendOnly,
    num_replicas: spec.replicas,
    ...(spec.batches !== undefined && { allow_atomic: spec.batches }),
    ...(spec.fastBatches && { allow_batched: true }),
    ...(spec.firstSequenceIsTime && { first_seq: Math.floor(nowMs * MICROS_PER_MS) }),
  };
}

/** A bucket is a stream by the convention that every KV client keeps. */
function bucketConfig(spec: BucketSpec): WantedConfig {
  return {
    name: kvStream(spec.name),
    subjects: [kvSubject(spec.name, ">")],
    storage: StorageType.File,
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.New,
    discard_new_per_subject: false,
    max_msgs: UNLIMITED,
    max_msgs_per_subject: spec.history,
    max_bytes: UNLIMITED,
    max_msg_size: UNLIMITED,
    max_age: spec.maxAgeMs * NANOS_PER_MS,
    duplicate_window:
      (spec.maxAgeMs > 0 ? Math.min(spec.maxAgeMs, KV_DUPLICATE_WINDOW_MS) : KV_DUPLICATE_WINDOW_MS) * NANOS_PER_MS,
    allow_direct: spec.allowDirect,
    // What KV clients purge with.
    allow_rollup_hdrs: spec.appendOnly !== true,
    deny_delete: spec.appendOnly === true,
    deny_purge: spec.appendOnly === true,
    num_replicas: spec.replicas,
  };
}

/** As every client of object stores makes it; besides, what marks a removal may go by itself. */
function objectStoreConfig(spec: ObjectStoreSpec): WantedConfig {
  return {
    ...bucketConfig({ ...spec, history: UNLIMITED, allowDirect: true }),
    name: objectStream(spec.name),
    subjects: [...objectSubjects(spec.name)],
    allow_msg_ttl: true,
  };
}

/** Fields that must be as wanted. */
const EXACT = [
  "storage",
  "retention",
  "discard",
  "discard_new_per_subject",
  "allow_direct",
  "allow_rollup_hdrs",
] as const;
/** Caps: a larger one is applied, and one that was raised by somebody else stays. */
const CAPS = ["max_msgs", "max_bytes"] as const;
/** What the server can be told once and never takes back; what somebody else told it stays. */
const FOR_GOOD = ["deny_delete", "deny_purge", "allow_msg_ttl"] as const;
/** Of the work queue: how many tasks of a lane may wait is the operator's choice, and the last one asked for holds. */
const OF_THE_QUEUE = ["max_msgs_per_subject", "discard_new_per_subject"] as const;
/** Durations: the last one asked for holds. */
const DURATIONS = ["max_age", "duplicate_window"] as const;

export function compareConfig(wanted: WantedConfig, found: StreamConfig): Comparison {
  const drift: Difference[] = [];
  const update: Partial<StreamConfig> = {};
  const foreign = found.subjects.filter((subject) => !wanted.subjects.includes(subject));
  if (foreign.length > 0) drift.push({ field: "subjects", wanted: wanted.subjects, found: found.subjects });
  // A stream of an earlier version takes fewer.
  else if (found.subjects.length < wanted.subjects.length) update.subjects = [...wanted.subjects];
  const queue = wanted.retention === RetentionPolicy.Workqueue;
  const bucket = [kvStream(""), objectStream("")].some((prefix) => wanted.name.startsWith(prefix));
  for (const field of EXACT) {
    if (queue && field === "discard_new_per_subject") continue;
    if (bucket && field === "allow_rollup_hdrs" && !wanted[field]) {
      if (found[field]) update[field] = false;
      continue;
    }
    // The server leaves out what is false.
    if (wanted[field] !== (found[field] ?? false))
      drift.push({ field, wanted: wanted[field], found: found[field] ?? false });
  }
  for (const field of CAPS) if (cap(wanted[field]) > cap(found[field])) update[field] = wanted[field];
  for (const field of FOR_GOOD) if (wanted[field] && !found[field]) update[field] = true;
  for (const field of DURATIONS) if (wanted[field] !== (found[field] ?? 0)) update[field] = wanted[field];
  // The last one asked for holds; a server's default is that it takes none.
  if (wanted.allow_atomic !== undefined && wanted.allow_atomic !== (found.allow_atomic ?? false))
    update.allow_atomic = wanted.allow_atomic;
  if (wanted.allow_batched && !(found as WantedConfig).allow_batched) Object.assign(update, { allow_batched: true });
  if (wanted.num_replicas > found.num_replicas) update.num_replicas = wanted.num_replicas;
  // One per subject is a promise (P2), a bucket's history is only a depth.
  const perSubject = { wanted: cap(wanted.max_msgs_per_subject), found: cap(found.max_msgs_per_subject) };
  if (queue) {
    const changed =
      perSubject.wanted !== perSubject.found ||
      wanted.discard_new_per_subject !== (found.discard_new_per_subject ?? false);
    if (changed) for (const field of OF_THE_QUEUE) Object.assign(update, { [field]: wanted[field] });
  } else if (bucket && perSubject.wanted > perSubject.found) update.max_msgs_per_subject = wanted.max_msgs_per_subject;
  else if (!bucket && perSubject.wanted !== perSubject.found) {
    drift.push({
      field: "max_msgs_per_subject",
      wanted: wanted.max_msgs_per_subject,
      found: found.max_msgs_per_subject,
    });
  }
  // A stream that takes larger messages than vgas can hand on would fill with tasks that nobody can run.
  if (cap(wanted.max_msg_size) > cap(found.max_msg_size)) update.max_msg_size = wanted.max_msg_size;
  else if (cap(wanted.max_msg_size) < cap(found.max_msg_size)) {
    drift.push({ field: "max_msg_size", wanted: wanted.max_msg_size, found: found.max_msg_size ?? UNLIMITED });
  }
  return { drift, update };
}

/** A limit as the server means it: anything not above 0 is none. */
function cap(limit: number | undefined): number {
  return limit !== undefined && limit > 0 ? limit : Number.POSITIVE_INFINITY;
}
