/**
 * The certificate authority of a swarm, in the home of the node that leads it: whoever trusts it knows the swarm's servers,
 * whatever address they have.
 *
 * Owns `swarm.json` and `ca.*` of the home's folder `authority`.
 *
 * 1. They are written under the folder's lock, in the order key, certificate, record: of two processes at once both get the
 *    same, and a process that is killed in between leaves what the next call finishes or makes anew.
 * 2. The certificate carries the swarm's id, so the three can be held against each other: what does not fit together is an
 *    error that names the file, and never replaced, for every member of the swarm trusts the one that was there.
 */
import { createPrivateKey, randomBytes, X509Certificate } from "node:crypto";
import { join } from "node:path";
import { z } from "zod";
import { type Clock, systemClock } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import { FileLock } from "../home/file-lock.ts";
import { makePrivateDir, readIfPresent, readSecret, writeWhole } from "../home/files.ts";
import type { HomeLayout } from "../home/layout.ts";
import { makeAuthority } from "./make.ts";
import { pinOf } from "./pin.ts";

/** What everybody may know of a swarm's authority. */
export interface Authority {
  /** Ten characters of base32. */
  readonly swarmId: string;
  readonly caPem: string;
  /** base64url of 32 bytes: `pinOf` its certificate. */
  readonly pin: string;
  /** The name that every server certificate of the swarm holds. */
  readonly serverName: string;
}

const SWARM_ID = /^[a-z2-7]{10}$/;
const swarmRecord = z.object({
  v: z.literal(1),
  swarmId: z.string().regex(SWARM_ID),
  /** Milliseconds since the epoch. */
  createdAt: z.number(),
});

const DAY_MS = 24 * 3_600_000;
/** Whoever joins cannot easily be told another one, so it outlives the machines. */
const LIFE_MS = 3_653 * DAY_MS;
/** Certificates begin in the past: the clocks of a network's machines differ. */
export const BACKDATED_MS = DAY_MS;

const BASE32 = "abcdefghijklmnopqrstuvwxyz234567";
const SWARM_ID_CHARS = 10;
/** Behind which the swarm's id stands in the authority's name. */
const COMMON_NAME = "vgas ";
/** Who holds the lock makes one certificate. */
const LOCK_WAIT_MS = 30_000;

export function serverNameOf(swarmId: string): string {
  return `${swarmId}.vgas.internal`;
}

/**
 * The home's authority; the first call makes it.
 *
 * @throws VgasError CONFIG if its files are damaged or do not fit together, or if this machine's clock is outside its time,
 *   with the file and what deleting it means
 */
export async function ensureAuthority(layout: HomeLayout, clock: Clock = systemClock): Promise<Authority> {
  const present = await load(layout);
  if (present?.recorded === true) return checkTime(present, layout, clock);
  return await withAuthorityLock(layout, "making the swarm's certificate authority", clock, async () => {
    const found = (await load(layout)) ?? (await make(layout, clock));
    if (!found.recorded) {
      const { swarmId } = found.authority;
      await writeWhole(layout.authority.swarm, `${JSON.stringify({ v: 1, swarmId, createdAt: clock.now() })}\n`);
    }
    return checkTime(found, layout, clock);
  });
}

/** The home's authority, undefined if it has none. @throws VgasError CONFIG as `ensureAuthority` */
export async function readAuthority(layout: HomeLayout): Promise<Authority | undefined> {
  return (await load(layout))?.authority;
}

/** Runs `action` while no other process writes to the folder. */
export async function withAuthorityLock<T>(
  layout: HomeLayout,
  operation: string,
  clock: Clock,
  action: () => Promise<T>,
): Promise<T> {
  await makePrivateDir(layout.authority.dir);
  const lock = await FileLock.acquire(join(layout.authority.dir, "lock"), operation, LOCK_WAIT_MS, clock);
  try {
    return await action();
  } finally {
    await lock.release();
  }
}

/** When a certificate begins and ends, in milliseconds since the epoch. */
export function validityOf(certificate: X509Certificate): { readonly fromMs: number; readonly untilMs: number } {
  return { fromMs: Date.parse(certificate.validFrom), untilMs: Date.parse(certificate.validTo) };
}

