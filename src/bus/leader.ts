/**
 * Rides out that a cluster elects leaders. One that is killed is missed by the others after 4 to 9 s; until another is elected, what it
 * led answers "not available", "nobody listens", or nothing at all.
 */
import { setTimeout as pause } from "node:timers/promises";
import { VgasError } from "../protocols/errors.ts";
import type { Bus } from "./bus.ts";
import type { BusStatus } from "./status.ts";

/** Time for an election: the servers wait up to 9 s before they vote, and vote again where the votes were split. */
export const ELECTION_MS = 20_000;
/** While the servers are started, which is one after the other. */
const START_MS = 60_000;
const PAUSE_MS = 500;
/** A leader answers in milliseconds. What was asked of one that is gone is lost, and so must be asked again. */
const TRY_MS = 1_000;
const TRY_PAUSE_MS = 250;

/** What a server says, or fails to say, while nobody leads: "not available", nothing in time, no responders. */
const LEADERLESS: ReadonlySet<string> = new Set(["NO_SWARM", "TIMEOUT", "UNDELIVERABLE"]);

/**
 * Does `work`, and does it again while the cluster has no leader; on a single server once.
 *
 * @throws VgasError NO_SWARM if there is none for a minute; what `work` throws otherwise
 */
export async function onceLed<T>(bus: Bus, work: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + START_MS;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!isLeaderless(error) || !isClustered(bus)) throw error;
      if (performance.now() > deadline) {
        const message = `the cluster of ${bus.server} has had no leader for ${START_MS / 1_000} s (${error.message}): are most of its servers there?`;
        throw new VgasError("NO_SWARM", message, { cause: error });
      }
      await pause(PAUSE_MS);
    }
  }
}

/**
 * Asks a leader for what can be asked for twice. In a cluster it asks again until somebody leads, for `timeoutMs` in all; a single
 * server is asked again only as `askUncut` says.
 */
export async function askLeader<T>(bus: Bus, timeoutMs: number, ask: (tryMs: number) => Promise<T>): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    try {
      return await askUncut(bus, deadline - performance.now(), (leftMs) =>
        ask(isClustered(bus) ? Math.min(TRY_MS, leftMs) : leftMs),
      );
    } catch (error) {
      const again = isLeaderless(error) && isClustered(bus) && performance.now() + TRY_PAUSE_MS < deadline;
      if (!again) throw error;
    }
    await pause(TRY_PAUSE_MS);
  }
}

/**
 * Asks for what can be asked for twice; again when the connection was lost meanwhile, since the answer was lost with it. Waits for the
 * connection first. `ask` is told what is left of `timeoutMs`.
 */
export async function askUncut<T>(bus: Bus, timeoutMs: number, ask: (leftMs: number) => Promise<T>): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    if (bus.state === "disconnected") await statusOf(bus, ["reconnected", "closed"], deadline).reached;
    const cut = statusOf(bus, ["disconnected"], Number.POSITIVE_INFINITY);
    try {
      const answer = await Promise.race([ask(Math.max(1, deadline - performance.now())), cut.reached]);
      if (answer !== REACHED) return answer;
    } finally {
      cut.stop();
    }
  }
}

const REACHED = Symbol("reached");

/** Resolves at the next status of one of these types, or at the deadline. */
function statusOf(bus: Bus, types: readonly BusStatus["type"][], deadline: number) {
  let timer: NodeJS.Timeout | undefined;
  let stopListening: (() => void) | undefined;
  const stop = (): void => {
    clearTimeout(timer);
    stopListening?.();
  };
  const reached = new Promise<typeof REACHED>((resolve) => {
    const done = (): void => {
      stop();
      resolve(REACHED);
    };
    stopListening = bus.onStatus(({ type }) => {
      if (types.includes(type)) done();
    });
    if (Number.isFinite(deadline)) timer = setTimeout(done, Math.max(0, deadline - performance.now()));
  });
  return { reached, stop };
}

/** The server that this connection is to, or was last to, is one of a cluster. */
export function isClustered(bus: Bus): boolean {
  return bus.native.info?.cluster !== undefined;
}

function isLeaderless(error: unknown): error is VgasError {
  return error instanceof VgasError && LEADERLESS.has(error.code);
}
