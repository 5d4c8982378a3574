/**
 * The peers that are known, bounded whatever the network says.
 *
 * 1. At most MAX_PEERS. One that is known is never pushed out by a new one, unless it is lost, or the new one is known to have joined.
 * 2. One source address makes at most MAX_PER_SOURCE of them: who floods from one address leaves room for others.
 * 3. What is said about a peer holds for its TTL, and for MAX_TTL_MS at most.
 */
import type { Clock } from "../../protocols/clock.ts";
import { type Peer, type PeerState, speaksOurVersion } from "../../protocols/discovery.ts";
import { nextPeerState, type PeerEvent, told } from "./peer-machine.ts";
import type { Sighting } from "./sightings.ts";

export interface PeerTableOptions {
  readonly clock: Clock;
  /** A peer is new, in another state, or announces something else. `announced`: by an announcement just now. */
  readonly onChange: (peer: Peer, announced: boolean) => void;
}

export const MAX_PEERS = 256;
const MAX_PER_SOURCE = 64;
const MAX_ADDRESSES = 8;
/** A peer that has been announced for this long is worth more than a new one, ms. */
const ACQUAINTED_MS = 60_000;
/** What announces itself for hours is asked again nevertheless. */
const MAX_TTL_MS = 120_000;
/** RFC 6762, 5.2: at this part of its time a record is asked for again. */
const REFRESH_AT = 0.8;
/** A peer that was there so shortly ago keeps its place, and its standing: a goodbye can be forged, and it is asked again, ms. */
const RECENTLY_MS = 10_000;
/** How long a lost peer is told of, ms. */
const KEEP_LOST_MS = 600_000;
/** Ids of which somebody told that they have joined before they were announced. */
const MAX_FORETOLD = 4_096;
const OTHER_VERSION = "speaks another version of the protocol";

interface Entry {
  sighting: Sighting;
  /** When each address ends, on the monotonic clock; the latest that was announced first. */
  addresses: Map<string, number>;
  /** When it was first announced, or again after it was lost. */
  cameAt: number;
  seenAt: number;
  until: number;
  state: PeerState;
  why: string | undefined;
  since: number;
  changedAt: number;
}

export class PeerTable {
  readonly #options: PeerTableOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #foretold = new Set<string>();

