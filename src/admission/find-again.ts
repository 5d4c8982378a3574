/** Finds the master of a swarm that this home is a member of, wherever it is now. */
import { connect } from "node:tls";
import type { MemberAddresses, Membership } from "../bus/home/membership.ts";
import { type Clock, systemClock } from "../protocols/clock.ts";
import { VgasError } from "../protocols/errors.ts";
import { type Candidate, type CandidateSource, hostPort } from "./candidates.ts";
import { dial } from "./dial.ts";
import { KnownCandidates } from "./known-candidates.ts";

export interface FindOptions {
  readonly signal: AbortSignal;
  /** Of the whole search. */
  readonly timeoutMs: number;
  readonly clock?: Clock;
}

/** Of one handshake. */
const HANDSHAKE_MS = 3_000;

/** What announces a port is not to be believed, and NATS can come up a moment after the door: it is tried until then. */
const NATS_RETRY_MS = 500;
/** A machine can have several addresses, and find its way back to one of them. */
const MAX_ADDRESSES = 8;

/**
 * Where the swarm answers, and behind that the addresses known before: an address whose door and whose NATS proved by the
 * stored authority that they are the swarm's. One that is other than the stored is given at once; the stored one only at the
 * end of the search, for that alone mends nothing. Undefined if none did. Never throws.
 */
export async function findAgain(
  membership: Membership,
  sources: readonly CandidateSource[],
  { signal, timeoutMs, clock = systemClock }: FindOptions,
): Promise<MemberAddresses | undefined> {
  const over = new AbortController();
  const either = AbortSignal.any([signal, over.signal]);
  let stored: MemberAddresses | undefined;
  const found = new Promise<MemberAddresses | undefined>((resolve) => {
    const prove = async (candidate: Candidate): Promise<void> => {
      const { host } = await dial(
        candidate.addresses,
        (each, until) => shake(each, candidate.port, membership, until),
        {
          clock,
          signal: either,
        },
      );
      const addresses = await provenAddresses(host, candidate, membership, { clock, signal: either });
      if (addresses === undefined) return;
      if (addresses.urls.every((url) => membership.urls.includes(url))) stored = addresses;
      else resolve(addresses);
    };
    const known = new KnownCandidates(sources, {
      // Whoever does not prove it is not the swarm: there is nothing to say about that.
      onNew: (candidate) => {
        if (mayBe(candidate, membership)) void prove(candidate).catch(() => undefined);
      },
      isOfUse: (candidate) => mayBe(candidate, membership),
      random: Math.random,
    });
    const timer = clock.setTimeout(() => resolve(undefined), timeoutMs);
    if (signal.aborted) resolve(undefined);
    signal.addEventListener("abort", () => resolve(undefined), { once: true, signal: over.signal });
    over.signal.addEventListener("abort", () => {
      clock.clear(timer);
      known.stop();
    });
  });
  const addresses = await found;
  over.abort();
  const proven = addresses ?? (signal.aborted ? undefined : stored);
  return proven && { urls: merged(proven.urls, membership.urls), doors: merged(proven.doors, membership.doors) };
}

function merged(first: readonly string[], then: readonly string[]): readonly string[] {
  return [...new Set([...first, ...then])].slice(0, MAX_ADDRESSES);
}

function mayBe({ swarmId, pinPrefix }: Candidate, membership: Membership): boolean {
  return (
    (swarmId === undefined || swarmId === membership.swarmId) &&
    (pinPrefix === undefined || membership.pin.startsWith(pinPrefix))
  );
}

/** The ports of NATS on `host` that prove to be the swarm's; undefined if the search ends before one does. */
async function provenAddresses(
  host: string,
  { port, natsPort }: Candidate,
  membership: Membership,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<MemberAddresses | undefined> {
  const stored = membership.urls.map((url) => Number(new URL(url).port));
  const ports = [...new Set([...(natsPort === undefined ? [] : [natsPort]), ...stored])];
  while (!signal.aborted) {
    const tried = await Promise.allSettled(ports.map((each) => shake(host, each, membership, signal)));
    const proven = ports.filter((_, i) => tried[i]?.status === "fulfilled");
    if (proven.length > 0) {
      return { urls: proven.map((each) => `tls://${hostPort(host, each)}`), doors: [hostPort(host, port)] };
    }
    await new Promise<void>((resolve) => clock.setTimeout(resolve, NATS_RETRY_MS));
  }
  return undefined;
}

/** An ordinary handshake with the stored authority, which the broker takes first too; says nothing. */
async function shake(host: string, port: number, { ca, serverName }: Membership, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const socket = connect({ host, port, ca, servername: serverName, rejectUnauthorized: true, minVersion: "TLSv1.3" });
    const fail = (): void => {
      socket.destroy();
      reject(new VgasError("NO_SWARM", `the swarm does not answer at ${hostPort(host, port)}`));
    };
    signal.addEventListener("abort", fail, { once: true });
    socket.setTimeout(HANDSHAKE_MS, fail);
    socket.on("error", fail);
    socket.once("close", () => {
      signal.removeEventListener("abort", fail);
      fail();
    });
    socket.once("secureConnect", () => {
      resolve();
      socket.destroy();
    });
    if (signal.aborted) fail();
  });
}
