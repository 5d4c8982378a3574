import { createHash, timingSafeEqual, type X509Certificate } from "node:crypto";

/** The pin of a certificate authority: SHA-256 of its certificate in DER, 32 bytes as base64url. */
export function pinOf(authority: X509Certificate): string {
  return createHash("sha256").update(authority.raw).digest("base64url");
}

/** Compares in a time that tells nothing about where they differ. */
export function samePin(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}