  constructor(options: PeerTableOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Takes an announcement in. */
  sight(sighting: Sighting): void {
    const { id } = sighting.text;
    const known = this.#entries.get(id);
    if (known) this.#again(id, known, sighting);
    else if (this.#makeRoom(sighting.source, this.#foretold.has(id))) this.#first(id, sighting);
  }

  /** It said goodbye, or somebody did in its name. */
  goodbye(id: string): void {
    this.#apply(id, { type: "GOODBYE" }, "said goodbye");
  }

  /** What somebody who dials has found. Of a peer that is not announced (yet) it is kept whether it has joined. */
  mark(id: string, state: PeerState, why?: string): void {
    if (state !== "joined") this.#foretold.delete(id);
    else if (this.#foretold.size < MAX_FORETOLD) this.#foretold.add(id);
    this.#apply(id, told(state), why);
  }

  /** Ends what was not announced again in time. */
  expire(): void {
    const now = this.#options.clock.monotonic();
    for (const [id, entry] of this.#entries) {
      if (entry.until <= now) this.#apply(id, { type: "EXPIRED" }, "fell silent");
      else if (endOldAddresses(entry, now)) this.#options.onChange(peerOf(id, entry), false);
      if (entry.state === "lost" && now - entry.changedAt >= KEEP_LOST_MS) this.#entries.delete(id);
    }
  }

  /** When a peer is to be asked for again, on the monotonic clock. */
  get refreshAt(): number {
    const times = [...this.#entries.values()]
      .filter(({ state }) => state !== "lost")
      .map(({ seenAt, until }) => seenAt + (until - seenAt) * REFRESH_AT);
    return Math.min(...times);
  }

  /** Some peer has announced itself from this address for a while, or has joined. */
  isKnown(source: string): boolean {
    const now = this.#options.clock.monotonic();
    for (const entry of this.#entries.values()) {
      const { state, sighting, cameAt } = entry;
      if (sighting.source !== source || state === "rejected" || isLongLost(entry, now)) continue;
      if (state === "joined" || now - cameAt >= ACQUAINTED_MS) return true;
    }
    return false;
  }

  /** Some other peer is there. */
  hasOthers(than: string): boolean {
    for (const [id, { state }] of this.#entries) if (id !== than && state !== "lost") return true;
    return false;
  }

  state(id: string): PeerState | undefined {
    return this.#entries.get(id)?.state;
  }

  list(): readonly Peer[] {
    return [...this.#entries].map(([id, entry]) => peerOf(id, entry));
  }

  #first(id: string, sighting: Sighting): void {
    const { clock, onChange } = this.#options;
    const now = clock.monotonic();
    const until = now + Math.min(sighting.ttlMs, MAX_TTL_MS);
    const [state, why] = this.#foretold.has(id) ? (["joined", undefined] as const) : welcome(sighting);
    const addresses = new Map(sighting.addresses.map((address) => [address, until]));
    const entry = {
      ...{ sighting, addresses, until, state, why },
      seenAt: now,
      cameAt: now,
      changedAt: now,
      since: clock.now(),
    };
    this.#entries.set(id, entry);
    onChange(peerOf(id, entry), true);
  }

  #again(id: string, entry: Entry, sighting: Sighting): void {
    const now = this.#options.clock.monotonic();
    const changed = !sameClaims(entry.sighting, sighting);
    entry.sighting = sighting;
    if (isLongLost(entry, now)) entry.cameAt = now;
    entry.seenAt = now;
    entry.until = now + Math.min(sighting.ttlMs, MAX_TTL_MS);
    const moved = addAddresses(entry, sighting.addresses);
    const [state, why] = welcome(sighting);
    const applied =
      state === "rejected"
        ? this.#apply(id, told(state), why)
        : this.#apply(id, { type: changed ? "CHANGED" : "ANNOUNCED" });
    if (!applied && (changed || moved)) this.#options.onChange(peerOf(id, entry), true);
  }

  /** Says whether the peer is in another state now. */
  #apply(id: string, event: PeerEvent, why?: string): boolean {
    const { clock, onChange } = this.#options;
    const entry = this.#entries.get(id);
    if (entry === undefined) return false;
    const state = nextPeerState(entry.state, event);
    if (state === entry.state && (state !== "rejected" || why === undefined || why === entry.why)) return false;
    Object.assign(entry, { state, why, since: clock.now(), changedAt: clock.monotonic() });
    onChange(peerOf(id, entry), event.type === "ANNOUNCED" || event.type === "CHANGED");
    return true;
  }

  /** False if there is none. */
  #makeRoom(source: string, joined: boolean): boolean {
    const now = this.#options.clock.monotonic();
    let ofSource = 0;
    const oldest = new Map<PeerState, string>();
    for (const [id, entry] of this.#entries) {
      const { state, sighting } = entry;
      if (state !== "lost" && sighting.source === source) ofSource += 1;
      // The map is in the order in which they came.
      if (!oldest.has(state) && (state !== "lost" || isLongLost(entry, now))) oldest.set(state, id);
    }
    if (ofSource >= MAX_PER_SOURCE && !joined) return false;
    if (this.#entries.size < MAX_PEERS) return true;
    const worst = oldest.get("lost") ?? (joined ? (oldest.get("rejected") ?? oldest.get("seen")) : undefined);
    return worst !== undefined && this.#entries.delete(worst);
  }
}

function isLongLost({ state, changedAt }: Entry, now: number): boolean {
  return state === "lost" && now - changedAt >= RECENTLY_MS;
}

/** The state of a peer that is announced for the first time. */
function welcome({ text }: Sighting): readonly [PeerState, string | undefined] {
  return speaksOurVersion(text) ? ["seen", undefined] : ["rejected", OTHER_VERSION];
}

function sameClaims(a: Sighting, b: Sighting): boolean {
  return (
    a.port === b.port &&
    a.text.version === b.text.version &&
    a.text.mode === b.text.mode &&
    a.text.swarm === b.text.swarm &&
    a.text.pinPrefix === b.text.pinPrefix &&
    a.text.natsPort === b.text.natsPort
  );
}

/** Says whether there is a new one. New ones come to the front; the last go if there are too many. */
function addAddresses(entry: Entry, addresses: readonly string[]): boolean {
  const fresh = addresses.filter((address) => !entry.addresses.has(address));
  for (const address of addresses) if (entry.addresses.has(address)) entry.addresses.set(address, entry.until);
  if (fresh.length === 0) return false;
  const all = [...fresh.map((address) => [address, entry.until] as const), ...entry.addresses];
  entry.addresses = new Map(all.slice(0, MAX_ADDRESSES));
  return true;
}

/** Says whether there was one. The last one stays: it is the best guess for a peer that has joined. */
function endOldAddresses({ addresses }: Entry, now: number): boolean {
  const old = [...addresses].filter(([, until]) => until <= now).map(([address]) => address);
  const ended = old.length < addresses.size ? old : old.slice(1);
  for (const address of ended) addresses.delete(address);
  return ended.length > 0;
}

function peerOf(id: string, { sighting, addresses, state, why, since }: Entry): Peer {
  const { mode, swarm, pinPrefix, natsPort } = sighting.text;
  return {
    ...{ id, mode, state, since },
    ...(swarm !== undefined && { swarm }),
    ...(pinPrefix !== undefined && { pinPrefix }),
    addresses: [...addresses.keys()],
    port: sighting.port,
    ...(natsPort !== undefined && { natsPort }),
    ...(why !== undefined && { why }),
  };
}
