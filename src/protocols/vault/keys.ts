/** A provider's key as everybody may see it: its settings, its state and its use. The key itself is in none of these. */
import { z } from "zod";
import { isToken } from "../tokens.ts";
import { carriesKeys } from "./header-names.ts";

export const token = z.string().refine(isToken, "must be a token [A-Za-z0-9_-]{1,64}");
const count = z.number().int().min(0);
const tokens = z.array(token).max(1_000);

/** `https://host[:port]`, or `http://` for what does not leave the machine or the private network. No path, no user. */
const origin = z
  .string()
  .max(300)
  .refine(isOrigin, "must be an origin such as https://api.example.com, without a path");

/** How much a key may be used: `limit` calls (leases count as one), tokens, or nano-dollars, in each UTC day or month. */
export const budget = z.strictObject({
  unit: z.enum(["calls", "tokens", "cost"]),
  per: z.enum(["day", "month"]),
  limit: count,
});
export type Budget = z.infer<typeof budget>;

/** The settings of a key, as the vault keeps them. */
export const keySettings = z.strictObject({
  /** Name of the header that carries the key, and what stands before it: `authorization`, `Bearer `. */
  header: z
    .string()
    .regex(/^[a-z0-9-]{1,64}$/, "must be a header's name in small letters")
    .optional(),
  scheme: z
    .string()
    .regex(/^[\x20-\x7e]{0,64}$/, "must be at most 64 printable characters")
    .optional(),
  /** Where brokered calls may go. */
  origins: z.array(origin).max(32).optional(),
  /** Whether these may be addresses of a private network, of this machine included. */
  allowPrivate: z.boolean().optional(),
  /** Whether agents may have the key itself; otherwise only brokered calls are made with it. */
  lease: z.boolean().optional(),
  /** Only tasks of these kinds, pools, and only nodes with these ids; left out: all. */
  kinds: tokens.optional(),
  pools: tokens.optional(),
  nodes: tokens.optional(),
  budgets: z.array(budget).max(6).optional(),
});
export type KeySettings = z.infer<typeof keySettings>;

/** What an operator sets for a new key. Stricter than what is kept: what was accepted once must stay readable. */
export const newKeySettings = keySettings.extend({
  header: keySettings.shape.header.refine(
    (name) => name === undefined || carriesKeys(name),
    "must not be a header of the connection or the message's frame, such as host: no key can be carried in one",
  ),
});

const { shape } = newKeySettings;

/** New settings for a key that is there: those given; null takes one away, so that its default holds again. */
export const settingsChange = z.strictObject({
  header: shape.header.nullable(),
  scheme: shape.scheme.nullable(),
  origins: shape.origins.nullable(),
  allowPrivate: shape.allowPrivate.nullable(),
  lease: shape.lease.nullable(),
  kinds: shape.kinds.nullable(),
  pools: shape.pools.nullable(),
  nodes: shape.nodes.nullable(),
  budgets: shape.budgets.nullable(),
});

/** Settings with every default filled in. */
export type ResolvedKeySettings = Filled<Omit<KeySettings, "kinds" | "pools" | "nodes">> &
  Pick<KeySettings, "kinds" | "pools" | "nodes">;
// zod's optional fields are also `| undefined`, which Required leaves in.
type Filled<Fields> = { [Name in keyof Fields]-?: Exclude<Fields[Name], undefined> };

const counter = count.default(0);

/** What was used. Sums of the ledger's records, nothing else. */
export const usage = z.object({
  leases: counter,
  calls: counter,
  /** Calls that failed or were answered with a status of 400 or above. */
  errors: counter,
  /** Of bodies. */
  bytesSent: counter,
  bytesReceived: counter,
  inputTokens: counter,
  outputTokens: counter,
  /** Of the input tokens, those that the provider had cached. */
  cachedTokens: counter,
  /** Billionths of a US dollar. */
  costNanoUsd: counter,
});
export type Usage = z.infer<typeof usage>;
export const USAGE_FIELDS = Object.keys(usage.shape) as readonly (keyof Usage)[];

export const NO_USAGE: Usage = Object.freeze(usage.parse({}));

export function addUsage(a: Usage, b: Partial<Usage>): Usage {
  const sum = { ...a };
  for (const field of USAGE_FIELDS) sum[field] += b[field] ?? 0;
  return sum;
}

/** A key as `list` and `show` tell it. */
export const keyView = z.object({
  provider: token,
  name: token,
  version: count,
  /** Term of the keyring that seals it. */
  term: count,
  /** Last four characters, of a key long enough that they tell nothing. */
  last4: z.string().optional(),
  /** Keyed hash: the same key stored twice in one vault has the same. */
  fingerprint: z.string(),
  createdAt: z.number(),
  /** When its present version was stored. */
  changedAt: z.number(),
  lastUsedAt: z.number().optional(),
  settings: keySettings,
  /** Until when it is not used, and why: the provider refused it or asked to wait. */
  resting: z.object({ until: z.number(), status: count }).optional(),
  usage,
  budgets: z.array(budget.extend({ used: count, reserved: count, resetsAt: z.number() })),
});
export type KeyView = z.infer<typeof keyView>;

/** What rows of `usage` can be grouped by. */
export const USAGE_GROUPS = ["provider", "key", "node", "agent", "kind", "task"] as const;
export type UsageGroup = (typeof USAGE_GROUPS)[number];

function isOrigin(text: string): boolean {
  try {
    const url = new URL(text);
    return (url.protocol === "https:" || url.protocol === "http:") && url.origin === text;
  } catch {
    return false;
  }
}
