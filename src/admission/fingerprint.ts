/** What a machine without a token and the swarm's operator compare, and the nonce that makes a short one safe. */
import { createHash, randomBytes } from "node:crypto";
import { fingerprintText, type JoinFacts } from "../protocols/admission.ts";
import { base32 } from "./base32.ts";

const NONCE_BYTES = 32;
const CHARS = 8;

/** 32 random bytes, base64url: a nonce or a challenge. */
export function newNonce(): string {
  return randomBytes(NONCE_BYTES).toString("base64url");
}

/** Binds to `nonce` without telling it. */
export function commitmentTo(nonce: string): string {
  return createHash("sha256").update(Buffer.from(nonce, "base64url")).digest("base64url");
}

/** `k3xm-9dqp`-like: 40 bits, of which nobody can try more than one for a challenge (protocols/admission.ts). */
export function fingerprintOf(facts: JoinFacts): string {
  const text = base32(createHash("sha256").update(fingerprintText(facts)).digest()).slice(0, CHARS);
  return `${text.slice(0, CHARS / 2)}-${text.slice(CHARS / 2)}`;
}

/** As typed by a person: with or without its hyphen, in any case. */
export function sameFingerprint(a: string, b: string): boolean {
  const plain = (text: string): string => text.toLowerCase().replace(/[\s-]/g, "");
  return plain(a) === plain(b);
}
