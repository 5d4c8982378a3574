/**
 * What a home is in a swarm that another node leads: its credential, the swarm's certificate authority, and where it was last.
 *
 * 1. The record is written last and removed first: where it is, seed and authority are those that it speaks of.
 * 2. The seed of a question that is not answered yet is on disk before it is asked (`askingSeed`): a lost answer is asked for
 *    again with the same key, and the swarm gives the same credential.
 * 3. Which swarm was asked without a token is on disk before its fingerprint is shown (`askedSwarm`): what was compared holds for
 *    that swarm only, so a question that goes on after a restart goes to no other.
 */
import { unlink } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { VgasError } from "../../protocols/errors.ts";
import { ROLES, type Role } from "../../protocols/roles.ts";
import { inboxPrefix } from "../../protocols/subjects.ts";
import { isToken } from "../../protocols/tokens.ts";
import { parseSeed, readSeed } from "../credentials/user-records.ts";
import { createUserKeys, userKeyOfSeed } from "../sealed/user-keys.ts";
import { diskError, errnoOf, makePrivateDir, readIfPresent, writeWhole } from "./files.ts";
import type { HomeLayout } from "./layout.ts";

export interface Membership {
  readonly swarmId: string;
  /** SHA-256 of the authority's certificate, base64url. */
  readonly pin: string;
  /** First token of the swarm's subjects. */
  readonly prefix: string;
  readonly user: string;
  readonly role: Role;
  /** Of NATS, `tls://host:port`. */
  readonly urls: readonly string[];
  /** HTTP doors of the master, `host:port`. */
  readonly doors: readonly string[];
  /** PEM of the swarm's certificate authority. */
  readonly ca: string;
  /** Name that the swarm's certificate holds. */
  readonly serverName: string;
  readonly seed: Uint8Array;
  readonly inboxPrefix: string;
  /** Public nkey of the node that runs the vault. */
  readonly vaultKey?: string;
}

/** Where a swarm is reached: what changes when its master moves. */
export type MemberAddresses = Pick<Membership, "urls" | "doors">;

const record = z.object({
  v: z.literal(1),
  swarmId: z.string(),
  pin: z.string(),
  prefix: z.string().refine(isToken),
  user: z.string().refine(isToken),
  role: z.enum(ROLES),
  /** Of the seed beside it. */
  publicKey: z.string(),
  urls: z.array(z.string()).min(1),
  doors: z.array(z.string()),
  serverName: z.string(),
  vaultKey: z.string().optional(),
});
type MemberRecord = z.infer<typeof record>;

/** The membership of a home, undefined if it is a member of no swarm. @throws VgasError CONFIG if it is damaged */
export async function readMembership(layout: HomeLayout): Promise<Membership | undefined> {
  const stored = await readRecord(layout);
  if (stored === undefined) return undefined;
  const { v: _, publicKey, vaultKey, ...facts } = stored;
  const [seed, ca] = await Promise.all([
    readSeed(layout.membership.seed),
    readIfPresent(layout.membership.caCertificate),
  ]).catch((error: unknown) => {
    if (error instanceof VgasError && error.code === "NOT_FOUND") throw damaged(layout, error);
    throw error;
  });
  if (ca === undefined || userKeyOfSeed(seed) !== publicKey) throw damaged(layout);
  return {
    ...facts,
    ca,
    seed,
    inboxPrefix: inboxPrefix(facts.user),
    ...(vaultKey !== undefined && { vaultKey }),
  };
}

export async function writeMembership(layout: HomeLayout, membership: Membership): Promise<void> {
  const { seed, ca, inboxPrefix: _, ...facts } = membership;
  await makePrivateDir(layout.membership.dir);
  await remove(layout.membership.record);
  await writeWhole(layout.membership.caCertificate, ca);
  await writeWhole(layout.membership.seed, `${new TextDecoder().decode(seed)}\n`);
  await writeRecord(layout, {
    v: 1,
    ...facts,
    urls: [...facts.urls],
    doors: [...facts.doors],
    publicKey: userKeyOfSeed(seed),
  });
  await remove(askingPath(layout));
  await remove(askedPath(layout));
}

