/**
 * What nodes say of themselves by mDNS, and what is said to the actor `discovery`.
 *
 * A node announces `<node id>._vgas._tcp.local` at its HTTP port, on a host name of its own, `<node id>.local`. The TXT record:
 *
 * | key | value |
 * |---|---|
 * | `v` | version of this record: 1 |
 * | `id` | node id, the same as the instance name |
 * | `mode` | `master` or `slave` |
 * | `swarm` | swarm id; absent before a swarm is known |
 * | `nats` | port of NATS; absent where there is none |
 * | `pin` | the first 16 characters of the pin of the swarm's certificate authority |
 *
 * Nothing in it is secret and nothing is proof: anybody on the link can announce anything. It tells where to knock.
 *
 * | message | sender | reply |
 * |---|---|---|
 * | `peers {}` | anyone allowed | whether discovery is on, and every peer that it knows |
 */
import { z } from "zod";
import { isToken } from "./tokens.ts";

/** The type of the service: `_vgas._tcp`. */
export const SERVICE = "vgas";
export const SERVICE_DOMAIN = `_${SERVICE}._tcp.local`;

/** Name of the actor. */
export const DISCOVERY = "discovery";

const TXT_VERSION = 1;
const PIN_PREFIX_CHARS = 16;
/** A label of a DNS name has at most 63 bytes; a node id can have 64. */
const MAX_LABEL_BYTES = 63;
/** Strings of a TXT record that are looked at, and bytes of one. Ours has six; others may add some. */
const MAX_TXT_STRINGS = 32;
const MAX_TXT_BYTES = 255;

export const NODE_MODES = ["master", "slave"] as const;
export type NodeMode = (typeof NODE_MODES)[number];

/** What a node announces. */
export interface SelfDescription {
  readonly hostId: string;
  readonly mode: NodeMode;
  readonly swarmId?: string | undefined;
  /** The whole pin; only its beginning is announced. */
  readonly pin?: string | undefined;
  readonly httpPort: number;
  readonly natsPort?: number | undefined;
}

/** A TXT record that was read and found to be well formed. */
export interface NodeText {
  readonly version: number;
  readonly id: string;
  readonly mode: NodeMode;
  readonly swarm?: string;
  readonly natsPort?: number;
  readonly pinPrefix?: string;
}

const nodeText = z.object({
  v: z.string().regex(/^[1-9]\d{0,3}$/),
  id: z.string().refine(isAnnounceable),
  mode: z.enum(NODE_MODES),
  swarm: z
    .string()
    .regex(/^[a-z0-9]{1,16}$/)
    .optional(),
  nats: z
    .string()
    .regex(/^[1-9]\d{0,4}$/)
    .refine((port) => Number(port) <= 65_535)
    .optional(),
  pin: z
    .string()
    .regex(/^[A-Za-z0-9_-]{16}$/)
    .optional(),
});

/** True if `id` can be an instance name and a host name. */
export function isAnnounceable(id: string): boolean {
  return isToken(id) && id.length <= MAX_LABEL_BYTES;
}

/** True if we understand what a node of this version says. */
export function speaksOurVersion(text: NodeText): boolean {
  return text.version === TXT_VERSION;
}

/** Every byte is a character; what is not of the expected form is refused afterwards. */
const latin1 = new TextDecoder("latin1");

/** The keys and values of the TXT record. */
export function formatText(self: SelfDescription): Record<string, string> {
  return {
    v: String(TXT_VERSION),
    id: self.hostId,
    mode: self.mode,
    ...(self.swarmId !== undefined && { swarm: self.swarmId }),
    ...(self.natsPort !== undefined && { nats: String(self.natsPort) }),
    ...(self.pin !== undefined && { pin: self.pin.slice(0, PIN_PREFIX_CHARS) }),
  };
}

/** Reads the strings of a TXT record; undefined unless every key of ours is well formed. Unknown keys are left out. */
export function parseText(strings: readonly Uint8Array[]): NodeText | undefined {
  if (strings.length > MAX_TXT_STRINGS) return undefined;
  const fields = new Map<string, string>();
  for (const bytes of strings) {
    if (bytes.length > MAX_TXT_BYTES) return undefined;
    const string = latin1.decode(bytes);
    const equals = string.indexOf("=");
    if (equals < 1) continue;
    const key = string.slice(0, equals).toLowerCase();
    // RFC 6763, 6.4: of a key that comes twice, the first counts.
    if (!fields.has(key)) fields.set(key, string.slice(equals + 1));
  }
  const { success, data } = nodeText.safeParse(Object.fromEntries(fields));
  if (!success) return undefined;
  const { v, id, mode, swarm, nats, pin } = data;
  return {
    version: Number(v),
    ...{ id, mode },
    ...(swarm !== undefined && { swarm }),
    ...(nats !== undefined && { natsPort: Number(nats) }),
    ...(pin !== undefined && { pinPrefix: pin }),
  };
}

/** How far a peer has come. The chart is `peerMachine`. */
export const PEER_STATES = ["seen", "dialing", "joining", "joined", "rejected", "lost"] as const;
export type PeerState = (typeof PEER_STATES)[number];

export const peer = z.object({
  id: z.string(),
  mode: z.enum(NODE_MODES),
  swarm: z.string().optional(),
  pinPrefix: z.string().optional(),
  /** IPv4, the latest that was announced first. */
  addresses: z.array(z.string()).readonly(),
  /** Of its HTTP server. */
  port: z.number(),
  natsPort: z.number().optional(),
  state: z.enum(PEER_STATES),
  /** Why it was rejected, or is lost. */
  why: z.string().optional(),
  /** When it came to this state, ms since the epoch. */
  since: z.number(),
});
export type Peer = Readonly<z.infer<typeof peer>>;

const DISCOVERY_STATES = ["off", "on"] as const;

const report = z.object({
  state: z.enum(DISCOVERY_STATES),
  /** Why it is off. */
  why: z.string().optional(),
  /** Addresses of the interfaces that are in use. */
  addresses: z.array(z.string()).readonly(),
  peers: z.array(peer).readonly(),
});
export type DiscoveryReport = Readonly<z.infer<typeof report>>;

export const DISCOVERY_PROTOCOL = {
  peers: { schema: z.object({}), reply: report },
};

/** A master that one could ask to be let in. */
export interface MdnsCandidate {
  readonly id: string;
  readonly swarmId?: string;
  readonly pinPrefix?: string;
  readonly addresses: readonly string[];
  readonly port: number;
  readonly natsPort?: number;
  readonly source: "mdns";
}
