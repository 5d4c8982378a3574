/**
 * Keeps a member of a swarm in it: follows the master to other addresses, and ends the node when the swarm has cast it out.
 *
 * 1. An address is used only after its machine has proved, by the authority's certificate that the home stores, that it is the
 *    swarm's.
 * 2. A credential that is refused again and again for `REFUSED_MS`, and by nothing else in between, was revoked: the node ends and
 *    says so. A shorter time can be a server that has not read all of its users yet.
 */
import { type CandidateSource, findAgain } from "../admission/enrol.ts";
import type { Bus, BusStatus } from "../bus/bus.ts";
import type { HomeLayout } from "../bus/home/layout.ts";
import { type Membership, updateAddresses } from "../bus/home/membership.ts";
import type { Clock } from "../protocols/clock.ts";
import { VgasError } from "../protocols/errors.ts";
import type { Logger } from "../protocols/logger.ts";

export interface FollowingOptions {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly fail: (error: VgasError) => void;
}

/** Where the home is a member, and how its master is found again. */
export interface Trail {
  readonly layout: HomeLayout;
  readonly membership: Membership;
  readonly sources: readonly CandidateSource[];
  /** The servers are to be found there from now on. */
  readonly moveTo: (urls: readonly string[]) => void;
}

/** Cut off for so long, the master may be somewhere else. */
const CUT_OFF_MS = 3_000;
/** One search; the next begins at once if nothing was found. */
const SEARCH_MS = 10_000;
const REFUSED_MS = 10_000;
/**
 * After a longer pause between two refusals it was something else that kept it out. Of several addresses those that are silent
 * take a try of three seconds each.
 */
const REFUSAL_GAP_MS = 30_000;
const MIN_REFUSALS = 5;

/** Ends the node when its credential is refused for good. Returns what stops the watch. */
export function watchCredential({ bus, clock, fail }: FollowingOptions): () => void {
  let first = Number.NEGATIVE_INFINITY;
  let last = Number.NEGATIVE_INFINITY;
  let refusals = 0;
  return bus.onStatus((status) => {
    if (status.type === "reconnected") last = Number.NEGATIVE_INFINITY;
    if (!isRefusal(status)) return;
    const now = clock.monotonic();
    if (now - last > REFUSAL_GAP_MS) {
      first = now;
      refusals = 0;
    }
    last = now;
    refusals++;
    if (now - first < REFUSED_MS || refusals < MIN_REFUSALS) return;
    const message = `the swarm refuses the credential of ${bus.user}: the node was revoked`;
    fail(new VgasError("NODE_REVOKED", `${message}; if it is to come back, give it an empty --home and a new token`));
  });
}

/** Looks for the master while the node is cut off. Returns what stops that. */
export function followMaster({ bus, clock, logger }: FollowingOptions, trail: Trail): () => void {
  const stopped = new AbortController();
  let searching = false;
  let { membership } = trail;
  const search = async (): Promise<void> => {
    await new Promise<void>((resolve) => clock.setTimeout(resolve, CUT_OFF_MS));
    let told = false;
    while (bus.state === "disconnected" && !stopped.signal.aborted) {
      const { urls } = membership;
      const found = await findAgain(membership, trail.sources, { signal: stopped.signal, timeoutMs: SEARCH_MS });
      if (found === undefined && !told) {
        told = true;
        logger.warn({ urls, doors: membership.doors }, "the swarm's master is not to be found; goes on looking");
      }
      const moved = found?.urls.some((url) => !urls.includes(url)) === true;
      if (found === undefined || !moved) continue;
      membership = { ...membership, ...found };
      logger.warn({ urls: found.urls }, "the swarm's master has another address");
      trail.moveTo(found.urls);
      await updateAddresses(trail.layout, found).catch((error: unknown) =>
        logger.error({ error: String(error) }, "the master's new address could not be stored"),
      );
    }
  };
  const onCut = (): void => {
    if (searching) return;
    searching = true;
    void search()
      .catch((error: unknown) => logger.error({ error: String(error) }, "looking for the master failed"))
      .finally(() => {
        searching = false;
      });
  };
  const stopListening = bus.onStatus((status) => {
    if (status.type === "disconnected") onCut();
  });
  // It may have been cut off since it connected, a moment ago.
  if (bus.state === "disconnected") onCut();
  return () => {
    stopped.abort();
    stopListening();
  };
}

function isRefusal(status: BusStatus): boolean {
  return status.type === "error" && status.error instanceof VgasError && status.error.code === "PERMISSION_DENIED";
}
