/**
 * A node's home: its id, its credentials, its broker's store, and the lock that gives all of it to one node.
 *
 * Commands that only talk to the swarm open a home without locking it; a node locks it before it starts anything.
 */
import { realpath } from "node:fs/promises";
import { resolve } from "node:path";
import { type Clock, systemClock } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import { isToken } from "../../protocols/tokens.ts";
import { Credentials } from "../credentials/credentials.ts";
import { FileLock } from "./file-lock.ts";
import { diskError, makePrivateDir, refuseSharedDir } from "./files.ts";
import { type HomeLayout, layoutOf } from "./layout.ts";
import { ensureNodeIdentity, type NodeIdentity, readNodeIdentity, writeNodeIdentity } from "./node-identity.ts";

export interface OpenHomeOptions {
  /** Subject prefix of the swarm. The owner's counts; without one, and where it is only opened, a home keeps the one it has. */
  readonly prefix?: string;
  readonly clock?: Clock;
}

const USUAL_PREFIX = "vgas";

/**
 * Opens the home at `dir`, and makes it if it is not there (mode 0700).
 *
 * @throws VgasError CONFIG, with what to do, if it is a file, not writable, on a full or read-only disk, or open to others
 */
export async function openHome(dir: string, options: OpenHomeOptions = {}): Promise<Home> {
  const { prefix, clock = systemClock } = options;
  if (prefix !== undefined && !isToken(prefix))
    throw new VgasError("CONFIG", `prefix must be a token [A-Za-z0-9_-]{1,64}, got "${prefix}"`);
  const wanted = resolve(dir);
  // The broker's configuration takes paths from quoted variables; a control character would end them.
  if (/\p{Cc}/u.test(wanted)) throw new VgasError("CONFIG", "the path of a home must not hold control characters");
  await makePrivateDir(wanted);
  const real = await realpath(wanted).catch((error: unknown) => {
    throw diskError(error, `open the home ${wanted}`);
  });
  await refuseSharedDir(real);
  const layout = layoutOf(real);
  for (const part of [layout.credentials, layout.nats.dir, layout.nats.store]) await makePrivateDir(part);
  const identity = await ensureNodeIdentity(layout.node, prefix ?? USUAL_PREFIX, clock.now());
  return new Home(layout, identity, prefix, clock);
}

export class Home {
  readonly layout: HomeLayout;
  /** Stable id of the node that lives here. */
  readonly hostId: string;
  readonly credentials: Credentials;
  readonly #wantedPrefix: string | undefined;
  readonly #clock: Clock;
  #lock: FileLock | undefined;

  /** Use `openHome`. */
  constructor(layout: HomeLayout, identity: NodeIdentity, wantedPrefix: string | undefined, clock: Clock) {
    this.layout = layout;
    this.hostId = identity.hostId;
    this.credentials = new Credentials(layout, clock);
    this.#wantedPrefix = wantedPrefix;
    this.#clock = clock;
  }

  /** Absolute, without symbolic links. */
  get dir(): string {
    return this.layout.dir;
  }

  get locked(): boolean {
    return this.#lock !== undefined;
  }

  /**
   * Takes the home for this process; idempotent. A dead owner's lock is taken over.
   *
   * @throws VgasError HOME_IN_USE naming the process that has it
   */
  async lock(): Promise<void> {
    if (this.#lock !== undefined) return;
    const lock = await FileLock.tryAcquire(this.layout.lock, this.#clock);
    if (!(lock instanceof FileLock)) throw inUse(this.dir, lock);
    this.#lock = lock;
    const identity = await readNodeIdentity(this.layout.node);
    const prefix = this.#wantedPrefix;
    if (identity !== undefined && prefix !== undefined && identity.prefix !== prefix) {
      await writeNodeIdentity(this.layout.node, { ...identity, prefix });
    }
  }

  /** Gives the home back; idempotent, and never fails: a lock that cannot be written ends with this process. */
  async release(): Promise<void> {
    const lock = this.#lock;
    this.#lock = undefined;
    await lock?.release().catch(() => undefined);
  }
}

function inUse(dir: string, holder: { pid: number; machine: string; visible: boolean }): VgasError {
  return new VgasError(
    "HOME_IN_USE",
    holder.visible
      ? `process ${holder.pid} runs a node on ${dir}; stop it, or give this node its own --home`
      : `process ${holder.pid} of ${holder.machine}, in another container or machine, has used ${dir} within the last 30 s; ` +
          "stop it and wait, or give this node its own --home",
  );
}
