/**
 * The machines that ask without a token, on disk: `admission/pending/<host id>.json`. The door writes who asks, `vgas approve` and
 * `vgas revoke` write what the operator decided, and the door reads it when the machine asks again.
 *
 * 1. Every change is made under the admission lock and written whole.
 * 2. An id belongs to the key that asked for it first, for as long as that one goes on asking.
 * 3. An approval is one of a fingerprint, and of nothing else: who asks anew, by the same key too, has another fingerprint and
 *    waits again. That it was let in is kept with the question, so that a lost answer is given again to the same question.
 * 4. At most `MAX_PENDING` in all and `MAX_PER_ADDRESS` of one address; who has not asked for `KEPT_MS` is forgotten, decided or not.
 */
import { readdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { diskError, errnoOf, readIfPresent, writeWhole } from "../bus/home/files.ts";
import type { HomeLayout } from "../bus/home/layout.ts";
import { type Clock, systemClock } from "../protocols/clock.ts";
import { VgasError } from "../protocols/errors.ts";
import { isToken } from "../protocols/tokens.ts";
import { exclusively } from "./exclusively.ts";
import { sameFingerprint } from "./fingerprint.ts";

const pendingRecord = z.object({
  v: z.literal(1),
  /** Host id. */
  user: z.string().refine(isToken),
  nkey: z.string(),
  /** Name that the machine gives itself, and the address it asked from. */
  machine: z.string(),
  address: z.string(),
  fingerprint: z.string(),
  /** By these two it asks again; also after the master's restart. */
  challenge: z.string(),
  nonce: z.string(),
  /** Milliseconds since the epoch. */
  firstSeen: z.number(),
  lastSeen: z.number(),
  state: z.enum(["pending", "approved", "refused", "admitted"]),
});
export type PendingRecord = z.infer<typeof pendingRecord>;

export const MAX_PENDING = 64;
export const MAX_PER_ADDRESS = 4;
/** Forgotten this long after it last asked, ms; it asks every few seconds. */
export const KEPT_MS = 600_000;
/** `lastSeen` is written no more often, ms: a poll should not cost a write. */
const TOUCH_MS = 15_000;
const RECORD = ".json";

export class PendingStore {
  readonly #layout: HomeLayout;
  readonly #clock: Clock;
  /** Who asks with which challenge: what is not in here need not be looked for on disk. Read once, then kept by `add`. */
  #asking: Promise<Map<string, string>> | undefined;

  constructor(layout: HomeLayout, clock: Clock = systemClock) {
    this.#layout = layout;
    this.#clock = clock;
  }

  /** Who waits or was decided on, the longest first; nobody who was let in. */
  async list(): Promise<readonly PendingRecord[]> {
    return (await this.#all()).filter(asks);
  }

  async #all(): Promise<readonly PendingRecord[]> {
    const dir = this.#layout.admission.pending;
    const names = await readdir(dir).catch((error: unknown) => {
      if (errnoOf(error) === "ENOENT") return [];
      throw diskError(error, `list ${dir}`);
    });
    const records: PendingRecord[] = [];
    for (const name of names) {
      if (!name.endsWith(RECORD)) continue;
      const record = await this.#fresh(name.slice(0, -RECORD.length));
      if (record !== undefined) records.push(record);
    }
    return records.sort((a, b) => a.firstSeen - b.firstSeen);
  }

  /** Who waits or was decided on under that id. */
  async find(user: string): Promise<PendingRecord | undefined> {
    const record = await this.#fresh(user);
    return record && asks(record) ? record : undefined;
  }

  async #fresh(user: string): Promise<PendingRecord | undefined> {
    const record = isToken(user) ? await this.#read(user) : undefined;
    return record !== undefined && this.#clock.now() - record.lastSeen < KEPT_MS ? record : undefined;
  }

  /** Who asked with these before. Only for the one process that adds. */
  async asking(challenge: string, nonce: string): Promise<PendingRecord | undefined> {
    const asking = await this.#index();
    const user = asking.get(challenge);
    if (user === undefined) return undefined;
    const record = await this.#fresh(user);
    if (record?.challenge === challenge) return record.nonce === nonce ? record : undefined;
    asking.delete(challenge);
    return undefined;
  }

  /**
   * Takes a new question in. The same user with the same key asks anew: it waits again, unless it was refused. Whatever is
   * between it and the swarm could have made it ask again, and then this is another fingerprint than the one that was approved.
   *
   * @throws VgasError NODE_EXISTS if another key asks under that id; RESOURCE_LIMIT if too many wait
   */
  async add(asked: Omit<PendingRecord, "v" | "firstSeen" | "lastSeen" | "state">): Promise<PendingRecord> {
    return await exclusively(this.#layout, `noting that ${asked.user} asks`, async () => {
      const present = await this.#forgetOld();
      const before = present.find(({ user }) => user === asked.user);
      if (before !== undefined && before.nkey !== asked.nkey) {
        throw new VgasError("NODE_EXISTS", `another machine, ${before.address}, asks already as ${asked.user}`);
      }
      const waits = before && asks(before) ? before : undefined;
      if (waits === undefined) refuseTooMany(present, asked.address);
      const now = this.#clock.now();
      const record: PendingRecord = {
        ...asked,
        v: 1,
        firstSeen: waits?.firstSeen ?? now,
        lastSeen: now,
        state: waits?.state === "refused" ? "refused" : "pending",
      };
      await this.#write(record);
      const asking = await this.#index();
      if (before !== undefined) asking.delete(before.challenge);
      asking.set(record.challenge, record.user);
      return record;
    });
  }

  /** Notes that who is in `record` still asks. */
  async touch({ user, challenge, lastSeen }: PendingRecord): Promise<void> {
    if (this.#clock.now() - lastSeen < TOUCH_MS) return;
    await exclusively(this.#layout, `noting that ${user} asks`, async () => {
      const record = await this.#fresh(user);
      if (record?.challenge === challenge) await this.#write({ ...record, lastSeen: this.#clock.now() });
    });
  }

  /**
   * Writes what the operator decided on `user`.
   *
   * @throws VgasError NOT_FOUND if nobody asks under that id; CONFLICT if `fingerprint` is given and is another
   */
  async decide(user: string, state: "approved" | "refused", fingerprint?: string): Promise<PendingRecord> {
    return await exclusively(this.#layout, `deciding on ${user}`, async () => {
      const record = await this.find(user);
      if (record === undefined) {
        throw new VgasError("NOT_FOUND", `no machine asks as ${user}; \`vgas approve\` shows who does`);
      }
      if (fingerprint !== undefined && !sameFingerprint(fingerprint, record.fingerprint)) {
        throw new VgasError(
          "CONFLICT",
          `the machine that asks as ${user} from ${record.address} has the fingerprint ${record.fingerprint}, not ${fingerprint}: ` +
            "it is another one, or somebody is in between; it was not approved (`vgas approve` shows who asks)",
        );
      }
      const decided = { ...record, state };
      await this.#write(decided);
      return decided;
    });
  }

  /** Notes that who is in `record` was let in. False if it is not approved any more: then it must not be in. */
  async admitted({ user, challenge }: PendingRecord): Promise<boolean> {
    return await exclusively(this.#layout, `letting ${user} in`, async () => {
      const record = await this.#read(user);
      if (record === undefined || record.challenge !== challenge) return false;
      if (record.state !== "approved" && record.state !== "admitted") return false;
      await this.#write({ ...record, state: "admitted" });
      return true;
    });
  }

  /** Who is left. */
  async #forgetOld(): Promise<readonly PendingRecord[]> {
    const present = await this.#all();
    const kept = new Set(present.map(({ user }) => `${user}${RECORD}`));
    for (const name of await readdir(this.#layout.admission.pending)) {
      if (name.endsWith(RECORD) && !kept.has(name)) {
        await unlink(join(this.#layout.admission.pending, name)).catch(() => undefined);
      }
    }
    const asking = await this.#index();
    const challenges = new Set(present.map(({ challenge }) => challenge));
    for (const challenge of asking.keys()) if (!challenges.has(challenge)) asking.delete(challenge);
    return present;
  }

  #index(): Promise<Map<string, string>> {
    this.#asking ??= this.#all().then(
      (all) => new Map(all.map(({ challenge, user }) => [challenge, user])),
      (error: unknown) => {
        this.#asking = undefined;
        throw error;
      },
    );
    return this.#asking;
  }

  #path(user: string): string {
    return join(this.#layout.admission.pending, `${user}${RECORD}`);
  }

  /** What is damaged is as if it were not there: the machine asks again. */
  async #read(user: string): Promise<PendingRecord | undefined> {
    const text = await readIfPresent(this.#path(user));
    if (text === undefined) return undefined;
    try {
      return pendingRecord.parse(JSON.parse(text));
    } catch {
      return undefined;
    }
  }

  async #write(record: PendingRecord): Promise<void> {
    await writeWhole(this.#path(record.user), `${JSON.stringify(record)}\n`);
  }
}

function asks({ state }: PendingRecord): boolean {
  return state !== "admitted";
}

function refuseTooMany(all: readonly PendingRecord[], address: string): void {
  const present = all.filter(asks);
  if (present.length >= MAX_PENDING) {
    throw new VgasError(
      "RESOURCE_LIMIT",
      `${MAX_PENDING} machines wait to be let in already: try later, or use a token`,
    );
  }
  if (present.filter((each) => each.address === address).length >= MAX_PER_ADDRESS) {
    throw new VgasError(
      "RESOURCE_LIMIT",
      `${MAX_PER_ADDRESS} machines wait at ${address} already: try later, or use a token`,
    );
  }
}
