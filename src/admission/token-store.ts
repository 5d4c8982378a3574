/**
 * The tokens of a swarm on disk: `admission/tokens/<id>.json`. The node's door and commands of other processes use it at once.
 *
 * 1. Every change is made under the admission lock and written whole: of two users of a token's last use exactly one gets it.
 * 2. A use is on disk before the credential that it pays for. The same user with the same key has it for good, so what a crash or
 *    a lost answer cut short is only repeated.
 * 3. Nothing here is secret: of a token's key there is a digest of the public half.
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { diskError, errnoOf, readIfPresent, writeWhole } from "../bus/home/files.ts";
import type { HomeLayout } from "../bus/home/layout.ts";
import { TOKEN_ID } from "../protocols/admission.ts";
import { type Clock, systemClock } from "../protocols/clock.ts";
import { VgasError } from "../protocols/errors.ts";
import { ADMISSION_ROLES, type AdmissionRole } from "../protocols/roles.ts";
import { exclusively } from "./exclusively.ts";
import { formatToken, newToken, publicKeyHash, tokenPublicKey } from "./token.ts";

/** Who got in by a token. */
const use = z.object({
  /** As it was asked for. */
  asked: z.string(),
  /** As it was admitted: a guest gets its name from the swarm. */
  user: z.string(),
  publicKey: z.string(),
  /** Milliseconds since the epoch. */
  at: z.number(),
});
export type TokenUse = z.infer<typeof use>;

const tokenRecord = z.object({
  v: z.literal(1),
  id: z.string().regex(TOKEN_ID),
  role: z.enum(ADMISSION_ROLES),
  /** Good for reading over HTTP, and for nothing else. */
  http: z.literal(true).optional(),
  name: z.string().optional(),
  /** SHA-256 of the public key, base64url. */
  publicKeyHash: z.string(),
  createdAt: z.number(),
  expiresAt: z.number().optional(),
  /** How many it lets in; 0: any number. */
  uses: z.number().int().min(0),
  usedBy: z.array(use),
  revokedAt: z.number().optional(),
});
export type TokenRecord = z.infer<typeof tokenRecord>;

export interface TokenRequest {
  readonly role: AdmissionRole;
  /** 0: it does not expire. */
  readonly ttlMs: number;
  /** 0: any number. */
  readonly uses: number;
  readonly name?: string | undefined;
  /** Lets nobody in: good for reading over HTTP alone, any number of times. */
  readonly http?: boolean | undefined;
}

/** Who uses a token. */
export interface TokenUser {
  readonly asked: string;
  readonly publicKey: string;
}

export interface Taken {
  readonly use: TokenUse;
  /** This call took it; else it was taken before. */
  readonly isNew: boolean;
}

/** A token for any number ends here: its record must stay a small file. */
const MAX_USED_BY = 10_000;
const RECORD = ".json";

export class TokenStore {
  readonly #layout: HomeLayout;
  readonly #clock: Clock;

  constructor(layout: HomeLayout, clock: Clock = systemClock) {
    this.#layout = layout;
    this.#clock = clock;
  }

