/**
 * The one table of the vault's operations: what each takes, what it answers, and which roles may do it.
 *
 * | operation | roles | does |
 * |---|---|---|
 * | init | admin, system | makes the vault and leaves it unsealed |
 * | unseal, seal | admin, system | opens it with its passphrase; closes it |
 * | store, rotate, delete, rekey | admin, system | writes |
 * | list, show, usage | admin, system, observer | reads, never a key |
 * | audit | admin, system | reads or verifies the trail |
 * | lease, call | worker, dispatcher, system | for a running attempt, by its grant |
 *
 * A `sealed` field is a sealed box (bus/sealed) for the public key of the vault's `hello`, bound to the request's nonce.
 */
import { z } from "zod";
import type { UserRole } from "../roles.ts";
import { keyView, newKeySettings, settingsChange, token, USAGE_GROUPS, usage } from "./keys.ts";

const count = z.number().int().min(0);
/** Bytes of a msgpack bin: msgpackr gives a Buffer, which is a Uint8Array. */
const bytes = (max: number) =>
  z.custom<Uint8Array>((value) => value instanceof Uint8Array && value.length <= max, `must be at most ${max} bytes`);

/** A sealed passphrase or key of at most 4 KiB, with the box around it. */
const sealed = bytes(4_200);
const grant = bytes(8_192);
/** Raw X25519 public key, 32 bytes. */
const publicKey = z.custom<Uint8Array>(
  (value) => value instanceof Uint8Array && value.length === 32,
  "must be 32 bytes",
);
const key = { provider: token, name: token };

/** Largest piece of a body in one message, in bytes: a quarter of what the server takes, so that others get their turn. */
export const CALL_CHUNK_BYTES = 256 * 1024;
/** Largest body of a brokered request, in bytes. */
export const MAX_CALL_BODY_BYTES = 64 * 1024 * 1024;
/** Longest passphrase or key, in bytes. */
export const MAX_SECRET_BYTES = 4_096;

const headers = z.array(z.tuple([z.string().max(256), z.string().max(16_384)])).max(128);

/** A brokered call: opened once, its body written in pieces if it has more than one, its answer read piece by piece. */
const call = z.discriminatedUnion("action", [
  z.strictObject({
    action: z.literal("open"),
    provider: token,
    grant,
    method: z.string().regex(/^[A-Z]{1,16}$/, "must be an HTTP method in capitals"),
    url: z.string().max(8_192),
    headers,
    /** The whole body, or its first piece. */
    body: bytes(CALL_CHUNK_BYTES).optional(),
    /** Further pieces follow by `write`. */
    more: z.boolean().optional(),
  }),
  z.strictObject({
    action: z.literal("write"),
    call: z.string().max(64),
    /** 1 for the first piece after the one that `open` carried. The next is INVALID until this one has its reply. */
    seq: count,
    data: bytes(CALL_CHUNK_BYTES),
    more: z.boolean(),
  }),
  /**
   * Answers when there is something, or after 15 s with nothing. `seq` counts from 1; asked again with the same one, it answers
   * the same, and who still waited gets TIMEOUT.
   */
  z.strictObject({ action: z.literal("read"), call: z.string().max(64), seq: count }),
  z.strictObject({ action: z.literal("cancel"), call: z.string().max(64) }),
]);

const callReply = z.object({
  call: z.string().optional(),
  /** With the first piece of the answer. */
  head: z.object({ status: count, statusText: z.string(), headers }).optional(),
  data: z.custom<Uint8Array>((value) => value instanceof Uint8Array).optional(),
  /** The answer is complete; `usage` is what the call counts. */
  done: z.boolean().optional(),
  usage: usage.optional(),
});
export type CallRequest = z.infer<typeof call>;
export type CallReply = z.infer<typeof callReply>;

/** Rows of `usage`; a field is there if the rows are grouped by it. */
const usageRow = z.object({
  provider: z.string().optional(),
  key: z.string().optional(),
  node: z.string().optional(),
  agent: z.string().optional(),
  kind: z.string().optional(),
  task: z.string().optional(),
  lastUsedAt: z.number(),
  usage,
});
export type UsageRow = z.infer<typeof usageRow>;

