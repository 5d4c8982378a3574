/** Whether anybody would take a task. */
import type { Bus } from "../bus/bus.ts";
import { decode } from "../bus/codec/codec.ts";
import type { KvBucket } from "../bus/kv.ts";
import { VgasError } from "../protocols/errors.ts";
import { heartbeat } from "../protocols/host-messages.ts";
import { roster, rosterSize } from "../protocols/rotation.ts";
import type { LaneName, Names } from "../protocols/subjects.ts";

/** A little more than the pause between two heartbeats of a host. */
const LISTEN_MS = 1_300;

/**
 * True if the lane's roster names an agent, or a host that has not come into it yet says that it offers the kind. "No" takes
 * as long as it takes to hear every host once.
 *
 * @throws VgasError NO_SWARM if there is no rotation bucket; PERMISSION_DENIED, TIMEOUT, ABORTED
 */
export async function isOffered(
  { bus, names, rotation }: { readonly bus: Bus; readonly names: Names; readonly rotation: KvBucket },
  lane: LaneName,
  signal?: AbortSignal,
): Promise<boolean> {
  if (await rosterNames(rotation, names, lane)) return true;
  return await heardOf(bus, names, lane, signal);
}

/** Listens until a host offers the lane, or every host has had its turn to speak. */
function heardOf(bus: Bus, names: Names, lane: LaneName, signal: AbortSignal | undefined): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const end = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      void listening.then(
        (subscription) => subscription.unsubscribe(),
        () => undefined,
      );
    };
    const answer = (offered: boolean): void => {
      end();
      resolve(offered);
    };
    const fail = (error: unknown): void => {
      end();
      reject(error);
    };
    const onAbort = (): void =>
      fail(new VgasError("ABORTED", "asking who offers a kind was aborted", { cause: signal?.reason }));
    const timer = setTimeout(() => answer(false), LISTEN_MS);
    const listening = bus.subscribe(names.heartbeat("*"), ({ data }) => {
      if (offersLane(decode(data), lane)) answer(true);
    });
    listening.catch(fail);
    if (signal?.aborted) onAbort();
    else signal?.addEventListener("abort", onAbort);
  });
}

async function rosterNames(rotation: KvBucket, names: Names, lane: LaneName): Promise<boolean> {
  const entry = await rotation.get(names.rosterKey(lane)).catch((cause: unknown) => {
    if (!(cause instanceof VgasError) || cause.code !== "NOT_FOUND") throw cause;
    throw new VgasError("NO_SWARM", `there is no bucket ${rotation.name}: no swarm runs with this prefix`, { cause });
  });
  const parsed = entry && roster.safeParse(decoded(entry.value));
  return parsed?.success === true && rosterSize(parsed.data.ranges) > 0;
}

/** Rubbish under the key says nothing; the hosts say what they offer. */
function decoded(value: Uint8Array): unknown {
  try {
    return decode(value);
  } catch {
    return undefined;
  }
}

function offersLane(message: unknown, lane: LaneName): boolean {
  const parsed = heartbeat.safeParse(message);
  if (!parsed.success || parsed.data.draining) return false;
  return parsed.data.groups.some(({ pool, kinds }) => pool === lane.pool && kinds.includes(lane.kind));
}
