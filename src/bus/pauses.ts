/** Which lanes are paused: a key of the control bucket for each, there while it is. Dispatchers watch it. */
import type { LaneName, Names } from "../protocols/subjects.ts";
import { isToken } from "../protocols/tokens.ts";
import { decode, encode } from "./codec/codec.ts";
import type { KvBucket, KvEntry } from "./kv.ts";

/** `by` and `at` (ms since the epoch) are left out where what stands there cannot be read; it is paused all the same. */
export interface PausedLane extends LaneName {
  readonly by?: string;
  readonly at?: number;
}

/** `bucket` is the control bucket. A lane that is paused already keeps who paused it first. Fails as `KvBucket.put`. */
export async function pauseLane(bucket: KvBucket, names: Names, lane: LaneName, by: string): Promise<void> {
  const key = names.pauseKey(lane);
  if ((await bucket.get(key)) === undefined) await bucket.put(key, encode({ v: 1, by, at: Date.now() }));
}

/** False if it was not paused. Fails as `KvBucket.delete`. */
export async function resumeLane(bucket: KvBucket, names: Names, lane: LaneName): Promise<boolean> {
  const key = names.pauseKey(lane);
  if ((await bucket.get(key)) === undefined) return false;
  await bucket.delete(key);
  return true;
}

/** By pool and kind. Fails as `KvBucket.get`. */
export async function pausedLanes(bucket: KvBucket, names: Names): Promise<readonly PausedLane[]> {
  const keys = await bucket.keys(names.pauseKey({ pool: "*", kind: "*" }));
  const found = await Promise.all([...keys].sort().map(async (key) => read(key, await bucket.get(key))));
  return found.filter((each) => each !== undefined);
}

/** Tells of every paused lane, and resolves; then of each change, until the returned function is called. */
export async function watchPauses(
  bucket: KvBucket,
  names: Names,
  onChange: (lane: LaneName, paused: boolean) => void,
): Promise<() => void> {
  let caughtUp: () => void;
  const whole = new Promise<void>((resolve) => {
    caughtUp = resolve;
  });
  const stop = await bucket.watch(
    names.pauseKey({ pool: "*", kind: "*" }),
    ({ key, deleted }) => {
      const lane = laneOf(key);
      if (lane !== undefined) onChange(lane, !deleted);
    },
    { onCaughtUp: () => caughtUp() },
  );
  await whole;
  return stop;
}

function laneOf(key: string): LaneName | undefined {
  const [, pool, kind, ...more] = key.split(".");
  return isToken(pool) && isToken(kind) && more.length === 0 ? { pool, kind } : undefined;
}

function read(key: string, entry: KvEntry | undefined): PausedLane | undefined {
  const lane = laneOf(key);
  if (lane === undefined || entry === undefined) return undefined;
  try {
    const { by, at } = decode(entry.value) as { readonly by?: unknown; readonly at?: unknown };
    return { ...lane, ...(typeof by === "string" && { by }), ...(typeof at === "number" && { at }) };
  } catch {
    return lane;
  }
}
