/**
 * Connects to a swarm; for a home that is a member of one, wherever its master is now.
 *
 * 1. The address that was good the last time is tried alone. Only when it fails, or is slow, the other ones are, and the master is
 *    looked for; nothing that this takes is loaded before.
 * 2. The first connection counts; what comes later is closed. Its address is stored in front.
 * 3. Whatever answers has to prove by the stored authority that it is the swarm.
 */
import type { FindOptions } from "../admission/find-again.ts";
import type { Bus } from "../bus/bus.ts";
import { type ConnectOptions, connectBus } from "../bus/connection.ts";
import type { HomeLayout } from "../bus/home/layout.ts";
import { type MemberAddresses, type Membership, updateAddresses } from "../bus/home/membership.ts";
import { isOutsideItsTime } from "../bus/tls-options.ts";
import type { Config } from "../config.ts";
import { type Clock, systemClock } from "../protocols/clock.ts";
import { VgasError } from "../protocols/errors.ts";
import { silentLogger } from "../protocols/logger.ts";

/** A home that is a member of a swarm. */
export interface Member {
  readonly layout: HomeLayout;
  readonly membership: Membership;
}

export interface ReachOptions {
  /** Undefined for who is none: then there is the given address and no other. */
  readonly member: Member | undefined;
  readonly config: Pick<Config, "mdns" | "interfaces" | "peers" | "httpPort">;
  /** Gives up, with ABORTED. */
  readonly signal: AbortSignal;
  readonly clock?: Clock;
}

export interface Reached {
  readonly bus: Bus;
  /** Where it was found. */
  readonly url: string;
}

interface Connected {
  readonly bus: Bus;
  readonly addresses: MemberAddresses;
}

/** A master that is there has answered by then. With `connectBus`'s own limit it is less than the 10 s that a client waits. */
const SLOW_MS = 1_500;
const SEARCH_MS = 4_000;

/** @throws VgasError as `connectBus`, and for a member with what can be done about it; ABORTED */
export async function reachSwarm(target: ConnectOptions, options: ReachOptions): Promise<Reached> {
  const { member, signal } = options;
  if (member === undefined) return { bus: await connectBus(target), url: target.url };
  const over = new AbortController();
  const attempts = attemptsOf(member, target, { ...options, signal: AbortSignal.any([signal, over.signal]) });
  let winner: Connected | undefined;
  try {
    winner = await Promise.race([Promise.any(attempts), lastWord(attempts), abortion(signal, over.signal)]);
  } catch (error) {
    throw error instanceof AggregateError ? notThere(member.membership, error.errors) : error;
  } finally {
    over.abort();
    for (const attempt of attempts) {
      attempt.then(({ bus }) => (bus === winner?.bus ? undefined : bus.close())).catch(() => undefined);
    }
  }
  const { bus, addresses } = winner;
  bus.setServers(addresses.urls);
  await note(member, addresses, target);
  return { bus, url: addresses.urls[0] ?? target.url };
}

/** The first one is under way; the others begin when it is of no use. */
function attemptsOf(
  { membership }: Member,
  target: ConnectOptions,
  { config, signal, clock = systemClock }: ReachOptions,
): readonly Promise<Connected>[] {
  const connect = async (addresses: MemberAddresses): Promise<Connected> => {
    const [url = ""] = addresses.urls;
    return { bus: await connectBus({ ...target, url }), addresses };
  };
  const { urls, doors } = membership;
  const direct = connect(membership);
  const due = uselessOrSlow(direct, clock).then(() => signal.throwIfAborted());
  const others = urls.slice(1).map(async (url) => {
    await due;
    return await connect({ urls: [url, ...urls.filter((each) => each !== url)], doors });
  });
  const elsewhere = due.then(async () => {
    const found = await search(membership, config, { signal, timeoutMs: SEARCH_MS, clock });
    return found === undefined ? await direct : await connect(found);
  });
  return [direct, ...others, elsewhere];
}

/** Resolves when it is time to look elsewhere. Rejects with what another address would not mend. */
function uselessOrSlow(direct: Promise<unknown>, clock: Clock): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = clock.setTimeout(resolve, SLOW_MS);
    direct
      .catch((error: unknown) => (isAway(error) ? resolve() : reject(error)))
      .finally(() => clock.clear(timer))
      .catch(reject);
  });
}

/** Whether the swarm may be somewhere else. */
function isAway(error: unknown): boolean {
  if (!(error instanceof VgasError)) return false;
  return error.code === "NO_SWARM" || (error.code === "CERTIFICATE_MISMATCH" && !isOutsideItsTime(error));
}

async function search(
  membership: Membership,
  config: ReachOptions["config"],
  options: FindOptions,
): Promise<MemberAddresses | undefined> {
  const [{ findAgain }, { peerSource }] = await Promise.all([
    import("../admission/find-again.ts"),
    import("../admission/candidates.ts"),
  ]);
  const peers = peerSource([...membership.doors, ...config.peers]);
  const { browse } = await import("./browse.ts");
  // What mDNS lacks here is no news to who wants to submit; that nobody was found says what else there is.
  const browser = config.mdns ? await browse(config, { hostId: membership.user }, silentLogger) : undefined;
  try {
    const sources = browser === undefined ? [peers] : [browser.asCandidates(), peers];
    return await findAgain(membership, sources, options);
  } finally {
    await browser?.stop();
  }
}

/** It is connected: that the home cannot be written to is no reason to fail. */
async function note({ layout, membership }: Member, addresses: MemberAddresses, target: ConnectOptions): Promise<void> {
  const { urls } = addresses;
  if (urls[0] === membership.urls[0]) return;
  target.logger?.info({ urls }, "the swarm's master has another address");
  await updateAddresses(layout, addresses).catch((error: unknown) =>
    target.logger?.warn({ error: String(error) }, "the master's new address could not be stored"),
  );
}

/** Rejects with the first failure that another address would not mend, if there is one. */
function lastWord(attempts: readonly Promise<unknown>[]): Promise<never> {
  return new Promise((_, reject) => {
    for (const attempt of attempts) attempt.catch((error: unknown) => (isAway(error) ? undefined : reject(error)));
  });
}

function abortion(signal: AbortSignal, over: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const abort = (): void => reject(new VgasError("ABORTED", "connecting was aborted", { cause: signal.reason }));
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true, signal: over });
  });
}

/** A wrong certificate says more than an address where nobody is. */
function notThere({ swarmId, urls }: Membership, errors: readonly unknown[]): unknown {
  const failures = errors.filter((error) => error instanceof VgasError);
  const cause = failures.find(({ code }) => code === "CERTIFICATE_MISMATCH") ?? failures[0];
  if (cause === undefined) return errors[0];
  const swarm = `the swarm ${swarmId} that this home is a member of`;
  if (cause.code === "CERTIFICATE_MISMATCH") {
    return new VgasError(cause.code, `${swarm} is not found elsewhere, and ${cause.message}`, { cause });
  }
  const reason = cause.cause instanceof Error ? ` (${cause.cause.message})` : "";
  const remedy =
    "is its master running (`vgas up --lan`) and reachable? If it has another address and mDNS does not tell it, " +
    "VGAS_PEERS=HOST:PORT does, with the port of its HTTP";
  return new VgasError("NO_SWARM", `${swarm} did not answer at ${urls.join(", ")}${reason}: ${remedy}`, { cause });
}