const OPERATORS = ["admin", "system"] as const;
const READERS = ["admin", "system", "observer"] as const;
const NODES = ["worker", "dispatcher", "system"] as const;

export const OPERATIONS = {
  /** `acceptRollback`: the swarm had another vault, which is gone for good. */
  init: operation(
    OPERATORS,
    z.strictObject({ sealed, acceptRollback: z.boolean().optional() }),
    z.object({ vaultId: z.string(), generation: count }),
  ),
  unseal: operation(
    OPERATORS,
    /** `acceptRollback`: an older file was put back on purpose. */
    z.strictObject({ sealed, acceptRollback: z.boolean().optional() }),
    z.object({ vaultId: z.string(), generation: count }),
  ),
  seal: operation(OPERATORS, z.strictObject({}), z.object({})),
  /** A new key; without `sealed`, new settings for one that is there. */
  store: operation(
    OPERATORS,
    z.union([
      z.strictObject({ ...key, sealed, settings: newKeySettings }),
      z.strictObject({ ...key, sealed: z.undefined().optional(), settings: settingsChange }),
    ]),
    keyView,
  ),
  /** With a key's name: a new version of it. Without: a new term of the keyring, under which every key is sealed anew. */
  rotate: operation(
    OPERATORS,
    z.union([z.strictObject({ ...key, sealed }), z.strictObject({})]),
    z.object({ term: count, key: keyView.optional() }),
  ),
  delete: operation(OPERATORS, z.strictObject(key), z.object({})),
  /** `sealed` is the present passphrase, `next` the new one. */
  rekey: operation(OPERATORS, z.strictObject({ sealed, next: sealed }), z.object({ generation: count })),
  list: operation(READERS, z.strictObject({}), z.object({ keys: z.array(keyView) })),
  show: operation(READERS, z.strictObject(key), keyView),
  usage: operation(
    READERS,
    z.strictObject({
      by: z.array(z.enum(USAGE_GROUPS)).max(USAGE_GROUPS.length),
      provider: token.optional(),
      /** Id of a task. */
      task: z.string().max(64).optional(),
      /** Milliseconds since the epoch. */
      since: z.number().optional(),
    }),
    z.object({ rows: z.array(usageRow), total: usage }),
  ),
  /** `list` gives records with a sequence above `after`, oldest first, as the lines that stand in the trail. */
  audit: operation(
    OPERATORS,
    z.discriminatedUnion("action", [
      z.strictObject({ action: z.literal("list"), after: count, limit: z.number().int().min(1).max(1_000) }),
      z.strictObject({ action: z.literal("verify") }),
    ]),
    z.object({
      records: z.array(z.string()).optional(),
      /** What was checked, or the first thing that is wrong and where. */
      verdict: z
        .object({
          ok: z.boolean(),
          records: count,
          /** Those of the vault's node that agree. */
          checkpoints: count,
          /** Checkpoints of a trail that was gone when this one began. */
          earlier: count.optional(),
          /** Messages of the stream of checkpoints that the node's present credential did not sign, and the first one's sequence there. */
          unknown: count.optional(),
          unknownAt: count.optional(),
          /** Sequence of the first record that is wrong. */
          at: count.optional(),
          problem: z.string().optional(),
        })
        .optional(),
    }),
  ),
  lease: operation(
    NODES,
    z.strictObject({ provider: token, grant, publicKey }),
    /** `sealed` is for `publicKey`, bound to the SHA-256 of the request's body. */
    z.object({ sealed: bytes(8_192), key: token, version: count, expiresAt: z.number() }),
  ),
  call: operation(NODES, call, callReply),
} as const;

export type OperationName = keyof typeof OPERATIONS;
export const OPERATION_NAMES = Object.keys(OPERATIONS) as readonly OperationName[];
/** What `vault.operation` takes: the name and the fields of one operation. */
export type OperationArgs<Name extends OperationName> = z.output<(typeof OPERATIONS)[Name]["args"]>;
export type OperationReply<Name extends OperationName> = z.output<(typeof OPERATIONS)[Name]["reply"]>;

function operation<Args extends z.ZodType, Reply extends z.ZodType>(
  roles: readonly UserRole[],
  args: Args,
  reply: Reply,
): { readonly roles: readonly UserRole[]; readonly args: Args; readonly reply: Reply } {
  return { roles, args, reply };
}
