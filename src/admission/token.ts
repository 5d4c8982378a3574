/**
 * A token: the one line by which an operator lets somebody in. Its secret is the seed of an Ed25519 key, which signs instead of
 * travelling; the swarm keeps a digest of the key's public half.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  randomBytes,
  sign,
  timingSafeEqual,
  verify,
} from "node:crypto";
import { type JoinFacts, proofText, TOKEN_LINE } from "../protocols/admission.ts";
import { VgasError } from "../protocols/errors.ts";
import { base32 } from "./base32.ts";

export interface Token {
  readonly swarmId: string;
  /** SHA-256 of the swarm's certificate authority, base64url. */
  readonly pin: string;
  readonly id: string;
  /** 32 bytes, base64url. */
  readonly secret: string;
}

const ID_BYTES = 7;
const ID_CHARS = 10;
const SECRET_BYTES = 32;
const CHECK_CHARS = 6;

/** DER around the 32 bytes of an Ed25519 seed (RFC 8410) and of a public key. */
const PRIVATE_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");
const PUBLIC_PREFIX = Buffer.from("302a300506032b6570032100", "hex");

/** A new token of the swarm. */
export function newToken({ swarmId, pin }: { readonly swarmId: string; readonly pin: string }): Token {
  const id = base32(randomBytes(ID_BYTES)).slice(0, ID_CHARS);
  return { swarmId, pin, id, secret: randomBytes(SECRET_BYTES).toString("base64url") };
}

export function formatToken({ swarmId, pin, id, secret }: Token): string {
  const line = `vgas1-${swarmId}-${pin}-${id}-${secret}`;
  return `${line}-${checkOf(line)}`;
}

/**
 * Reads the line that `vgas token create` printed; white space around it does not matter. The text is never quoted.
 *
 * @throws VgasError TOKEN_INVALID if it is none, or not the whole of one
 */
export function parseToken(text: string): Token {
  const line = text.trim();
  const [, swarmId, pin, id, secret, check] = TOKEN_LINE.exec(line) ?? [];
  if (!swarmId || !pin || !id || !secret || !check) {
    throw new VgasError("TOKEN_INVALID", line.startsWith("vgas1-") ? NOT_WHOLE : NO_TOKEN);
  }
  if (checkOf(line.slice(0, -CHECK_CHARS - 1)) !== check) throw new VgasError("TOKEN_INVALID", NOT_WHOLE);
  return { swarmId, pin, id, secret };
}

const NO_TOKEN = "that is no token: give the line that `vgas token create` printed";
const NOT_WHOLE = "the token is truncated or mistyped: give the whole line that `vgas token create` printed";

/** Public half of the token's key, base64url. */
export function tokenPublicKey(token: Token): string {
  return createPublicKey(privateKeyOf(token))
    .export({ type: "spki", format: "der" })
    .subarray(-32)
    .toString("base64url");
}

/** What the swarm keeps of a token's public key: SHA-256, base64url. */
export function publicKeyHash(publicKey: string): string {
  return createHash("sha256").update(Buffer.from(publicKey, "base64url")).digest("base64url");
}

/** The signature by which the token's holder proves to have it, base64url. */
export function signProof(token: Token, facts: JoinFacts): string {
  return sign(null, Buffer.from(proofText(token.id, facts)), privateKeyOf(token)).toString("base64url");
}

/** Whether `signature` is that of `publicKey` over these facts. */
export function verifyProof(tokenId: string, publicKey: string, signature: string, facts: JoinFacts): boolean {
  try {
    const key = createPublicKey({
      key: Buffer.concat([PUBLIC_PREFIX, Buffer.from(publicKey, "base64url")]),
      type: "spki",
      format: "der",
    });
    return verify(null, Buffer.from(proofText(tokenId, facts)), key, Buffer.from(signature, "base64url"));
  } catch {
    // No point of the curve.
    return false;
  }
}

/** Compares digests or keys without telling by its time how much of them is equal. */
export function sameText(a: string, b: string): boolean {
  const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}

function checkOf(line: string): string {
  return createHash("sha256").update(line).digest("base64url").slice(0, CHECK_CHARS);
}

function privateKeyOf({ secret }: Token): KeyObject {
  const key = Buffer.concat([PRIVATE_PREFIX, Buffer.from(secret, "base64url")]);
  return createPrivateKey({ key, type: "pkcs8", format: "der" });
}
