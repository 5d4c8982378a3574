/** Reads the rotations of all lanes at once, for whoever shows them. Dispatchers read theirs by key (actors/gatling/rotation.ts). */
import { VgasError } from "../protocols/errors.ts";
import { type RosterRange, type RotationRecord, roster, rotationRecord } from "../protocols/rotation.ts";
import { kvStream, kvSubject, type LaneName, type Names } from "../protocols/subjects.ts";
import { isToken } from "../protocols/tokens.ts";
import type { Bus } from "./bus.ts";
import { decode } from "./codec/codec.ts";
import { type ReadMessage, readAll } from "./reader.ts";

/** A lane's rotation as its record says, with the roster that the record points at. */
export interface RotationOfLane extends LaneName {
  /** Tickets drawn so far. */
  readonly index: number;
  /** The index at which the roster began. */
  readonly base: number;
  /** Revision of the roster. */
  readonly roster: number;
  /** The agents in the order of their turns; none if that roster is no longer kept. */
  readonly ranges: readonly RosterRange[];
}

export interface Rotations {
  /** By pool and kind. */
  readonly lanes: readonly RotationOfLane[];
  /**
   * What in the bucket is not of vgas, a sentence each that names the key and, unless it is a lane's, which dispatchers write over
   * themselves, the way to get rid of it. Nothing else is hidden by it.
   */
  readonly warnings: readonly string[];
}

const TIMEOUT_MS = 10_000;

/**
 * Every lane that ever had a roster. A record that is damaged or deleted counts as the last good one that the bucket keeps of it,
 * as it does for dispatchers; without one, and under foreign keys, there is nothing but a warning.
 *
 * @throws VgasError NO_SWARM if there is no such bucket; PERMISSION_DENIED, TIMEOUT
 */
export async function readRotations(bus: Bus, names: Names): Promise<Rotations> {
  const bucket = names.buckets.rotation;
  const lanes: RotationOfLane[] = [];
  const warnings: string[] = [];
  const newest = new Map<string, ReadMessage>();
  for (const entry of await read(bus, bucket, ">", "newest"))
    newest.set(entry.subject.slice(kvSubject(bucket, "").length), entry);
  for (const [key, entry] of newest) {
    const deleted = entry.data.length === 0;
    const lane = laneOf(key);
    const isRoster = lane !== undefined && key === names.rosterKey(lane);
    if (lane === undefined || (!isRoster && key !== names.rotationKey(lane))) {
      if (!deleted) warnings.push(removable(bucket, key, "is not a key of vgas"));
      continue;
    }
    const good = isRoster ? parseRoster(entry) : parseRecord(entry);
    if (good === undefined && !deleted) {
      const what = `holds what is no ${isRoster ? "roster" : "rotation record"}`;
      const known = await isKnown(bus, names, lane);
      warnings.push(known ? leftAlone(bucket, key, what) : removable(bucket, key, what));
    }
    if (isRoster) continue;
    const record = parseRecord(entry) ?? (await lastGood(bus, bucket, key, parseRecord));
    if (record === undefined) continue;
    const latest = newest.get(names.rosterKey(lane));
    // A newer roster may be written already; it counts from when the record points at it.
    const found =
      latest?.sequence === record.roster
        ? latest
        : (await read(bus, bucket, names.rosterKey(lane), "all")).find(({ sequence }) => sequence === record.roster);
    const ranges = (found && parseRoster(found)) ?? [];
    lanes.push({ ...lane, index: record.index, base: record.base, roster: record.roster, ranges });
  }
  const keyOf = ({ pool, kind }: LaneName): string => `${pool}.${kind}`;
  return { lanes: lanes.sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1)), warnings };
}

async function read(bus: Bus, bucket: string, key: string, from: "all" | "newest"): Promise<readonly ReadMessage[]> {
  const options = { stream: kvStream(bucket), filter: kvSubject(bucket, key), from, timeoutMs: TIMEOUT_MS };
  try {
    return await readAll(bus, `reading ${bucket}`, options);
  } catch (error) {
    if (!(error instanceof VgasError) || error.code !== "NOT_FOUND") throw error;
    throw new VgasError("NO_SWARM", `the NATS system has no bucket ${bucket}: no swarm has this prefix there`, {
      cause: error,
    });
  }
}

async function lastGood<T>(
  bus: Bus,
  bucket: string,
  key: string,
  parse: (message: ReadMessage) => T | undefined,
): Promise<T | undefined> {
  const history = await read(bus, bucket, key, "all");
  return history
    .map(parse)
    .filter((value) => value !== undefined)
    .at(-1);
}

/** Whether the bucket keeps anything that vgas wrote of the lane. */
async function isKnown(bus: Bus, names: Names, lane: LaneName): Promise<boolean> {
  const bucket = names.buckets.rotation;
  if ((await lastGood(bus, bucket, names.rotationKey(lane), parseRecord)) !== undefined) return true;
  return (await lastGood(bus, bucket, names.rosterKey(lane), parseRoster)) !== undefined;
}

/** The lane that a key of either form begins with. */
function laneOf(key: string): LaneName | undefined {
  const [pool, kind] = key.split(".");
  return isToken(pool) && isToken(kind) ? { pool, kind } : undefined;
}

/** Whoever wrote it chose its name: only one that is nothing to a shell stands in a command that somebody may paste. */
const PLAIN_KEY = /^[A-Za-z0-9._=/-]{1,200}$/;

function removable(bucket: string, key: string, what: string): string {
  const how = PLAIN_KEY.test(key) ? `: nats kv del ${bucket} ${key}` : " with a NATS tool";
  return `${shortOf(key)} in the bucket ${bucket} ${what}; dispatchers write over it if they need the key, else remove it${how}`;
}

function leftAlone(bucket: string, key: string, what: string): string {
  return `${shortOf(key)} in the bucket ${bucket} ${what}; leave it: what the lane had stays in force, and its dispatchers write over this`;
}

function shortOf(key: string): string {
  return JSON.stringify(key.slice(0, 200));
}

function parseRecord({ data }: ReadMessage): RotationRecord | undefined {
  return rotationRecord.safeParse(decoded(data)).data;
}

function parseRoster({ data }: ReadMessage): readonly RosterRange[] | undefined {
  return roster.safeParse(decoded(data)).data?.ranges;
}

function decoded(data: Uint8Array): unknown {
  try {
    return decode(data);
  } catch {
    return undefined;
  }
}
