/**
 * A lock between processes, made of files alone, that a killed owner cannot leave locked.
 *
 * Owns a directory of generations: files named 1, 2, 3, … each holding the identity of its owner.
 *
 * 1. The owner of the lock is the owner of the highest generation, unless it is released or its owner is dead.
 * 2. A generation appears whole, by `link`: of several processes that make the same one, exactly one succeeds.
 * 3. A process makes generation g + 1 only when it saw that g is released or its owner dead.
 * 4. The highest generation is never removed; older ones are removed only by the owner of the highest.
 * 5. Who made a generation looks again. If there is a higher one, then its own was a number that had been used and
 *    removed between the look and the `link`: it withdraws. So a slow taker never takes over from its successor.
 * 6. An owner that cannot be seen (another container or machine on the same files) is alive as long as it touches its
 *    generation, which every owner does each 5 s.
 */
import { randomBytes } from "node:crypto";
import { readdir, stat, unlink, utimes } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { type Clock, systemClock, type Timer } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import { createWhole, diskError, errnoOf, makePrivateDir, readIfPresent, writeWhole } from "./files.ts";
import { identify, liveness, processIdentity } from "./process-identity.ts";

const TOUCH_PERIOD_MS = 5_000;
/** Six missed touches: far beyond a busy machine's delays, short enough to wait for after a crash in a container. */
const UNSEEN_IS_DEAD_AFTER_MS = 30_000;
/** Generations kept below the highest, so that a listing that runs meanwhile always meets a high one. */
const KEPT_GENERATIONS = 4;
const POLL_MS = 20;

const generationRecord = z.object({
  v: z.literal(1),
  owner: processIdentity,
  nonce: z.string(),
  /** Milliseconds since the epoch; for people. */
  at: z.number(),
  released: z.boolean(),
});
type GenerationRecord = z.infer<typeof generationRecord>;

/** Who holds a lock. `visible: false`: in another container or on another machine. */
export interface LockHolder {
  readonly pid: number;
  readonly machine: string;
  readonly visible: boolean;
}

export class FileLock {
  readonly #path: string;
  readonly #record: GenerationRecord;
  readonly #clock: Clock;
  readonly #touching: Timer;
  #released: Promise<void> | undefined;

  private constructor(path: string, record: GenerationRecord, clock: Clock) {
    this.#path = path;
    this.#record = record;
    this.#clock = clock;
    this.#touching = clock.setInterval(() => {
      const now = new Date(clock.now());
      utimes(path, now, now).catch(() => undefined);
    }, TOUCH_PERIOD_MS);
    // A lock does not keep its process running.
    if (typeof this.#touching === "object" && "unref" in this.#touching) this.#touching.unref();
  }

  /** The lock of `dir`, or who holds it. */
  static async tryAcquire(dir: string, clock: Clock = systemClock): Promise<FileLock | LockHolder> {
    await makePrivateDir(dir);
    for (;;) {
      const generation = await highestGeneration(dir);
      if (generation > 0) {
        const holder = await holderOf(join(dir, String(generation)), clock);
        if (holder === "vanished") continue;
        if (holder !== undefined) return holder;
      }
      const lock = await FileLock.#take(dir, generation + 1, clock);
      if (lock !== undefined) return lock;
    }
  }

  /** Waits its turn. @throws VgasError TIMEOUT naming the operation and the holder */
  static async acquire(dir: string, operation: string, waitMs: number, clock: Clock = systemClock): Promise<FileLock> {
    const deadline = clock.monotonic() + waitMs;
    for (;;) {
      const lock = await FileLock.tryAcquire(dir, clock);
      if (lock instanceof FileLock) return lock;
      if (clock.monotonic() > deadline) {
        throw new VgasError("TIMEOUT", `${operation} timed out after ${waitMs} ms: process ${lock.pid} holds ${dir}`);
      }
      await new Promise<void>((resolve) => clock.setTimeout(resolve, POLL_MS));
    }
  }

  /** Idempotent. If it fails, on a full disk, the lock is still held, and may be released again. */
  release(): Promise<void> {
    this.#released ??= this.#release().catch((error: unknown) => {
      this.#released = undefined;
      throw error;
    });
    return this.#released;
  }

  /** Makes that generation; undefined if somebody was faster. */
  static async #take(dir: string, generation: number, clock: Clock): Promise<FileLock | undefined> {
    const owner = await identify(process.pid);
    if (owner === undefined) throw new VgasError("INTERNAL", "this process cannot find itself in the process table");
    const nonce = randomBytes(9).toString("base64url");
    const record: GenerationRecord = { v: 1, owner, nonce, at: clock.now(), released: false };
    const path = join(dir, String(generation));
    if (!(await createWhole(path, JSON.stringify(record)))) return undefined;
    const present = await generations(dir);
    if (present.some((other) => other > generation)) {
      await unlink(path).catch(() => undefined);
      return undefined;
    }
    for (const old of present) {
      if (old < generation - KEPT_GENERATIONS) await unlink(join(dir, String(old))).catch(() => undefined);
    }
    return new FileLock(path, record, clock);
  }

  async #release(): Promise<void> {
    // Whoever took over from us, wrongly or not, keeps what is theirs: only our own generation is written.
    await writeWhole(this.#path, JSON.stringify({ ...this.#record, released: true }));
    this.#clock.clear(this.#touching);
  }
}

/** The living holder of a generation, undefined if it is free, "vanished" if a higher one has replaced it. */
async function holderOf(path: string, clock: Clock): Promise<LockHolder | "vanished" | undefined> {
  const text = await readIfPresent(path);
  if (text === undefined) return "vanished";
  const { owner, released } = parseRecord(path, text);
  if (released) return undefined;
  const life = await liveness(owner);
  if (life === "dead") return undefined;
  if (life === "unknown" && (await untouchedForMs(path, clock)) > UNSEEN_IS_DEAD_AFTER_MS) return undefined;
  return { pid: owner.pid, machine: owner.machine, visible: life === "alive" };
}

function parseRecord(path: string, text: string): GenerationRecord {
  try {
    return generationRecord.parse(JSON.parse(text));
  } catch (error) {
    throw new VgasError("CONFIG", `${path} is no lock of vgas; if nothing uses that home, delete it`, { cause: error });
  }
}

async function untouchedForMs(path: string, clock: Clock): Promise<number> {
  const status = await stat(path).catch(() => undefined);
  return status === undefined ? 0 : clock.now() - status.mtimeMs;
}

async function highestGeneration(dir: string): Promise<number> {
  return Math.max(0, ...(await generations(dir)));
}

async function generations(dir: string): Promise<readonly number[]> {
  const names = await readdir(dir).catch((error: unknown) => {
    if (errnoOf(error) === "ENOENT") return [];
    throw diskError(error, `list ${dir}`);
  });
  return names.filter((name) => /^[1-9]\d{0,14}$/.test(name)).map(Number);
}
