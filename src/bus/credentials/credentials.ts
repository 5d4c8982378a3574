/**
 * The credentials that a home issues. Every change is on disk first, then in the broker's users file, then in the running
 * broker, and a call returns only when the broker honours it.
 *
 * 1. Changes are made under the credentials lock, so two issuers at once lose nothing.
 * 2. The users file is always generated from all records: it never knows more or less than they.
 * 3. An issued credential has connected once before its caller sees it; a revoked one has been refused. Without a running
 *    broker the next start does it.
 */
import { type Clock, systemClock } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import {
  isNodeRole,
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
import { reloadUntil } from "../nats-server/reload.ts";
import {
  createUserRecord,
  readSeed,
  readUser,
  readUsers,
  removeUser,
  seedFileOf,
  type UserRecord,
  writeUser,
} from "./user-records.ts";
import { renderUsers } from "./users-file.ts";

/** Name of the user that the node itself has, with every right. */
const SYSTEM_USER = "system" satisfies UserRole;

/** Other issuers hold the lock for one reload each, at most `RELOAD_TIMEOUT_MS` of reload.ts. */
const LOCK_WAIT_MS = 30_000;

/** What a connection needs. `user` is the host id for a node's credential. */
export interface Credential {
  readonly user: string;
  readonly role: UserRole;
  readonly seed: Uint8Array;
  readonly seedFile: string;
  readonly inboxPrefix: string;
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
   * writes the users file for the home's prefix. A broker's start begins with it.
   */
  async prepare(): Promise<void> {
    await this.#exclusively("preparing credentials", async () => {
      for (const role of [SYSTEM_USER, ...SHARED_ROLES] as const) await this.#ensure(role, role);
      await this.#writeUsersFile();
      for (const { user, revokedAt } of await readUsers(this.#layout.credentials)) {
        if (revokedAt !== undefined) await removeUser(this.#layout.credentials, user);
      }
    });
  }

  /** What `vgas connection --role` gives out: the shared credential of a role, or a new one for one node. */
  async issue(role: Role, hostId?: string): Promise<Credential> {
    return isNodeRole(role) ? await this.issueNode(role, hostId) : await this.ensureRole(role);
  }

  /** The credential that all users of `role` share. */
  async ensureRole(role: SharedRole | "system"): Promise<Credential> {
    return await this.#issue(role, role);
  }

  /**
   * A credential for one node, bound to `hostId`, or to a new host id. The same host id gets the same credential again; with
   * another role it gets a new one, and the old one ends.
   *
   * @throws VgasError INVALID if the host id is no token or is the name of a shared user
   */
  async issueNode(role: NodeRole, hostId: string = newHostId()): Promise<Credential> {
    if (!isToken(hostId))
      throw new VgasError("INVALID", `host id must be a token [A-Za-z0-9_-]{1,64}, got "${hostId}"`);
    if (([...ROLES, SYSTEM_USER] as readonly string[]).includes(hostId)) {
      throw new VgasError("INVALID", `"${hostId}" is the name of a role and cannot be a host id`);
    }
    return await this.#issue(role, hostId);
  }

  /** Who `user` is; undefined for who may not connect. */
  async find(user: string): Promise<UserRecord | undefined> {
    const record = isToken(user) ? await readUser(this.#layout.credentials, user) : undefined;
    return record?.revokedAt === undefined ? record : undefined;
  }

  /** @throws VgasError NOT_FOUND if there is no such user */
  async read(user: string): Promise<Credential> {
    const record = await this.find(user);
    if (record === undefined) {
      throw new VgasError("NOT_FOUND", `no credential "${user}" in ${this.#layout.dir}`);
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
   * Takes a credential back; the broker cuts its connections at once. A shared role gets a new one when it is next asked for.
   *
   * @throws VgasError NOT_FOUND if there is no such user, INVALID for the node's own
   */
  async revoke(user: string): Promise<void> {
    if (user === SYSTEM_USER) throw new VgasError("INVALID", "the node's own credential cannot be revoked");
    await this.#exclusively(`revoking ${user}`, async () => {
      const { seed } = await this.read(user);
      const record = await readUser(this.#layout.credentials, user);
      if (record !== undefined) await writeUser(this.#layout.credentials, { ...record, revokedAt: this.#clock.now() });
      await this.#writeUsersFile();
      await reloadUntil(this.#layout, { seed, answer: "refused" }, `revoking ${user}`, this.#clock);
      await removeUser(this.#layout.credentials, user);
    });
  }

  async #issue(role: UserRole, user: string): Promise<Credential> {
    return await this.#exclusively(`issuing ${user}`, async () => {
      const changed = await this.#ensure(role, user);
      const rewritten = await this.#writeUsersFile();
      const credential = await this.read(user);
      const first = changed || rewritten ? "reload" : "try";
      await reloadUntil(
        this.#layout,
        { seed: credential.seed, answer: "accepted", first },
        `issuing ${user}`,
        this.#clock,
      );
      return credential;
    });
  }

  /** True if the user is new or has another role now, which takes a new key: that it works proves that the broker knows. */
  async #ensure(role: UserRole, user: string): Promise<boolean> {
    const dir = this.#layout.credentials;
    const existing = await readUser(dir, user);
    if (existing?.role === role && existing.revokedAt === undefined) return false;
    if (existing !== undefined) await removeUser(dir, user);
    await createUserRecord(dir, user, role, this.#clock.now());
    return true;
  }

  /** True if the file changed. */
  async #writeUsersFile(): Promise<boolean> {
    const users = await this.list();
    const identity = await readNodeIdentity(this.#layout.node);
    const text = renderUsers(users, new Names(identity?.prefix));
    if ((await readIfPresent(this.#layout.nats.users)) === text) return false;
    await writeWhole(this.#layout.nats.users, text);
    return true;
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
