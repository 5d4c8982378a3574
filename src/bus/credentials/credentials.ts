/**
 * The credentials of a home's broker. Every change is on disk first, then in the broker's accounts file, then in the running
 * broker, and a call returns only when the broker honours it.
 *
 * 1. Changes are made under the credentials lock, so two issuers at once lose nothing.
 * 2. The accounts file is always generated from all records: it never knows more or less than they. Whatever step a crash
 *    comes after, the next call begins with the records and brings the file and the broker in line.
 * 3. Each writing of the file has a canary of its own (canary.ts). An issued or registered credential is told only when the
 *    broker has accepted the canary of a file that holds it. Without a running broker the next start does it.
 * 4. A revocation is told when the broker has loaded twice: the second load begins when the first has cut everybody who is gone.
 * 5. A revoked user leaves a tombstone: its name and its key are never let in again. Only the users that share a role's name
 *    leave none; they get a new key when they are next asked for.
 * 6. The server links the imports of an account that a reload added at the reload after it. So a guest is told when it has
 *    been loaded twice, and its record says so; a record that does not is loaded again by the next call.
 */
import { randomBytes } from "node:crypto";
import { type Clock, systemClock } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import { isGuestName } from "../../protocols/guest-account.ts";
import {
  isAdmissionRole,
  isNodeRole,
  isSharedRole,
  type NodeRole,
  ROLES,
  type Role,
  SHARED_ROLES,
  type SharedRole,
  type UserRole,
} from "../../protocols/roles.ts";
import { inboxPrefix, Names } from "../../protocols/subjects.ts";
import { isToken } from "../../protocols/tokens.ts";
import { FileLock } from "../home/file-lock.ts";
import { makePrivateDir, readIfPresent, writeWhole } from "../home/files.ts";
import type { HomeLayout } from "../home/layout.ts";
import { newHostId, readNodeIdentity } from "../home/node-identity.ts";
import { loadAccounts } from "../nats-server/reload.ts";
import { decodeUserKey } from "../sealed/nkey.ts";
import { renderAccounts } from "./accounts-file.ts";
import { type Canary, hatchCanary, readCanary } from "./canary.ts";
import {
  CANARY,
  createUserRecord,
  readSeed,
  readUser,
  readUsers,
  removeSeed,
  removeUser,
  seedFileOf,
  type UserRecord,
  writeUser,
} from "./user-records.ts";

/** Name of the user that the node itself has, with every right. */
const SYSTEM_USER = "system" satisfies UserRole;

/** Other issuers hold the lock for one reload each, at most `RELOAD_TIMEOUT_MS` of reload.ts. */
const LOCK_WAIT_MS = 30_000;

/** Names that no user can have. */
const RESERVED: readonly string[] = [...ROLES, SYSTEM_USER, CANARY];

const BASE32 = "abcdefghijklmnopqrstuvwxyz234567";
const GUEST_NAME_CHARS = 9;

/** What a connection needs. `user` is the host id for a node's credential. */
export interface Credential {
  readonly user: string;
  readonly role: UserRole;
  readonly seed: Uint8Array;
  readonly seedFile: string;
  readonly inboxPrefix: string;
}

/** Who is to be let in with a key that was made elsewhere. */
export interface Registration {
  /** Host id of a node, `c…` of a client or observer, `newGuestName()` of a guest. */
  readonly user: string;
  /** One of the admission roles. */
  readonly role: Role;
  /** Public nkey, `U…`. */
  readonly publicKey: string;
  /** What its operator calls it. */
  readonly name?: string | undefined;
  /** The token that let it in. */
  readonly tokenId?: string | undefined;
}

/** `g` and 9 random base32 characters. */
export function newGuestName(): string {
  let name = "g";
  for (const byte of randomBytes(GUEST_NAME_CHARS)) name += BASE32[byte % BASE32.length];
  return name;
}

export class Credentials {
  readonly #layout: HomeLayout;
  readonly #clock: Clock;

  constructor(layout: HomeLayout, clock: Clock = systemClock) {
    this.#layout = layout;
    this.#clock = clock;
  }

