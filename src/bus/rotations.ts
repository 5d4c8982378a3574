/** Reads the rotations of all lanes at once, for whoever shows them. Dispatchers read theirs by key (actors/gatling/rotation.ts). */
import { VgasError } from "../protocols/errors.ts";
import { type RosterRange, roster, rotationRecord } from "../protocols/rotation.ts";
import { kvStream, kvSubject, type LaneName, type Names } from "../protocols/subjects.ts";
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

const TIMEOUT_MS = 10_000;

/**
 * Every lane that ever had a roster, by pool and kind.
 *
 * @throws VgasError NO_SWARM if there is no such bucket; INVALID naming a record that cannot be read; PERMISSION_DENIED, TIMEOUT
 */
export async function readRotations(bus: Bus, names: Names): Promise<readonly RotationOfLane[]> {
  const bucket = names.buckets.rotation;
  const entries = new Map((await read(bus, bucket, ">", "newest")).map((entry) => [entry.subject, entry]));
  const lanes: RotationOfLane[] = [];
  for (const [subject, entry] of entries) {
    const [pool, kind, more] = subject.slice(kvSubject(bucket, "").length).split(".");
    if (pool === undefined || kind === undefined || more !== undefined || entry.data.length === 0) continue;
    const record = parseAs(subject, () => rotationRecord.parse(decode(entry.data)));
    const key = names.rosterKey({ pool, kind });
    const newest = entries.get(kvSubject(bucket, key));
    // A newer roster may be written already; it counts from when the record points at it.
    const found =
      newest?.sequence === record.roster
        ? newest
        : (await read(bus, bucket, key, "all")).find(({ sequence }) => sequence === record.roster);
    const ranges = found === undefined ? [] : parseAs(found.subject, () => roster.parse(decode(found.data)).ranges);
    lanes.push({ pool, kind, index: record.index, base: record.base, roster: record.roster, ranges });
  }
  const keyOf = ({ pool, kind }: LaneName): string => `${pool}.${kind}`;
  return lanes.sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
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

function parseAs<T>(subject: string, parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    throw new VgasError("INVALID", `what is stored under ${subject} is not what vgas writes there`, { cause });
  }
}
