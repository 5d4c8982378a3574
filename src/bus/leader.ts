/** Waits for a cluster to have the leaders that a change of its streams needs. */
import { setTimeout as pause } from "node:timers/promises";
import { VgasError } from "../protocols/errors.ts";
import type { Bus } from "./bus.ts";
import { serverFacts } from "./server-facts.ts";

/** An election takes a few seconds after the last of the servers has started, and they are started one after the other. */
const ELECTION_MS = 60_000;
const PAUSE_MS = 500;

/** What a server says, or fails to say, while nobody leads: "not available", nothing in time, no responders. */
const LEADERLESS: ReadonlySet<string> = new Set(["NO_SWARM", "TIMEOUT", "UNDELIVERABLE"]);

/**
 * Does `work`, and does it again while the cluster has no leader; on a single server once.
 *
 * @throws VgasError NO_SWARM if there is none for a minute; what `work` throws otherwise
 */
export async function onceLed<T>(bus: Bus, work: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + ELECTION_MS;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      const leaderless = error instanceof VgasError && LEADERLESS.has(error.code) && serverFacts(bus).clustered;
      if (!leaderless) throw error;
      if (performance.now() > deadline) {
        const message = `the cluster of ${bus.server} has had no leader for ${ELECTION_MS / 1_000} s (${error.message}): are most of its servers there?`;
        throw new VgasError("NO_SWARM", message, { cause: error });
      }
      await pause(PAUSE_MS);
    }
  }
}