interface Found {
  readonly authority: Authority;
  readonly certificate: X509Certificate;
  /** False if only the record is missing: whoever made it was killed. */
  readonly recorded: boolean;
}

async function load(layout: HomeLayout): Promise<Found | undefined> {
  const { swarm, caCertificate, caKey } = layout.authority;
  const record = await readIfPresent(swarm);
  const caPem = await readIfPresent(caCertificate);
  if (caPem === undefined) {
    // A key alone was never given to anybody.
    if (record === undefined) return undefined;
    throw damaged(layout, caCertificate, "is missing");
  }
  const keyPem = await readSecret(caKey).catch((error: unknown) => {
    throw error instanceof VgasError && error.code === "NOT_FOUND" ? damaged(layout, caKey, "is missing") : error;
  });
  const certificate = parse(() => new X509Certificate(caPem), layout, caCertificate);
  const key = parse(() => createPrivateKey(keyPem), layout, caKey);
  if (!certificate.checkPrivateKey(key)) throw damaged(layout, caKey, `is not the key of ${caCertificate}`);
  const swarmId = certificate.subject.slice(`CN=${COMMON_NAME}`.length);
  if (certificate.subject !== `CN=${COMMON_NAME}${swarmId}` || !SWARM_ID.test(swarmId) || !certificate.ca) {
    throw damaged(layout, caCertificate, "is not the certificate of a swarm");
  }
  if (record !== undefined) {
    const recorded = parse(() => swarmRecord.parse(JSON.parse(record)), layout, swarm);
    if (recorded.swarmId !== swarmId) throw damaged(layout, swarm, `is of another swarm than ${caCertificate}`);
  }
  const authority = { swarmId, caPem, pin: pinOf(certificate), serverName: serverNameOf(swarmId) };
  return { authority, certificate, recorded: record !== undefined };
}

async function make(layout: HomeLayout, clock: Clock): Promise<Found> {
  const swarmId = newSwarmId();
  const fromMs = clock.now() - BACKDATED_MS;
  const made = await makeAuthority(`${COMMON_NAME}${swarmId}`, { fromMs, untilMs: clock.now() + LIFE_MS });
  await writeWhole(layout.authority.caKey, made.keyPem);
  await writeWhole(layout.authority.caCertificate, made.certificatePem);
  const found = await load(layout);
  if (found === undefined) throw new VgasError("INTERNAL", `${layout.authority.caCertificate} was removed meanwhile`);
  return found;
}

/** 50 bits: two swarms of one network never have the same. */
function newSwarmId(): string {
  return [...randomBytes(SWARM_ID_CHARS)].map((byte) => BASE32[byte % BASE32.length]).join("");
}

function checkTime({ authority, certificate }: Found, layout: HomeLayout, clock: Clock): Authority {
  const { fromMs, untilMs } = validityOf(certificate);
  const now = clock.now();
  if (now >= fromMs && now < untilMs) return authority;
  const says = `this machine's clock says ${new Date(now).toISOString()}`;
  if (now < fromMs) {
    const begins = `the swarm's certificate authority begins at ${new Date(fromMs).toISOString()}`;
    throw new VgasError("CONFIG", `${begins}, but ${says}: set the clock`);
  }
  const ended = `ended at ${new Date(untilMs).toISOString()}, and ${says}`;
  throw damaged(layout, layout.authority.caCertificate, ended);
}

function parse<T>(read: () => T, layout: HomeLayout, path: string): T {
  try {
    return read();
  } catch (cause) {
    throw damaged(layout, path, "is damaged", cause);
  }
}

function damaged(layout: HomeLayout, path: string, what: string, cause?: unknown): VgasError {
  const instead = `delete the folder ${layout.authority.dir}: then the swarm gets a new id and certificate, and every node and client has to be let in again`;
  return new VgasError(
    "CONFIG",
    `${path} ${what}; restore it from a backup, or ${instead}`,
    cause === undefined ? {} : { cause },
  );
}