  /**
   * Makes the users every swarm has (system, admin, client, observer), finishes revocations that were cut short, and
   * writes the accounts file for the home's prefix. A broker's start begins with it.
   */
  async prepare(): Promise<void> {
    await this.#exclusively("preparing credentials", async () => {
      for (const role of [SYSTEM_USER, ...SHARED_ROLES] as const) await this.#ensure(role, role);
      await this.#write(await this.list(), "if changed");
      for (const record of await readUsers(this.#layout.credentials)) {
        if (record.revokedAt !== undefined) await this.#bury(record);
      }
    });
  }

  /**
   * What `vgas connection --role` gives out: the shared credential of a role, or a new one for one node or guest.
   *
   * @throws VgasError INVALID if the name cannot be one; NODE_EXISTS, NODE_REVOKED
   */
  async issue(role: Role, user?: string): Promise<Credential> {
    if (isNodeRole(role)) return await this.issueNode(role, user);
    return isSharedRole(role) ? await this.ensureRole(role) : await this.#issue(role, user ?? newGuestName());
  }

  /** The credential that all users of `role` share. */
  async ensureRole(role: SharedRole | "system"): Promise<Credential> {
    return await this.#issue(role, role);
  }

  /**
   * A credential for one node, bound to `hostId`, or to a new host id. The same host id gets the same credential again; with
   * another role it gets a new one, and the old one ends.
   *
   * @throws VgasError INVALID if the host id is no token or is a reserved name; NODE_EXISTS if that node made its own key, or
   *   is this home's; NODE_REVOKED
   */
  async issueNode(role: NodeRole, hostId: string = newHostId()): Promise<Credential> {
    return await this.#issue(role, hostId);
  }

  /**
   * Lets a user in whose key was made where it is used: there is no seed here. The same registration again is no change.
   * Returns when the broker accepts that key.
   *
   * @throws VgasError as `checkRegistration`; TIMEOUT
   */
  async register(registration: Registration): Promise<void> {
    const { user, role, publicKey, name, tokenId } = registration;
    await this.#exclusively(`registering ${user}`, async () => {
      if (!(await this.#isRegistered(registration))) {
        const who = { v: 1, user, role, publicKey, createdAt: this.#clock.now(), registered: true } as const;
        const labels = { ...(name !== undefined && { name }), ...(tokenId !== undefined && { tokenId }) };
        await writeUser(this.#layout.credentials, { ...who, ...labels });
      }
      await this.#apply(`registering ${user}`);
    });
  }

  /**
   * Whether `register` would let that user in; changes nothing.
   *
   * @throws VgasError INVALID for a name, role or key that cannot be one; NODE_EXISTS if the name is another's, or has
   *   another role, or the key is another user's; NODE_REVOKED if the name or the key was revoked
   */
  async checkRegistration(registration: Registration): Promise<void> {
    await this.#isRegistered(registration);
  }

  /** Who `user` is; undefined for who may not connect. */
  async find(user: string): Promise<UserRecord | undefined> {
    const record = isToken(user) ? await readUser(this.#layout.credentials, user) : undefined;
    return record?.revokedAt === undefined ? record : undefined;
  }

  /** @throws VgasError NOT_FOUND if there is no such user, or its seed was never here */
  async read(user: string): Promise<Credential> {
    const record = await this.find(user);
    if (record === undefined) throw this.#notFound(user);
    if (record.registered) {
      throw new VgasError("NOT_FOUND", `the seed of "${user}" is where that ${record.role} runs, and nowhere else`);
    }
    const seedFile = seedFileOf(this.#layout.credentials, user);
    return { user, role: record.role, seed: await readSeed(seedFile), seedFile, inboxPrefix: inboxPrefix(user) };
  }

  /** Every user that may connect, by name. */
  async list(): Promise<readonly UserRecord[]> {
    const users = await readUsers(this.#layout.credentials);
    return users.filter((user) => user.revokedAt === undefined);
  }

  /**
   * Takes a credential back; the broker has cut its connections when this returns. Revoking again finishes what was cut short.
   *
   * @throws VgasError NOT_FOUND if there is no such user, INVALID for the node's own; TIMEOUT
   */
  async revoke(user: string): Promise<void> {
    if (user === SYSTEM_USER) throw new VgasError("INVALID", "the node's own credential cannot be revoked");
    await this.#exclusively(`revoking ${user}`, async () => {
      const record = isToken(user) ? await readUser(this.#layout.credentials, user) : undefined;
      if (record === undefined) throw this.#notFound(user);
      const revoked = { ...record, revokedAt: record.revokedAt ?? this.#clock.now() };
      if (record.revokedAt === undefined) await writeUser(this.#layout.credentials, revoked);
      await this.#apply(`revoking ${user}`, "twice");
      await this.#bury(revoked);
    });
  }

  async #issue(role: UserRole, user: string): Promise<Credential> {
    return await this.#exclusively(`issuing ${user}`, async () => {
      await this.#ensure(role, user);
      await this.#apply(`issuing ${user}`);
      return await this.read(user);
    });
  }

  /** Makes the user if it is not there, or has another role as a node. */
  async #ensure(role: UserRole, user: string): Promise<void> {
    const dir = this.#layout.credentials;
    const ownsTheName = user === role && (role === SYSTEM_USER || isSharedRole(role));
    if (!ownsTheName) await this.#checkName(role, user);
    const existing = await readUser(dir, user);
    if (existing !== undefined) {
      if (existing.revokedAt !== undefined && !leavesNoTrace(existing)) throw revoked(user);
      if (existing.registered) throw exists(user, `is a ${existing.role} that made its own key`);
      if (existing.role === role && existing.revokedAt === undefined) return;
      if (existing.role !== role && !(isNodeRole(existing.role) && isNodeRole(role)))
        throw exists(user, `is a ${existing.role}`);
      await removeUser(dir, user);
    }
    await createUserRecord(dir, user, role, this.#clock.now());
  }

  /** True if just that user is registered already. @throws VgasError as `checkRegistration` */
  async #isRegistered({ user, role, publicKey }: Registration): Promise<boolean> {
    if (!isAdmissionRole(role)) throw new VgasError("INVALID", `nobody is let in as ${role}`);
    if (!isUserKey(publicKey)) throw new VgasError("INVALID", "the key is no public nkey of a user (U…)");
    await this.#checkName(role, user);
    let known = false;
    for (const record of await this.#records()) {
      const [sameUser, sameKey] = [record.user === user, record.publicKey === publicKey];
      if (!sameUser && !sameKey) continue;
      if (record.revokedAt !== undefined) throw revoked(user);
      if (!sameUser) throw exists(user, "shows the key of another user");
      if (!sameKey) throw exists(user, "is another node, with a key of its own");
      if (record.role !== role) throw exists(user, `is a ${record.role}; revoke it, or give the new one an empty home`);
      known = true;
    }
    return known;
  }

  async #checkName(role: UserRole, user: string): Promise<void> {
    if (!isToken(user)) throw new VgasError("INVALID", `host id must be a token [A-Za-z0-9_-]{1,64}, got "${user}"`);
    if (RESERVED.includes(user)) {
      throw new VgasError("INVALID", `"${user}" is the name of a role and cannot be a host id`);
    }
    if (role === "guest" && !isGuestName(user)) {
      throw new VgasError("INVALID", `a guest's name is g and nine of [a-z2-7], got "${user}"`);
    }
    if ((await readNodeIdentity(this.#layout.node))?.hostId === user) {
      throw exists(user, "is the node that runs the broker");
    }
  }

  /** Brings the accounts file in line with the records, and the running broker with the file. */
  async #apply(operation: string, loads: "once" | "twice" = "once"): Promise<void> {
    const users = await this.list();
    const unlinked = users.filter(({ role, linked }) => role === "guest" && linked !== true);
    const { canary, written } = await this.#write(users, "if changed");
    const load = { canary: canary.seed, first: written ? "reload" : "try" } as const;
    const running = await loadAccounts(this.#layout, load, operation, this.#clock);
    if (!running || (loads === "once" && unlinked.length === 0)) return;
    const second = await this.#write(users, "anew");
    await loadAccounts(this.#layout, { canary: second.canary.seed }, operation, this.#clock);
    for (const guest of unlinked) await writeUser(this.#layout.credentials, { ...guest, linked: true });
  }

  async #write(
    users: readonly UserRecord[],
    when: "if changed" | "anew",
  ): Promise<{ readonly canary: Canary; readonly written: boolean }> {
    const { credentials, nats, node } = this.#layout;
    const names = new Names((await readNodeIdentity(node))?.prefix);
    const last = when === "anew" ? undefined : await readCanary(credentials);
    if (last !== undefined && (await readIfPresent(nats.accounts)) === renderAccounts(users, last.publicKey, names)) {
      return { canary: last, written: false };
    }
    const canary = await hatchCanary(credentials);
    await writeWhole(nats.accounts, renderAccounts(users, canary.publicKey, names));
    return { canary, written: true };
  }

  /** What is left of a revoked user. */
  async #bury(record: UserRecord): Promise<void> {
    if (leavesNoTrace(record)) await removeUser(this.#layout.credentials, record.user);
    else await removeSeed(this.#layout.credentials, record.user);
  }

  #notFound(user: string): VgasError {
    return new VgasError("NOT_FOUND", `no credential "${user}" in ${this.#layout.dir}`);
  }

  /** All records; none in a home that has not issued anything. */
  async #records(): Promise<readonly UserRecord[]> {
    await makePrivateDir(this.#layout.credentials);
    return await readUsers(this.#layout.credentials);
  }

  async #exclusively<T>(operation: string, action: () => Promise<T>): Promise<T> {
    await makePrivateDir(this.#layout.credentials);
    const lock = await FileLock.acquire(this.#layout.credentialsLock, operation, LOCK_WAIT_MS, this.#clock);
    try {
      return await action();
    } finally {
      await lock.release();
    }
  }
}

/** The user that a role's name belongs to: whoever asks for it next gets a new key. */
function leavesNoTrace({ user }: UserRecord): boolean {
  return isSharedRole(user);
}

function isUserKey(publicKey: string): boolean {
  try {
    decodeUserKey(publicKey);
    return true;
  } catch {
    return false;
  }
}

function exists(user: string, why: string): VgasError {
  return new VgasError("NODE_EXISTS", `"${user}" ${why}`);
}

function revoked(user: string): VgasError {
  return new VgasError("NODE_REVOKED", `"${user}", or the key that it shows, was revoked`);
}
