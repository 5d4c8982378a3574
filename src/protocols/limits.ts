/** Bounds that every door checks. Each carries its arithmetic and its reason. */

/** Largest message the broker takes, in bytes (`max_payload` of nats-server.conf). NATS advises at most 1 MiB. */
export const MAX_PAYLOAD_BYTES = 1_048_576;

/**
 * Kept free in every message for what vgas wraps around a task: a burst item, a dead letter or a result carries the
 * task's own bytes or its output plus ids, error and times.
 */
const ENVELOPE_RESERVE_BYTES = 64 * 1024;

/** Largest task message, headers included; the task stream refuses more. */
export const MAX_TASK_BYTES = MAX_PAYLOAD_BYTES - ENVELOPE_RESERVE_BYTES;

/** Bursts are split at this size, in bytes: large enough to amortise, small enough not to hold up other traffic. */
export const MAX_BURST_BYTES = 500_000;

/** Longest run of one attempt that a task can ask for, ms: a day. */
export const MAX_TIMEOUT_MS = 86_400_000;

/**
 * A task is kept alive until this long after its deadline, ms: its host has had the time to end it by then, or is stalled
 * and no longer its owner.
 */
export const DEADLINE_GRACE_MS = 2_000;

/** Deepest nesting decoded or encoded. Recursion in any msgpack library stays far from its stack limit. */
export const MAX_DEPTH = 128;

/**
 * Most tasks in one array. A 960 KiB array of one-byte elements would otherwise turn into nearly a million failed
 * results and dead letters.
 */
export const MAX_ARRAY_TASKS = 10_000;

/**
 * Most values that are decoded at once from msgpack: elements of arrays and entries of maps, all told, in a message or in one
 * element of an array of tasks. One byte can be an empty map, of which 960 KiB take 70 MiB of heap; this many take 12 MiB, and
 * the worst that they can be (maps with an integer as their key) 32 MiB. Long lists of numbers belong into binary. JSON needs
 * no such bound: its shortest container takes three bytes.
 */
export const MAX_VALUES = 200_000;

/**
 * Largest input, context or output that goes through the object store, in bytes. It is in memory as a whole, encoded and as a
 * value: an agent with 16 slots that are all busy with such inputs holds 2 GiB.
 */
export const MAX_OBJECT_BYTES = 64 * 1_048_576;

/**
 * As MAX_VALUES, for a value that goes through the object store: ten times as many, in up to 64 times the bytes. The worst of
 * them take 320 MiB of heap.
 */
export const MAX_OBJECT_VALUES = 2_000_000;