  /** Makes a token; `line` is all there will ever be of its secret. */
  async create(
    swarm: { readonly swarmId: string; readonly pin: string },
    { role, ttlMs, uses, name, http }: TokenRequest,
  ): Promise<{ readonly line: string; readonly record: TokenRecord }> {
    const token = newToken(swarm);
    const createdAt = this.#clock.now();
    const record: TokenRecord = {
      v: 1,
      id: token.id,
      role,
      ...(http === true && { http }),
      ...(name !== undefined && { name }),
      publicKeyHash: publicKeyHash(tokenPublicKey(token)),
      createdAt,
      ...(ttlMs > 0 && { expiresAt: createdAt + ttlMs }),
      uses,
      usedBy: [],
    };
    await exclusively(this.#layout, "making a token", () => this.#write(record));
    return { line: formatToken(token), record };
  }

  async read(id: string): Promise<TokenRecord | undefined> {
    if (!TOKEN_ID.test(id)) return undefined;
    const path = this.#path(id);
    const text = await readIfPresent(path);
    if (text === undefined) return undefined;
    try {
      return tokenRecord.parse(JSON.parse(text));
    } catch (error) {
      throw new VgasError("CONFIG", `${path} is damaged; delete it and make a new token`, { cause: error });
    }
  }

  /** All of them, oldest first. */
  async list(): Promise<readonly TokenRecord[]> {
    const names = await readdir(this.#layout.admission.tokens).catch((error: unknown) => {
      if (errnoOf(error) === "ENOENT") return [];
      throw diskError(error, `list ${this.#layout.admission.tokens}`);
    });
    const records: TokenRecord[] = [];
    for (const file of names) {
      if (!file.endsWith(RECORD)) continue;
      const record = await this.read(file.slice(0, -RECORD.length));
      if (record !== undefined) records.push(record);
    }
    return records.sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1));
  }

  /** Idempotent. @throws VgasError NOT_FOUND */
  async revoke(id: string): Promise<TokenRecord> {
    return await exclusively(this.#layout, `revoking token ${id}`, async () => {
      const record = await this.read(id);
      if (record === undefined)
        throw new VgasError("NOT_FOUND", `there is no token ${id}; \`vgas token list\` shows them`);
      const revoked = { ...record, revokedAt: record.revokedAt ?? this.#clock.now() };
      await this.#write(revoked);
      return revoked;
    });
  }

  /**
   * Takes one use for `user`, or finds the one that it has already; `nameOf` gives the name under which it is admitted.
   *
   * @throws VgasError TOKEN_UNKNOWN, TOKEN_REVOKED, TOKEN_EXPIRED, TOKEN_USED_UP
   */
  async use(id: string, user: TokenUser, nameOf: () => string): Promise<Taken> {
    return await exclusively(this.#layout, `using token ${id}`, async () => {
      const record = await this.read(id);
      if (record === undefined) throw unknownToken(id);
      const before = record.usedBy.find((each) => each.asked === user.asked && each.publicKey === user.publicKey);
      const refused = refusalOf(record, this.#clock.now(), before !== undefined);
      if (refused !== undefined) throw refused;
      if (before !== undefined) return { use: before, isNew: false };
      const taken: TokenUse = { ...user, user: nameOf(), at: this.#clock.now() };
      await this.#write({ ...record, usedBy: [...record.usedBy, taken] });
      return { use: taken, isNew: true };
    });
  }

  /** Whether the token is revoked by now: what was revoked before this is seen by it. */
  async isRevoked(id: string): Promise<boolean> {
    return await exclusively(this.#layout, `looking at token ${id}`, async () => {
      const record = await this.read(id);
      return record === undefined || record.revokedAt !== undefined;
    });
  }

  /** Gives a use back that admitted nobody: only who took it may know that. */
  async giveBack(id: string, { asked, publicKey }: TokenUser): Promise<void> {
    await exclusively(this.#layout, `giving back a use of token ${id}`, async () => {
      const record = await this.read(id);
      if (record === undefined) return;
      const usedBy = record.usedBy.filter((each) => each.asked !== asked || each.publicKey !== publicKey);
      await this.#write({ ...record, usedBy });
    });
  }

  #path(id: string): string {
    return join(this.#layout.admission.tokens, `${id}${RECORD}`);
  }

  async #write(record: TokenRecord): Promise<void> {
    await writeWhole(this.#path(record.id), `${JSON.stringify(record)}\n`);
  }
}

export type TokenState = "usable" | "revoked" | "expired" | "used up";

export function tokenState(record: TokenRecord, nowMs: number): TokenState {
  if (record.revokedAt !== undefined) return "revoked";
  if (record.expiresAt !== undefined && nowMs >= record.expiresAt) return "expired";
  const most = record.uses === 0 ? MAX_USED_BY : record.uses;
  return record.usedBy.length >= most ? "used up" : "usable";
}

/** Why the token lets nobody in now; who `repeats` a use of theirs is refused only by a token that was revoked. */
export function refusalOf(record: TokenRecord, nowMs: number, repeats = false): VgasError | undefined {
  const { id, usedBy, expiresAt } = record;
  switch (tokenState(record, nowMs)) {
    case "revoked":
      return revokedToken(id);
    case "expired":
      if (repeats) return undefined;
      return new VgasError("TOKEN_EXPIRED", `the token ${id} expired at ${new Date(expiresAt ?? 0).toISOString()}`);
    case "used up":
      if (repeats) return undefined;
      return new VgasError("TOKEN_USED_UP", `the token ${id} has let in ${usedBy.length}, as many as it may`);
    case "usable":
      return undefined;
  }
}

export function revokedToken(id: string): VgasError {
  return new VgasError("TOKEN_REVOKED", `the token ${id} was revoked`);
}

export function unknownToken(id: string): VgasError {
  return new VgasError("TOKEN_UNKNOWN", `this swarm has no token ${id}`);
}
