/** How the copies of a stream in a cluster are doing. Pure. */
import type { StreamInfo } from "@nats-io/jetstream";

export interface ReplicaState {
  /** Undefined while the servers elect one, or if too few of them are there. */
  readonly leader: string | undefined;
  /** Servers that hold a copy and are not heard. */
  readonly offline: readonly string[];
  /** Servers that are there, and whose copy is not up to date yet. */
  readonly behind: readonly string[];
}

/**
 * A copy that its leader has not heard for this long is missing, ns: they speak every second, and a server that was killed is
 * called offline by the others only much later.
 */
const SILENT_NS = 5e9;

/** Undefined for a stream with one copy. */
export function replicaState({ config, cluster }: Pick<StreamInfo, "config" | "cluster">): ReplicaState | undefined {
  if (config.num_replicas < 2 || cluster === undefined) return undefined;
  const copies = cluster.replicas ?? [];
  const names = (those: typeof copies): readonly string[] => those.map(({ name }) => name).sort();
  const missing = copies.filter(({ offline, current, active }) => offline === true || (!current && active > SILENT_NS));
  return {
    leader: cluster.leader || undefined,
    offline: names(missing),
    behind: names(copies.filter((copy) => !copy.current && !missing.includes(copy))),
  };
}

/** What is wrong with it, in a sentence without its end; undefined if nothing is. */
export function replicaTrouble({ leader, offline, behind }: ReplicaState): string | undefined {
  if (leader === undefined) return "no server leads it, so nothing is stored";
  if (offline.length > 0) return `its copy on ${offline.join(" and ")} is missing: that server is not heard`;
  return behind.length > 0 ? `its copy on ${behind.join(" and ")} is not up to date` : undefined;
}
