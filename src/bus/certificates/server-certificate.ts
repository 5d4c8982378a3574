/**
 * The certificate that the servers of a swarm's leading node show, NATS and HTTP alike.
 *
 * What is on disk is used as long as it is good: signed by the home's authority, with a third of its life left, for all names
 * and addresses that are wanted, and with its own key beside it. So a pair that was half written is not used, but made anew.
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { type Clock, systemClock } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import { readIfPresent, readSecret, writeWhole } from "../home/files.ts";
import type { HomeLayout } from "../home/layout.ts";
import { type Authority, BACKDATED_MS, ensureAuthority, validityOf, withAuthorityLock } from "./authority.ts";
import { makeServerCertificate } from "./make.ts";

export interface ServerCertificate {
  /** The server's certificate, followed by the authority's. */
  readonly certificatePem: string;
  readonly keyPem: string;
  /** Milliseconds since the epoch. */
  readonly notAfter: number;
  /** Made by this call. */
  readonly renewed: boolean;
  /** Why it was made; undefined if it was not. */
  readonly reason?: string;
}

export interface WantedNames {
  /** DNS names. Those that a certificate cannot hold are left out. */
  readonly names: readonly string[];
  /** IP addresses. Link-local IPv6 ones are left out: they mean nothing without an interface. */
  readonly addresses: readonly string[];
}

const DAY_MS = 24 * 3_600_000;
/** The longest that all common TLS libraries take. */
const LIFE_MS = 397 * DAY_MS;
/** Made anew when less than this part of its life is left: a node that was switched off for months is still in time. */
const LEFT_AT_LEAST = 1 / 3;

const DNS_NAME = /^(?=.{1,253}$)(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*$/;

/**
 * The server's certificate for the swarm's name, this machine's loopback and all that `wanted` names.
 *
 * @throws VgasError CONFIG as `ensureAuthority`, INVALID if an address is none
 */
export async function ensureServerCertificate(
  layout: HomeLayout,
  wanted: WantedNames,
  clock: Clock = systemClock,
): Promise<ServerCertificate> {
  const authority = await ensureAuthority(layout, clock);
  const covered = completed(authority, wanted);
  const present = await judge(layout, authority, covered, clock);
  if (typeof present !== "string") return present;
  return await withAuthorityLock(layout, "making the server's certificate", clock, async () => {
    const found = await judge(layout, authority, covered, clock);
    return typeof found === "string" ? await make(layout, authority, covered, clock, found) : found;
  });
}

/** What is on disk, or why it will not do. */
async function judge(
  layout: HomeLayout,
  authority: Authority,
  wanted: WantedNames,
  clock: Clock,
): Promise<ServerCertificate | string> {
  const certificatePem = await readIfPresent(layout.authority.serverCertificate);
  if (certificatePem === undefined) return "there was none";
  const keyPem = await readSecret(layout.authority.serverKey).catch((error: unknown) => {
    if (error instanceof VgasError && error.code === "NOT_FOUND") return undefined;
    throw error;
  });
  if (keyPem === undefined) return "its key is missing";
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(certificatePem);
    if (!certificate.checkPrivateKey(createPrivateKey(keyPem))) return "its key is another one's";
  } catch {
    return "its file is damaged";
  }
  const ca = new X509Certificate(authority.caPem);
  if (!certificate.checkIssued(ca) || !certificate.verify(ca.publicKey)) return "it is of another authority";
  // The servers send what the file holds, so the authority has to be in it too.
  if (!certificatePem.endsWith(authority.caPem)) return "its file is damaged";
  const { fromMs, untilMs } = validityOf(certificate);
  const now = clock.now();
  if (now < fromMs) return `it begins at ${new Date(fromMs).toISOString()}, after the time of this machine's clock`;
  if (untilMs <= now) return `it ended at ${new Date(untilMs).toISOString()}`;
  if (untilMs - now < (untilMs - fromMs) * LEFT_AT_LEAST) return `it ends at ${new Date(untilMs).toISOString()}`;
  const missing =
    wanted.names.find((name) => certificate.checkHost(name, { subject: "never" }) === undefined) ??
    wanted.addresses.find((address) => certificate.checkIP(address) === undefined);
  if (missing !== undefined) return `it was not for ${missing}`;
  return { certificatePem, keyPem, notAfter: untilMs, renewed: false };
}

async function make(
  layout: HomeLayout,
  { caPem, serverName }: Authority,
  { names, addresses }: WantedNames,
  clock: Clock,
  reason: string,
): Promise<ServerCertificate> {
  const now = clock.now();
  const issuer = { certificatePem: caPem, keyPem: await readSecret(layout.authority.caKey) };
  const untilMs = Math.min(now + LIFE_MS, validityOf(new X509Certificate(caPem)).untilMs);
  const validity = { fromMs: now - BACKDATED_MS, untilMs };
  const made = await makeServerCertificate(issuer, serverName, validity, names, addresses);
  const certificatePem = made.certificatePem + caPem;
  await writeWhole(layout.authority.serverKey, made.keyPem);
  await writeWhole(layout.authority.serverCertificate, certificatePem);
  const { untilMs: notAfter } = validityOf(new X509Certificate(certificatePem));
  return { certificatePem, keyPem: made.keyPem, notAfter, renewed: true, reason };
}

function completed({ serverName }: Authority, { names, addresses }: WantedNames): WantedNames {
  const dns = names.map((name) => name.toLowerCase()).filter((name) => DNS_NAME.test(name) && isIP(name) === 0);
  const ip = addresses.map((address) => address.replace(/%.*$/, ""));
  const wrong = ip.find((address) => isIP(address) === 0);
  if (wrong !== undefined) throw new VgasError("INVALID", `${JSON.stringify(wrong)} is no IP address`);
  return {
    names: [...new Set([serverName, "localhost", ...dns])],
    addresses: [...new Set(["127.0.0.1", "::1", ...ip.filter((address) => !/^fe[89ab]/i.test(address))])],
  };
}
