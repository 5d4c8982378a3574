/**
 * Reads an mDNS response: which nodes it announces, which it takes back. Pure.
 *
 * The browser of bonjour-service is not used for this: its list is unbounded, it keeps neither the time at which a service was last
 * announced nor an address that has changed, and its cost grows with the square of the records of a packet.
 */
import { type NodeText, parseText, SERVICE_DOMAIN } from "../../protocols/discovery.ts";
import { isToken } from "../../protocols/tokens.ts";
import { isDialable } from "./interfaces.ts";

/** A record as the decoder of bonjour-service gives it; `data` depends on the type, and is not to be trusted. */
export interface ResourceRecord {
  readonly type: string;
  readonly name: string;
  readonly ttl?: number;
  readonly data?: unknown;
}

export interface DnsPacket {
  readonly questions: readonly ResourceRecord[];
  readonly answers: readonly ResourceRecord[];
  readonly additionals: readonly ResourceRecord[];
}

/** One whole announcement. */
export interface Sighting {
  readonly text: NodeText;
  readonly port: number;
  readonly addresses: readonly string[];
  /** How long it holds, ms. */
  readonly ttlMs: number;
  /** Address that it came from. */
  readonly source: string;
}

export interface Response {
  readonly sightings: readonly Sighting[];
  /** Ids that are taken back. */
  readonly goodbyes: readonly string[];
  /** Ids of which something was said, but not everything: one has to ask. */
  readonly partial: readonly string[];
}

/** Instances that are read from one packet. */
const MAX_INSTANCES = 16;
/** Addresses that are taken from one announcement. */
const MAX_ADDRESSES = 4;

export function readResponse(packet: DnsPacket, source: string): Response {
  const records = [...packet.answers, ...packet.additionals];
  const instances = new Map<string, ResourceRecord[]>();
  const hosts = new Map<string, string[]>();
  for (const record of records) {
    const id = idOf(record);
    if (id !== undefined) {
      const known = instances.get(id);
      if (known) known.push(record);
      else if (instances.size < MAX_INSTANCES) instances.set(id, [record]);
    } else if (record.type === "A" && record.ttl !== 0 && typeof record.data === "string") {
      const host = record.name.toLowerCase();
      const addresses = hosts.get(host) ?? [];
      if (addresses.length < MAX_ADDRESSES && isDialable(record.data, source)) addresses.push(record.data);
      hosts.set(host, addresses);
    }
  }
  const response = { sightings: [] as Sighting[], goodbyes: [] as string[], partial: [] as string[] };
  for (const [id, own] of instances) {
    const sighting = sightingOf(id, own, hosts, source);
    if (own.some(({ ttl }) => ttl === 0)) response.goodbyes.push(id);
    else if (sighting === "partial") response.partial.push(id);
    else if (sighting !== undefined) response.sightings.push(sighting);
  }
  return response;
}

/** Undefined if it says something that no node of ours would say. */
function sightingOf(
  id: string,
  records: readonly ResourceRecord[],
  hosts: ReadonlyMap<string, readonly string[]>,
  source: string,
): Sighting | "partial" | undefined {
  const srv = records.find(({ type }) => type === "SRV");
  const txt = records.find(({ type }) => type === "TXT");
  if (srv === undefined || txt === undefined) return "partial";
  const text = parseText(stringsOf(txt.data));
  const { port, target } = Object(srv.data) as { readonly port?: unknown; readonly target?: unknown };
  if (text?.id !== id || typeof port !== "number" || port < 1 || typeof target !== "string") return undefined;
  const announced = hosts.get(target.toLowerCase()) ?? [];
  const addresses = announced.length > 0 ? announced : [source].filter((address) => isDialable(address, source));
  if (addresses.length === 0) return undefined;
  const ttlS = Math.min(...records.map(({ ttl = 0 }) => ttl));
  return { text, port, addresses, ttlMs: ttlS * 1_000, source };
}

/** Id of the node that a record is about: a pointer to it, or its SRV or TXT record. */
function idOf({ type, name, data }: ResourceRecord): string | undefined {
  const about = type === "PTR" && name.toLowerCase() === SERVICE_DOMAIN ? data : name;
  if (!["PTR", "SRV", "TXT"].includes(type) || typeof about !== "string") return undefined;
  if (!about.toLowerCase().endsWith(`.${SERVICE_DOMAIN}`)) return undefined;
  const id = about.slice(0, -SERVICE_DOMAIN.length - 1);
  return isToken(id) ? id : undefined;
}

function stringsOf(data: unknown): readonly Uint8Array[] {
  const strings: readonly unknown[] = Array.isArray(data) ? data : [data];
  return strings.filter((each) => each instanceof Uint8Array);
}