/** Notes where the swarm is reached now. @throws VgasError NOT_FOUND if the home is a member of none */
export async function updateAddresses(layout: HomeLayout, { urls, doors }: MemberAddresses): Promise<void> {
  const stored = await readRecord(layout);
  if (stored === undefined) throw new VgasError("NOT_FOUND", `the home ${layout.dir} is a member of no swarm`);
  await writeRecord(layout, { ...stored, urls: [...urls], doors: [...doors] });
}

/** Idempotent. */
export async function removeMembership(layout: HomeLayout): Promise<void> {
  const { record: path, seed, caCertificate } = layout.membership;
  for (const each of [path, seed, caCertificate, askingPath(layout), askedPath(layout)]) await remove(each);
}

/** A key with which a home asks to be let in. */
export interface AskingKey {
  readonly seed: Uint8Array;
  /** `U…` */
  readonly publicKey: string;
}

/** The key of the question that is not answered yet; the first call makes it. It becomes the membership's. */
export async function askingKey(layout: HomeLayout): Promise<AskingKey> {
  const path = askingPath(layout);
  await makePrivateDir(layout.membership.dir);
  const text = await readIfPresent(path);
  if (text !== undefined) {
    const seed = parseSeed(text, path);
    return { seed, publicKey: userKeyOfSeed(seed) };
  }
  const key = createUserKeys();
  await writeWhole(path, `${new TextDecoder().decode(key.seed)}\n`);
  return key;
}

const asked = z.object({ v: z.literal(1), swarmId: z.string(), pin: z.string() });

/** A swarm that a home asks without a token. */
export type AskedSwarm = Pick<Membership, "swarmId" | "pin">;

/** The swarm whose fingerprint this home has shown; undefined if none. @throws VgasError CONFIG if the note is damaged */
export async function askedSwarm(layout: HomeLayout): Promise<AskedSwarm | undefined> {
  const path = askedPath(layout);
  const text = await readIfPresent(path);
  if (text === undefined) return undefined;
  try {
    const { swarmId, pin } = asked.parse(JSON.parse(text));
    return { swarmId, pin };
  } catch (cause) {
    throw new VgasError("CONFIG", `${path} is damaged; delete it and compare the fingerprint anew`, { cause });
  }
}

export async function noteAskedSwarm(layout: HomeLayout, { swarmId, pin }: AskedSwarm): Promise<void> {
  await makePrivateDir(layout.membership.dir);
  await writeWhole(askedPath(layout), `${JSON.stringify({ v: 1, swarmId, pin })}\n`);
}

/** The file by whose removal a home forgets which swarm it asked. */
export function askedPath(layout: HomeLayout): string {
  return join(layout.membership.dir, "asked.json");
}

function askingPath(layout: HomeLayout): string {
  return join(layout.membership.dir, "asking.nk");
}

async function readRecord(layout: HomeLayout): Promise<MemberRecord | undefined> {
  const text = await readIfPresent(layout.membership.record);
  if (text === undefined) return undefined;
  try {
    return record.parse(JSON.parse(text));
  } catch (error) {
    throw damaged(layout, error);
  }
}

async function writeRecord(layout: HomeLayout, stored: MemberRecord): Promise<void> {
  await writeWhole(layout.membership.record, `${JSON.stringify(stored)}\n`);
}

async function remove(path: string): Promise<void> {
  await unlink(path).catch((error: unknown) => {
    if (errnoOf(error) !== "ENOENT") throw diskError(error, `remove ${path}`);
  });
}

function damaged({ membership, node }: HomeLayout, cause?: unknown): VgasError {
  return new VgasError(
    "CONFIG",
    `the membership in ${membership.dir} is damaged; restore it, or delete that directory and ${node} and let this node join ` +
      "anew, under a new id (`vgas join --token-file F`)",
    cause === undefined ? {} : { cause },
  );
}
