/** Masters that were found, for whoever wants to join one. */
import type { MdnsCandidate, Peer } from "../../protocols/discovery.ts";

type Watcher = (candidate: MdnsCandidate) => void;

/** Undefined for a peer that cannot let anybody in, or is not there. */
export function candidateOf(peer: Peer): MdnsCandidate | undefined {
  const { id, mode, state, swarm, pinPrefix, addresses, port, natsPort } = peer;
  if (mode !== "master" || state === "rejected" || state === "lost") return undefined;
  return {
    ...{ id, addresses, port, source: "mdns" },
    ...(swarm !== undefined && { swarmId: swarm }),
    ...(pinPrefix !== undefined && { pinPrefix }),
    ...(natsPort !== undefined && { natsPort }),
  };
}

export class Candidates {
  readonly #watchers = new Set<Watcher>();

  /** Calls for each of `now`, and for later ones. Returns how to stop watching. */
  watch(watcher: Watcher, now: readonly MdnsCandidate[]): () => void {
    const own: Watcher = (candidate) => watcher(candidate);
    this.#watchers.add(own);
    for (const candidate of now) own(candidate);
    return () => {
      this.#watchers.delete(own);
    };
  }

  emit(candidate: MdnsCandidate): void {
    for (const watcher of this.#watchers) watcher(candidate);
  }
}
