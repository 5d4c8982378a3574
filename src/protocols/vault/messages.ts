/**
 * What is said to the actor `vault`, and what a request and a grant look like under their signatures.
 *
 * | message | sender | reply |
 * |---|---|---|
 * | `hello {challenge?}` | anyone allowed | Hello: what a request must name, signed if there was a challenge |
 * | `operation {user, body, signature}` | anyone allowed | what operations.ts says, or an error |
 *
 * `body` is the msgpack form of Request and is signed as it is, with the sender's nkey (Ed25519), behind REQUEST_DOMAIN. A request
 * is good for one vault process (`boot`), once (`nonce`), within REQUEST_WINDOW_MS of the vault's own clock: a sender reckons
 * that clock from `hello`, so the machines' clocks need not agree.
 *
 * NATS does not check who answers: a worker may publish to any inbox. So whoever seals a secret for the vault sends a challenge
 * with `hello` and takes the key only from an answer that the vault's node has signed, with the `system` nkey of its home: Ed25519
 * over HELLO_DOMAIN and the msgpack form of `{boot, now, publicKey, challenge}`, keys in this order.
 */
import { z } from "zod";

/** Name of the actor. */
export const VAULT = "vault";

/** What a signature covers besides the bytes themselves, so that none can be taken for another. */
export const HELLO_DOMAIN = "vgas.vault.hello.v1\0";
export const REQUEST_DOMAIN = "vgas.vault.request.v1\0";
export const GRANT_DOMAIN = "vgas.vault.grant.v1\0";
export const CHECKPOINT_DOMAIN = "vgas.vault.checkpoint.v1\0";

/** How old a request may be, and how far ahead, ms. Its nonce is remembered for as long. */
export const REQUEST_WINDOW_MS = 30_000;
export const NONCE_BYTES = 16;

/** A challenge is random; shorter ones could meet again, longer ones say nothing more. */
const MIN_CHALLENGE_BYTES = 16;
const MAX_CHALLENGE_BYTES = 64;

const bytes = (length: number) =>
  z.custom<Uint8Array>((value) => value instanceof Uint8Array && value.length === length, `must be ${length} bytes`);
const anyBytes = z.custom<Uint8Array>((value) => value instanceof Uint8Array);

export const VAULT_STATES = ["uninitialised", "sealed", "unsealed", "failed"] as const;
export type VaultState = (typeof VAULT_STATES)[number];

export const hello = z.object({
  v: z.literal(1),
  /** This life of the vault: differs after each start. */
  boot: z.string(),
  /** The vault's clock, ms since the epoch. */
  now: z.number(),
  /** Raw X25519 key for sealed boxes; of this life. */
  publicKey: bytes(32),
  state: z.enum(VAULT_STATES),
  /** Why it has failed. */
  why: z.string().optional(),
  vaultId: z.string().optional(),
  host: z.string(),
  /** Of the vault's node; there if there was a challenge. */
  signature: bytes(64).optional(),
});
export type Hello = z.infer<typeof hello>;

export const helloMessage = z.strictObject({
  /** Random, and of this message alone. */
  challenge: z
    .custom<Uint8Array>(
      (value) =>
        value instanceof Uint8Array && value.length >= MIN_CHALLENGE_BYTES && value.length <= MAX_CHALLENGE_BYTES,
      `must be ${MIN_CHALLENGE_BYTES} to ${MAX_CHALLENGE_BYTES} bytes`,
    )
    .optional(),
});

export const request = z.strictObject({
  v: z.literal(1),
  op: z.string().max(32),
  boot: z.string().max(64),
  at: z.number(),
  nonce: bytes(NONCE_BYTES),
  args: z.unknown(),
});
export type Request = z.infer<typeof request>;

export const operationMessage = z.strictObject({ user: z.string().max(64), body: anyBytes, signature: bytes(64) });
export type OperationMessage = z.infer<typeof operationMessage>;

/** What a dispatcher says of an attempt that it hands out: who may use which providers for it, and until when. */
export const grant = z.strictObject({
  v: z.literal(1),
  pool: z.string(),
  kind: z.string(),
  task: z.string(),
  /** When the task was submitted, ms since the epoch: its id may have been that of another one. */
  submittedAt: z.number().optional(),
  attempt: z.number().int().min(1),
  /** Host and agent that run it. */
  host: z.string(),
  agent: z.string(),
  providers: z.array(z.string()).max(64),
  /** Milliseconds since the epoch: the attempt's deadline and the grace after it. */
  expiresAt: z.number(),
});
export type Grant = z.infer<typeof grant>;

/** A grant as it travels: msgpack of this map; `body` is the msgpack form of Grant, `user` the dispatcher that signed it. */
export const signedGrant = z.strictObject({ user: z.string().max(64), body: anyBytes, signature: bytes(64) });

export const VAULT_PROTOCOL = {
  hello: { schema: helloMessage, reply: hello },
  // What an operation replies is checked by the vault itself, against the table of operations.
  operation: { schema: operationMessage, reply: z.unknown() },
} as const;
