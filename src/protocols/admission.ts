/**
 * How a machine asks to be let into a swarm: HTTPS POST with JSON on the master's HTTP port, the one door that needs no
 * credential.
 *
 * | path | body | answer |
 * |---|---|---|
 * | `/join/hello` | who asks, with which public nkey, and the commitment to a nonce | swarm id and a challenge |
 * | `/join/prove` | challenge, nonce, and a token's signature | admitted |
 * | `/join/ask` | challenge and nonce, again and again | pending with a fingerprint, or admitted |
 *
 * A token's secret is the seed of an Ed25519 key and never travels: what is sent is a signature over `proofText`, which binds it
 * to this swarm, its certificate, this challenge and who asks. Without a token an operator compares fingerprints: the nonce is
 * committed to before the challenge is known, so nobody in between can search for a nonce that makes two fingerprints equal,
 * although they are short.
 */
import { z } from "zod";
import { ADMISSION_ROLES } from "./roles.ts";
import { isToken } from "./tokens.ts";

export const JOIN_PATHS = { hello: "/join/hello", prove: "/join/prove", ask: "/join/ask" } as const;

/** Largest body of a request; the largest that is meant has 700 bytes. */
export const MAX_JOIN_BODY_BYTES = 8 * 1024;

/** `vgas1-<swarm id>-<pin>-<token id>-<secret>-<check>`; by width, since base64url may hold a hyphen. */
export const TOKEN_LINE =
  /^vgas1-([a-z2-7]{10})-([A-Za-z0-9_-]{43})-([a-z2-7]{10})-([A-Za-z0-9_-]{43})-([A-Za-z0-9_-]{6})$/;

/** Id of a token: names its file. */
export const TOKEN_ID = /^[a-z2-7]{10}$/;
export const SWARM_ID = /^[a-z2-7]{10}$/;

/** 32 bytes as base64url. */
const bytes32 = z.string().regex(/^[A-Za-z0-9_-]{43}$/, "must be 32 bytes as base64url");
/** An Ed25519 signature as base64url. */
const bytes64 = z.string().regex(/^[A-Za-z0-9_-]{86}$/, "must be 64 bytes as base64url");
const name = z.string().refine(isToken, "must be a token [A-Za-z0-9_-]{1,64}");
const nkey = z.string().regex(/^U[A-Z2-7]{55}$/, "must be the public nkey of a user, U…");

/** What a machine can want to be. */
export const WANTED_ROLES = ["worker", "dispatcher", "client"] as const;
export type WantedRole = (typeof WANTED_ROLES)[number];

export const helloRequest = z.object({
  v: z.literal(1),
  /** Host id of a node; `c…` for a client. */
  user: name,
  nkey,
  /** What it is to be able to do: `dispatcher` and `worker` for a node, `client` for whoever runs no agents. Its role the token says. */
  role: z.enum(WANTED_ROLES),
  /** SHA-256 of the nonce. */
  commitment: bytes32,
  /** Name of the machine, for the operator. */
  machine: z
    .string()
    .max(255)
    .regex(/^[^\p{C}]*$/u, "must not hold control characters"),
});
export type HelloRequest = z.infer<typeof helloRequest>;

export const helloReply = z.object({ v: z.literal(1), swarmId: z.string().regex(SWARM_ID), challenge: bytes32 });
export type HelloReply = z.infer<typeof helloReply>;

export const proveRequest = z.object({
  v: z.literal(1),
  challenge: bytes32,
  nonce: bytes32,
  token: z.object({ id: z.string().regex(TOKEN_ID, "must be a token's id"), publicKey: bytes32, signature: bytes64 }),
});
export type ProveRequest = z.infer<typeof proveRequest>;

export const askRequest = z.object({ v: z.literal(1), challenge: bytes32, nonce: bytes32 });
export type AskRequest = z.infer<typeof askRequest>;

export const admitted = z.object({
  v: z.literal(1),
  state: z.literal("admitted"),
  swarmId: z.string().regex(SWARM_ID),
  /** First token of the swarm's subjects. */
  prefix: name,
  /** As asked for; a guest gets its name from the swarm. */
  user: name,
  role: z.enum(ADMISSION_ROLES),
  natsPort: z.number().int().min(1).max(65_535),
  serverName: z.string().min(1).max(255),
  /** Public nkey of the node that runs the vault. */
  vaultKey: nkey.optional(),
});
export type Admitted = z.infer<typeof admitted>;

export const askReply = z.discriminatedUnion("state", [
  admitted,
  z.object({ v: z.literal(1), state: z.literal("pending"), fingerprint: z.string().max(64) }),
]);
export type AskReply = z.infer<typeof askReply>;

/** Every refusal: `{error: {code, message, retryable}}`. */
export const refusal = z.object({
  error: z.object({ code: z.string().max(100), message: z.string().max(4_000), retryable: z.boolean() }),
});

/** What a proof is over, and what a fingerprint is of. */
export interface JoinFacts {
  readonly swarmId: string;
  /** Of the certificate authority: as the swarm knows it, or as the joiner sees it. */
  readonly pin: string;
  readonly challenge: string;
  readonly nonce: string;
  readonly nkey: string;
  readonly user: string;
  readonly role: string;
}

/** The text that a token's key signs. No field can hold a line end, so no two facts have the same text. */
export function proofText(tokenId: string, facts: JoinFacts): string {
  return text("vgas join proof 1", [facts.swarmId, facts.pin, tokenId, ...rest(facts)]);
}

/** The text whose digest both sides show. */
export function fingerprintText(facts: JoinFacts): string {
  return text("vgas join fingerprint 1", [facts.swarmId, facts.pin, ...rest(facts)]);
}

function rest({ challenge, nonce, nkey, user, role }: JoinFacts): readonly string[] {
  return [challenge, nonce, nkey, user, role];
}

function text(purpose: string, fields: readonly string[]): string {
  return [purpose, ...fields].map((field) => `${field}\n`).join("");
}
