/**
 * The users of a home's broker on disk: `<user>.json` says who they are, `<user>.nk` holds the seed if it was made here.
 *
 * 1. A user exists while its record does. Where the seed was made here it is written first, so such a record has its seed.
 * 2. A revoked user's record says so before anything is removed: a revocation that was cut short is finished by the next
 *    call, and never forgotten.
 * 3. A tombstone is the record of a revoked user that stays for good: neither that name nor that key is let in again.
 */
import { readdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { VgasError } from "../../protocols/errors.ts";
import { ROLES, type UserRole } from "../../protocols/roles.ts";
import { isToken } from "../../protocols/tokens.ts";
import { diskError, errnoOf, readIfPresent, readSecret, writeWhole } from "../home/files.ts";
import { createUserKeys, userKeyOfSeed } from "../sealed/user-keys.ts";

const RECORD = ".json";
const SEED = ".nk";

/** Name that no user has: its seed file is the canary's (canary.ts). */
export const CANARY = "canary";

const userRecord = z.object({
  v: z.literal(1),
  user: z.string().refine(isToken),
  role: z.enum([...ROLES, "system"]) satisfies z.ZodType<UserRole>,
  /** Public nkey, `U…`. */
  publicKey: z.string().regex(/^U[A-Z2-7]{55}$/),
  /** Milliseconds since the epoch. */
  createdAt: z.number(),
  revokedAt: z.number().optional(),
  /** The key was made where it is used: there is no seed here. */
  registered: z.literal(true).optional(),
  /** What its operator calls it. */
  name: z.string().max(128).optional(),
  /** The token that let it in. */
  tokenId: z.string().max(64).optional(),
  /** Of a guest: its account has been loaded and loaded again, as the server needs before imports work (credentials.ts). */
  linked: z.literal(true).optional(),
});
export type UserRecord = Readonly<z.infer<typeof userRecord>>;

export function seedFileOf(dir: string, user: string): string {
  return join(dir, `${user}${SEED}`);
}

export async function readUser(dir: string, user: string): Promise<UserRecord | undefined> {
  const path = join(dir, `${user}${RECORD}`);
  const text = await readIfPresent(path);
  if (text === undefined) return undefined;
  try {
    return userRecord.parse(JSON.parse(text));
  } catch (error) {
    throw new VgasError("CONFIG", `${path} is damaged; delete it and issue that credential again`, { cause: error });
  }
}

/** All records, revoked ones included, by name. */
export async function readUsers(dir: string): Promise<readonly UserRecord[]> {
  const names = await readdir(dir).catch((error: unknown) => {
    throw diskError(error, `list ${dir}`);
  });
  const users: UserRecord[] = [];
  for (const name of names.sort()) {
    if (!name.endsWith(RECORD)) continue;
    const record = await readUser(dir, name.slice(0, -RECORD.length));
    if (record !== undefined) users.push(record);
  }
  return users;
}

/** Makes a user with a new seed. A seed that lies there without a record is replaced: it may be one that was revoked. */
export async function createUserRecord(dir: string, user: string, role: UserRole, nowMs: number): Promise<UserRecord> {
  const { seed, publicKey } = createUserKeys();
  const record: UserRecord = { v: 1, user, role, publicKey, createdAt: nowMs };
  await writeWhole(seedFileOf(dir, user), `${new TextDecoder().decode(seed)}\n`);
  seed.fill(0);
  await writeUser(dir, record);
  return record;
}

export async function writeUser(dir: string, record: UserRecord): Promise<void> {
  await writeWhole(join(dir, `${record.user}${RECORD}`), `${JSON.stringify(record)}\n`);
}

/** The seed goes first: what is left after a crash in between is a record that says "revoked". */
export async function removeUser(dir: string, user: string): Promise<void> {
  await removeSeed(dir, user);
  await remove(join(dir, `${user}${RECORD}`));
}

/** Leaves the record. */
export async function removeSeed(dir: string, user: string): Promise<void> {
  await remove(seedFileOf(dir, user));
}

/** @throws VgasError of the disk: a seed or a record that stays would be used again */
async function remove(path: string): Promise<void> {
  await unlink(path).catch((error: unknown) => {
    if (errnoOf(error) !== "ENOENT") throw diskError(error, `remove ${path}`);
  });
}

/**
 * The seed in `path`.
 *
 * @throws VgasError CONFIG if it is no seed of a user, or others can read it; NOT_FOUND if it is missing
 */
export async function readSeed(path: string): Promise<Uint8Array> {
  return parseSeed(await readSecret(path), path);
}

/** `where` names the place in the error; the text itself is never shown. */
export function parseSeed(text: string, where: string): Uint8Array {
  const seed = new TextEncoder().encode(text.trim());
  try {
    userKeyOfSeed(seed);
    return seed;
  } catch {
    throw new VgasError("CONFIG", `${where} holds no seed of a NATS user (SU…)`);
  }
}
